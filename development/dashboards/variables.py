"""What one chooses above a dashboard: the data source and the cell, and the marks of changed revisions.

Rules of this module:
- The five labels of a cell are chosen one after the other: each offers what there is with those before it.
- What compares cells offers `All` and many at once; what shows one run, one value of each.
"""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models.dashboard import (
    AnnotationQuery,
    VariableModel,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from development.dashboards.panels import DATA_SOURCE
from harness.dashboards.grafana.profiles import Dialect
from harness.dashboards.grafana.queries import selector, short_revision
from harness.telemetry.metrics.metric_table import CELL_LABELS, RUN_INFO, RUN_MAKESPAN

TRACES: Final = "traces"
_ALL: Final = VariableOption(selected=True, text="All", value="$__all")
_WORDS: Final = {
    "scenario": "What was run.",
    "executor": "Where its steps ran.",
    "workers": "How many of them at once, at most.",
    "policy": "In which order they were started.",
    "variant": "With which values of its parameters.",
}
# Long enough to know a revision again after a holiday.
_MEMORY: Final = "30d"


def source_variables() -> list[VariableModel]:
    """The Prometheus that holds the runs, and the store that holds their traces."""
    prometheus = dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    traces = dashboard.DatasourceVariable(TRACES).label("Traces").type("tempo")
    return [
        prometheus.description("The Prometheus that runs are pushed to.").build(),
        traces.description("The trace store that spans are sent to.").build(),
    ]


def cell_variables(*, several: bool) -> list[VariableModel]:
    """Scenario, executor, workers, policy, variant. ``several``: whether many may be chosen at once."""
    variables = []
    for place, label in enumerate(CELL_LABELS):
        before = ",".join(f'{one}=~"${one}"' for one in CELL_LABELS[:place])
        metric = RUN_MAKESPAN.name + (f"{{{before}}}" if before else "")
        order = VariableSort.NUMERICAL_ASC if label == "workers" else VariableSort.ALPHABETICAL_ASC
        one = dashboard.QueryVariable(label).label(label.capitalize()).description(_WORDS[label])
        one.query(f"label_values({metric}, {label})").datasource(DATA_SOURCE)
        one.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(order).multi(several).include_all(several)
        if several:
            one.current(_ALL)
        variables.append(one.build())
    return variables


def revision_marks(dialect: Dialect) -> AnnotationQuery:
    """A mark where a revision of the source is seen for the first time."""
    runs = selector(RUN_INFO, labels='revision!=""')
    seen = f"count by (revision) (last_over_time({runs}[{dialect.window}]))"
    known = f"count by (revision) (last_over_time({runs}[{_MEMORY}] offset {dialect.window}))"
    marks = dashboard.AnnotationQuery().name("New revision").datasource(DATA_SOURCE).icon_color("#a256cc")
    return marks.enable(True).expr(short_revision(f"({seen} unless {known})")).build()
