"""The Grafana dashboards: their JSON in ``dashboards/`` is read, checked, and shown without a Grafana.

``grafana/`` reads the JSON · ``validation/`` finds what is wrong with one · ``preview/`` shows them on this machine.

Rules of this package:
- Every name of a metric comes from :mod:`harness.telemetry.metrics.metric_table`.
- ``development/dashboards`` writes the JSON: the code is what people change. A test holds the two equal.
- Importing it is light: the SDK, plotly and the parser are imported by the files that use them.
"""
