"""Where one gets to from a dashboard: the trace behind a run, and the dashboard of one run.

Rules of this module:
- Addresses are relative to Grafana's own: they hold wherever it runs.
- A trace is opened through the trace store that is chosen above the dashboard, so that it works without exemplars.
"""

from __future__ import annotations

import json
from typing import Final
from urllib.parse import quote

from harness.telemetry.metrics.metric_table import CELL_LABELS

UIDS: Final = {"executors-compared": "makespan-executors", "one-run": "makespan-run", "trends": "makespan-trends"}
# Around the end of a run, milliseconds: a run of minutes is seen whole, and one of a second is not lost in it.
RUN_WINDOW_MILLISECONDS: Final = 600_000
_GRAFANA_WORDS: Final = "${}:.="


def trace_link() -> tuple[str, str]:
    """Title and address: the trace whose id is the value of the column."""
    query = {"refId": "A", "queryType": "traceql", "query": "${__value.raw}"}
    pane = {"trace": {"datasource": "${traces}", "queries": [query], "range": {"from": "now-1h", "to": "now"}}}
    panes = quote(json.dumps(pane, separators=(",", ":")), safe=_GRAFANA_WORDS)
    return "Open the trace", f"/explore?schemaVersion=1&orgId=1&panes={panes}"


def run_link() -> tuple[str, str]:
    """Title and address: the dashboard of one run, with the row's cell, around the row's time."""
    cell = "&".join(f"var-{label}=${{__data.fields.{label}}}" for label in CELL_LABELS)
    window = f"time=${{__data.fields.ended}}&time.window={RUN_WINDOW_MILLISECONDS}"
    return "Show what happened in it", f"/d/{UIDS['one-run']}?{cell}&var-datasource=${{datasource}}&{window}"
