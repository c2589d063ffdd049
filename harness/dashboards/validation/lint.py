"""The linter: what a good dashboard has, panel by panel. Pure.

Rules of this module:
- A rule is a function that yields sentences; :data:`PANEL_RULES` and :data:`DASHBOARD_RULES` list them.
- Each sentence says what to do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from typing import Any, Final

from harness.dashboards.dashboard_findings import Fault
from harness.dashboards.grafana.dashboard_files import all_boxes, annotations_of, named, panels_of, variables_of
from harness.telemetry.metrics.metric_table import CELL_LABELS

Panel = Mapping[str, Any]
DATA_SOURCE_VARIABLE: Final = "${datasource}"
_COLUMNS: Final = 24
_WITH_LEGEND: Final = frozenset({"timeseries", "trend", "barchart"})


def lint_faults(dashboard: dict[str, Any], name: str) -> list[Fault]:
    """Everything that the rules find."""
    faults = [Fault(name, sentence) for rule in DASHBOARD_RULES for sentence in rule(dashboard)]
    for panel in panels_of(dashboard):
        faults += [Fault(f"{name}, {named(panel)}", sentence) for rule in PANEL_RULES for sentence in rule(panel)]
    return faults


def _title(panel: Panel) -> Iterator[str]:
    if not str(panel.get("title", "")).endswith("?"):
        yield "its title is no question: write the question that the panel answers"


def _description(panel: Panel) -> Iterator[str]:
    if not str(panel.get("description") or "").strip():
        yield "it has no description: say how to read the answer"


def _unit(panel: Panel) -> Iterator[str]:
    if not (_at(panel, "fieldConfig", "defaults", "unit") or panel.get("type") == "text"):
        yield "it has no unit: set fieldConfig.defaults.unit"


def _data_source(panel: Panel) -> Iterator[str]:
    for one in (panel, *_targets(panel)):
        if _at(one, "datasource", "uid") != DATA_SOURCE_VARIABLE:
            yield f"it asks a fixed data source: set datasource.uid to {DATA_SOURCE_VARIABLE}"
            return


def _legend(panel: Panel) -> Iterator[str]:
    if str(panel.get("type")) not in _WITH_LEGEND:
        return
    if _at(panel, "options", "legend", "showLegend") is not True:
        yield "it shows no legend: set options.legend.showLegend"
    for target in _targets(panel):
        if target.get("format") == "time_series" and not target.get("legendFormat"):
            yield f"query {target.get('refId')} names its series by all their labels: set legendFormat"


def _queries(panel: Panel) -> Iterator[str]:
    targets = _targets(panel)
    if not targets:
        yield "it asks nothing: add a query"
    letters = Counter(str(target.get("refId")) for target in targets)
    for letter, count in letters.items():
        if count > 1:
            yield f"{count} queries have the refId {letter}: give each its own"
    for target in targets:
        if not str(target.get("expr", "")).strip():
            yield f"query {target.get('refId')} is empty"


def _thresholds(panel: Panel) -> Iterator[str]:
    steps = _at(panel, "fieldConfig", "defaults", "thresholds", "steps")
    if not isinstance(steps, list) or not steps:
        return
    values: list[Any] = [step.get("value") for step in steps if isinstance(step, dict)]
    if not all(isinstance(value, int | float | None) for value in values):
        yield "a threshold is no number"
    elif not values or values[0] is not None or None in values[1:]:
        yield "the first threshold, and it alone, has no value: it is the colour of everything below the second"
    elif sorted(values[1:]) != values[1:]:
        yield "its thresholds are not in order"


def _ids(dashboard: Panel) -> Iterator[str]:
    rows = [row["panels"] for row in all_boxes(dashboard) if isinstance(row.get("panels"), list)]
    boxes = [*all_boxes(dashboard), *(panel for panels in rows for panel in panels if isinstance(panel, dict))]
    numbers = [box.get("id") for box in boxes]
    counted = Counter(number if isinstance(number, int) else None for number in numbers)
    for number, count in counted.items():
        if number is None:
            yield f"{count} of its panels have no id: give each its own number"
        elif count > 1:
            yield f"{count} panels have the id {number}: give each its own"


def _places(dashboard: Panel) -> Iterator[str]:
    boxes = all_boxes(dashboard)
    for box in boxes:
        if not all(isinstance(_at(box, "gridPos", side), int) for side in "xywh"):
            yield f"{named(box)} has no place: set x, y, w and h of its gridPos"
            return
        if box["gridPos"]["x"] < 0 or box["gridPos"]["x"] + box["gridPos"]["w"] > _COLUMNS:
            yield f"{named(box)} reaches beyond the {_COLUMNS} columns of the page"
    for one, other in combinations(boxes, 2):
        if _overlap(one["gridPos"], other["gridPos"]):
            yield f"{named(one)} and {named(other)} overlap: move one"


def _variables(dashboard: Panel) -> Iterator[str]:
    kinds = {str(one.get("name")): one for one in variables_of(dashboard)}
    if "datasource" not in kinds:
        yield "it has no variable `datasource`: it could be used with one Prometheus alone"
    for label in CELL_LABELS:
        if label not in kinds:
            yield f"it has no variable `{label}`: its cells cannot be chosen"
    for name, one in kinds.items():
        if one.get("type") == "query" and _at(one, "datasource", "uid") != DATA_SOURCE_VARIABLE:
            yield f"the variable `{name}` asks a fixed data source: set datasource.uid to {DATA_SOURCE_VARIABLE}"


def _head(dashboard: Panel) -> Iterator[str]:
    for field in ("uid", "title", "description"):
        if not str(dashboard.get(field) or "").strip():
            yield f"it has no {field}"
    for mark in annotations_of(dashboard):
        if mark.get("expr") and _at(mark, "datasource", "uid") != DATA_SOURCE_VARIABLE:
            name = mark.get("name")
            yield f"the mark {name!r} asks a fixed data source: set datasource.uid to {DATA_SOURCE_VARIABLE}"


PANEL_RULES: Final[tuple[Callable[[Panel], Iterator[str]], ...]] = (
    _title, _description, _unit, _data_source, _legend, _queries, _thresholds,
)  # fmt: skip
DASHBOARD_RULES: Final[tuple[Callable[[Panel], Iterator[str]], ...]] = (_head, _ids, _places, _variables)


def _targets(panel: Panel) -> list[Panel]:
    targets = panel.get("targets")
    return [one for one in targets if isinstance(one, dict)] if isinstance(targets, list) else []


def _at(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _overlap(one: Mapping[str, int], other: Mapping[str, int]) -> bool:
    apart = (
        one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    )  # fmt: skip
    return not apart
