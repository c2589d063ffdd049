"""The Grafana dashboards as code: ``python -m development.dashboards`` writes the JSON in ``dashboards/``.

The wheel carries the JSON, not this code.
"""
