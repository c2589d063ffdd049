"""The JSON of the Grafana dashboards: read, compared with the model of Grafana, and connected to data sources."""
