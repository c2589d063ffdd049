"""The ways of traces: spans built from the record, and sent to files and OTLP receivers."""
