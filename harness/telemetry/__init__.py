"""What leaves the program about its runs: traces (OpenTelemetry) and metrics (Prometheus).

Rules of this package:
- Importing it is light: the SDK, exporters and prometheus_client are imported where they are used.
- What goes wrong here is counted and said, and never changes a run, its result or its exit status.
"""
