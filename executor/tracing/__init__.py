"""The run in a trace: parents for the spans of step code, and the way of these spans to the caller.

This package imports the OpenTelemetry API alone, never the SDK, and nothing before a run is traced.
"""
