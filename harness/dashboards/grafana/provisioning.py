"""Grafana's provisioning files: which data sources there are, and where the dashboards lie.

Rules of this module:
- An exemplar's trace id opens the trace in the trace store: that link lives in the data source, not in a panel.
- Names, and uids of data sources, are the same in the compose file and in `dashboards up`.
"""

from __future__ import annotations

import json
from typing import Final

PROMETHEUS_UID: Final = "makespan-prometheus"
TRACES_UID: Final = "makespan-traces"


def data_sources(prometheus_url: str, traces_url: str | None) -> str:
    """YAML: the Prometheus that holds runs, and the trace store where there is one."""
    destination = [
        "      exemplarTraceIdDestinations:",
        "        - name: trace_id",
        f"          datasourceUid: {TRACES_UID}",
    ]
    lines = [
        "# Written by `make dashboards`.",
        "apiVersion: 1",
        "datasources:",
        "  - name: makespan runs",
        "    type: prometheus",
        f"    uid: {PROMETHEUS_UID}",
        "    access: proxy",
        f"    url: {json.dumps(prometheus_url)}",
        "    isDefault: true",
        "    jsonData:",
        "      httpMethod: POST",
        # Runs are written with a sample at each change, and scraped each second.
        "      timeInterval: 1s",
        *(destination if traces_url is not None else []),
    ]
    if traces_url is not None:
        lines += [
            "  - name: makespan traces",
            "    type: tempo",
            f"    uid: {TRACES_UID}",
            "    access: proxy",
            f"    url: {json.dumps(traces_url)}",
        ]
    return "\n".join(lines) + "\n"


def dashboard_provider(folder: str) -> str:
    """YAML: the folder of JSON files."""
    lines = [
        "# Written by `make dashboards`.",
        "apiVersion: 1",
        "providers:",
        "  - name: makespan",
        "    folder: makespan",
        "    type: file",
        "    # What is changed in Grafana is not written back: export the JSON, or change the code that makes it.",
        "    allowUiUpdates: true",
        "    options:",
        f"      path: {json.dumps(folder)}",
    ]
    return "\n".join(lines) + "\n"
