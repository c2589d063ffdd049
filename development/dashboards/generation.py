"""Makes what is generated of ``dashboards/``: the JSON, and the files that connect Grafana and Prometheus with it.
``python -m development.dashboards`` writes it.

Rules of this module:
- The same code gives the same bytes: nothing in it depends on time or place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync

from development.dashboards.executors_compared import executors_compared
from development.dashboards.layout import Row, laid_out
from development.dashboards.links import UIDS
from development.dashboards.one_run import one_run
from development.dashboards.trends import trends
from development.dashboards.variables import cell_variables, revision_marks, source_variables
from harness.dashboards.grafana.dashboard_files import annotations_of, queries_of
from harness.dashboards.grafana.profiles import DIALECTS, Dialect
from harness.dashboards.grafana.provisioning import dashboard_provider, data_sources
from harness.dashboards.grafana.queries import exactly
from harness.telemetry.prometheus.server_flags import prometheus_config
from harness.telemetry.telemetry_settings import Profile

Dashboard = dict[str, Any]

_ROWS: Final[Mapping[str, Callable[[Dialect], list[Row]]]] = {
    "executors-compared": lambda _: executors_compared(),
    "one-run": one_run,
    "trends": trends,
}
# Title, description, the time range that it opens with.
_HEADS: Final = {
    "executors-compared": (
        "Executors compared",
        "What running steps side by side buys, on which executor, with how many workers, and what holds it back.",
        "now-24h",
    ),
    "one-run": ("One run", "What happened within one run, what it waited for, and the trace behind it.", "now-15m"),
    "trends": ("Trends", "Runs over days and revisions: what got slower, and whether schedule or work did.", "now-30d"),
}


def generated(profile: Profile) -> dict[str, Dashboard]:
    """The dashboards of a profile by name, as Grafana reads them."""
    return {name: _dashboard(name, DIALECTS[profile]) for name in _ROWS}


def dashboard_text(document: Dashboard) -> str:
    """As it is in a file."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def all_files() -> dict[str, str]:
    """Every generated file of ``dashboards/``: its path in there, and its text. Addresses are the compose file's."""
    files = {
        f"grafana/{profile}/{name}.json": dashboard_text(document)
        for profile in DIALECTS for name, document in generated(profile).items()
    }  # fmt: skip
    files["prometheus/prometheus.yml"] = prometheus_config(rule_files=["rules/makespan.rules.yml"])
    files["provisioning/datasources/makespan.yaml"] = data_sources("http://prometheus:9090", "http://tempo:3200")
    files["provisioning/dashboards/makespan.yaml"] = dashboard_provider("/etc/makespan/dashboards")
    return files


def write_all(folder: Path) -> list[Path]:
    """Write all of them below the folder. Answers the files.

    Raises:
        OSError: one cannot be written.

    """
    written = []
    for name, text in all_files().items():
        written.append(folder / name)
        written[-1].parent.mkdir(parents=True, exist_ok=True)
        written[-1].write_text(text, "utf-8")
    return written


def _dashboard(name: str, dialect: Dialect) -> Dashboard:
    title, description, start = _HEADS[name]
    made = dashboard.Dashboard(title).uid(UIDS[name]).description(description).tags(["makespan", dialect.profile])
    made.time(start, "now").timezone("browser").tooltip(DashboardCursorSync.CROSSHAIR).editable()
    if name == "one-run":
        # Runs are shorter than Grafana's usual distance between refreshes.
        made.timepicker(dashboard.TimePicker().refresh_intervals(["1s", "5s", "30s", "1m"]))
    built = made.build()
    variables = [*source_variables(), *cell_variables(several=name != "one-run")]
    built.templating.list_val = variables
    if name == "trends":
        built.annotations.list_val = [revision_marks(dialect)]
    built.links = [_link(other) for other in UIDS if other != name]
    built.panels = laid_out(_ROWS[name](dialect))
    document: Dashboard = json.loads(json.dumps(built, cls=JSONEncoder))
    for mark in annotations_of(document):
        # Grafana's Prometheus plugin reads these; the SDK's model of a mark ends before them.
        document["annotations"]["list"][0] = {**mark, "titleFormat": "revision {{revision}}", "tagKeys": "revision"}
    if name == "one-run":
        for query in queries_of(document):
            query.panel["targets"][query.place]["expr"] = exactly(query.expression)
    return document


def _link(name: str) -> Any:
    link = dashboard.DashboardLink(_HEADS[name][0]).url(f"/d/{UIDS[name]}").tooltip(_HEADS[name][1])
    return link.include_vars(True).keep_time(True).build()
