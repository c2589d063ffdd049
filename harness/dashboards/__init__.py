"""The Grafana dashboards: written in Python, kept as JSON in ``dashboards/``, checked, and shown without a Grafana.

``grafana/`` makes and reads the JSON: its ``executors_compared``, ``one_run`` and ``trends`` are the three dashboards ·
``validation/`` finds what is wrong with one · ``preview/`` shows them on this machine.

Rules of this package:
- Every name of a metric comes from :mod:`harness.telemetry.metrics.metric_table`.
- The committed JSON is what people and Grafana read; the code is what people change. A test holds the two equal.
- Importing it is light: the SDK, plotly and the parser are imported by the files that use them.
"""
