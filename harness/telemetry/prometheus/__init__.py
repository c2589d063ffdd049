"""The ways of metrics to a Prometheus: scraped, sent by remote write, or through a text file."""
