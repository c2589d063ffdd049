"""Readers of span formats: OTLP, Jaeger, Zipkin, and the console exporter of the SDK."""
