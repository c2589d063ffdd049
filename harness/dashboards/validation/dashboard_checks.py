"""Whether the dashboards are right: their JSON, their queries, and what a real server answers to them.

Rules of this module:
- What can be found without a server is looked for first; a file that cannot be read is asked nothing.
- A query is asked as Grafana asks it, with its variables filled in. The range is that of its dashboard, up to the end
  of the newest run.
- An answer without a number is a fault: the panel would stay empty.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from harness.dashboards.dashboard_findings import Fault
from harness.dashboards.grafana.dashboard_files import (
    Dashboard,
    PanelQuery,
    annotations_of,
    named,
    panels_of,
    queries_of,
    variables_of,
)
from harness.dashboards.grafana.grafana_model import model_faults
from harness.dashboards.validation.expected_numbers import Known, known_numbers
from harness.dashboards.validation.lint import lint_faults
from harness.dashboards.validation.number_comparison import differences
from harness.dashboards.validation.prometheus_questions import PrometheusQueries, RefusedError
from harness.dashboards.validation.promql import unknown_metrics
from harness.dashboards.validation.substitution import filled, seconds_of, time_words
from harness.telemetry.metrics.metric_table import (
    CELL_LABELS,
    PREFIX,
    RESOURCE_CAPACITY,
    RESOURCE_IN_USE,
    RUN_COMPLETED,
    RUN_INFO,
    STEPS_READY,
    STEPS_RUNNING,
)
from harness.telemetry.metrics.time_series import end_of
from harness.telemetry.telemetry_settings import Profile

# As many points as Grafana asks for on a wide screen.
POINTS: Final = 1_000
# As Grafana's data source says: our own server scrapes each second, others as it comes by default.
SCRAPE_SECONDS: Final[Mapping[Profile, float]] = {"own": 1.0, "shared": 15.0}
_WHY_DIFFERENT: Final = "see whether the run was changed after it was sent, or the panel asks for another number"
_AS_FAR_BACK: Final = "2y"
_FIGURES: Final = f"{PREFIX}run_"
# What is scraped is there some time after the end of the run.
_AFTER_SECONDS: Final[Mapping[Profile, float]] = {"own": 1.0, "shared": 60.0}
# Only scenarios with limits have resources; and a text file, unlike a scrape, shows nothing of a run that goes on.
_LIMITS: Final = (RESOURCE_CAPACITY.name, RESOURCE_IN_USE.name)
_MAY_BE_ABSENT: Final[Mapping[Profile, tuple[str, ...]]] = {
    "own": _LIMITS,
    "shared": (*_LIMITS, STEPS_RUNNING.name, STEPS_READY.name),
}

Cell = dict[str, str]


@dataclass(slots=True)
class Outcome:
    """What was found. ``notes`` are no faults."""

    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    dashboards: int = 0
    panels: int = 0
    queries: int = 0
    numbers: int = 0


@dataclass(frozen=True, slots=True)
class Held:
    """What the server holds: the end of its newest run (seconds since 1970), its cells, and ids of runs by cell."""

    end: float
    cells: list[Cell]
    newest: list[Cell]
    runs: dict[str, list[Cell]]


def static_faults(dashboards: Mapping[str, Dashboard]) -> list[Fault]:
    """What is wrong with them whatever a server holds."""
    faults: list[Fault] = []
    for name, dashboard in dashboards.items():
        faults += model_faults(dashboard, name)
        faults += lint_faults(dashboard, name)
        for where, expression in _expressions(dashboard, name):
            faults += _promql_faults(where, filled(expression, _any_words()))
    return faults


def validated(
    dashboards: Mapping[str, Dashboard],
    profile: Profile,
    server: PrometheusQueries | None,
    documents: Sequence[Mapping[str, Any]],
) -> Outcome:
    """All of it. Without a server only :func:`static_faults`.

    Raises:
        NoPrometheusError: the server does not answer.

    """
    outcome = Outcome(static_faults(dashboards), dashboards=len(dashboards))
    outcome.panels = sum(len(list(panels_of(one))) for one in dashboards.values())
    if server is None:
        return outcome
    held = _held(server)
    if held is None:
        outcome.faults.append(
            Fault(server.shown_url, "the server holds no run", "send the stored runs: `makespan dashboards push --all`")
        )
        return outcome
    known, foreign = _comparable(held, documents, outcome)
    if profile == "shared":
        # What is scraped counts all repetitions of a bench, and sees its steps only so often.
        known = [one for one in known if one.metric.startswith(_FIGURES)]
    for name, dashboard in dashboards.items():
        _Asked(name, dashboard, profile, server, held, outcome).judge(known, foreign)
    return outcome


class _Asked:
    """One dashboard, asked as a whole."""

    def __init__(
        self, name: str, dashboard: Dashboard, profile: Profile, server: PrometheusQueries, held: Held, outcome: Outcome
    ) -> None:
        self._name = name
        self._dashboard = dashboard
        self._profile = profile
        self._server = server
        self._held = held
        self._outcome = outcome
        self._empty_places: set[tuple[Any, int]] = set()
        length = seconds_of(str(dashboard.get("time", {}).get("from", "")).removeprefix("now-"), 86_400.0)
        self._end = held.end + _AFTER_SECONDS[profile]
        if profile == "shared" and server.now(f"max({RUN_COMPLETED.name})", time.time()):
            # A text file shows the newest run until the next one: what is scraped now is what is shown.
            self._end = time.time()
        self._start = self._end - length

    def judge(self, known: Sequence[Known], foreign: list[tuple[tuple[str, str], ...]]) -> None:
        for values in self._choices():
            self._ask_marks(values)
            answered: dict[Any, bool] = {}
            empty: list[tuple[PanelQuery, str]] = []
            for query in queries_of(self._dashboard):
                expression = filled(query.expression, values | self._words(query.panel))
                answer = self._answer(query, expression)
                if answer is None:
                    continue
                panel = query.panel.get("id")
                answered[panel] = answered.get(panel, False) or bool(answer)
                if not answer:
                    empty.append((query, expression))
                self._outcome.queries += 1
                self._outcome.numbers += len(answer)
                for sentence in differences(expression, answer, known, instant=query.instant, foreign=foreign):
                    self._fault(query, sentence, _WHY_DIFFERENT)
            for query, expression in empty:
                may_be = any(name in expression for name in _MAY_BE_ABSENT[self._profile])
                if not answered[query.panel.get("id")] or not may_be:
                    self._empty(query, expression, values)

    def _ask_marks(self, values: Mapping[str, str | Sequence[str]]) -> None:
        """Marks may be absent: revisions need not be known. A query that is refused is a fault all the same."""
        words = {**values, **self._words({})}
        for mark in annotations_of(self._dashboard):
            try:
                self._server.over(filled(str(mark.get("expr") or "1"), words), self._start, self._end, self._step({}))
            except RefusedError as error:
                where = f"{self._name}, mark {mark.get('name')!r}"
                self._outcome.faults.append(Fault(where, f"the server refuses its query: {error}", "correct the query"))

    def _empty(self, query: PanelQuery, expression: str, values: Mapping[str, str | Sequence[str]]) -> None:
        """Report it once for each query, however many cells it is empty for."""
        place = (query.panel.get("id"), query.place)
        if place not in self._empty_places:
            self._empty_places.add(place)
            self._fault(query, f"it would stay empty with {_said(values)}", _why_empty(expression))

    def _choices(self) -> Iterator[dict[str, str | Sequence[str]]]:
        """What may be chosen above it: everything at once, or each cell of the newest run."""
        several = any(one.get("multi") for one in variables_of(self._dashboard))
        if several:
            yield {label: sorted({cell[label] for cell in self._held.cells}) for label in CELL_LABELS}
        else:
            for cell in self._held.newest:
                yield {**cell}

    def _words(self, panel: Mapping[str, Any]) -> dict[str, str]:
        return time_words(self._start, self._end, self._step(panel), SCRAPE_SECONDS[self._profile])

    def _step(self, panel: Mapping[str, Any]) -> float:
        least = seconds_of(str(panel.get("interval", "")), SCRAPE_SECONDS[self._profile])
        return max(least, (self._end - self._start) / POINTS)

    def _answer(self, query: PanelQuery, expression: str) -> list[dict[str, Any]] | None:
        """The series that have a number; None where the server refuses the query."""
        try:
            if query.instant:
                found = self._server.now(expression, self._end)
            else:
                found = self._server.over(expression, self._start, self._end, self._step(query.panel))
        except RefusedError as error:
            self._fault(query, f"the server refuses its query: {error}", "correct the query")
            return None
        return [one for one in found if _has_number(one)]

    def _fault(self, query: PanelQuery, what: str, fix: str) -> None:
        fault = Fault(f"{self._name}, {named(query.panel)}, query {query.target.get('refId')}", what, fix)
        if fault not in self._outcome.faults:
            self._outcome.faults.append(fault)


def _held(server: PrometheusQueries) -> Held | None:
    """What is there, as of now."""
    now = time.time()
    ends = server.now(f"last_over_time({RUN_COMPLETED.name}[{_AS_FAR_BACK}])", now)
    if not ends:
        return None
    by_end = [(float(one["value"][1]), _cell(one)) for one in ends]
    end = max(at for at, _ in by_end)
    infos = server.now(f"last_over_time({RUN_INFO.name}[{_AS_FAR_BACK}])", now)
    cells_of: dict[str, list[Cell]] = {}
    for one in infos:
        cells_of.setdefault(str(one["metric"].get("run_id")), []).append(_cell(one))
    last = [cell for at, cell in by_end if at == end]
    # A run ends with the last of its cells; those that it shares with a run before it are its own by now.
    newest = next((cells for cells in cells_of.values() if last[0] in cells and _ended_last(cells, by_end)), last)
    return Held(end, [cell for _, cell in by_end], newest, cells_of)


def _ended_last(cells: Sequence[Cell], by_end: Sequence[tuple[float, Cell]]) -> bool:
    """Whether no cell of the run ended much before its last one: then they are another run's."""
    ends = [at for at, cell in by_end if cell in cells]
    return max(ends) - min(ends) < _ONE_RUN_SECONDS


# Cells of one bench end at about the same time.
_ONE_RUN_SECONDS: Final = 600.0


def _comparable(
    held: Held, documents: Sequence[Mapping[str, Any]], outcome: Outcome
) -> tuple[list[Known], list[tuple[tuple[str, str], ...]]]:
    """The numbers of the runs that the server and the store both hold, and the cells of those that it alone holds."""
    stored = {str(one["run_id"]) for one in documents}
    # The table of runs can be switched off; then all that is stored is taken to be there.
    both = [one for one in documents if not held.runs or str(one["run_id"]) in held.runs]
    foreign = sorted({tuple(cell.items()) for run, cells in held.runs.items() if run not in stored for cell in cells})
    if documents and not both:
        fix = "send them: `makespan dashboards push --all`"
        outcome.faults.append(Fault("the store", "the server holds none of the stored runs", fix))
    if len(both) < len(documents):
        outcome.notes.append(f"{len(documents) - len(both)} stored runs are not on the server, and are not compared")
    if foreign:
        outcome.notes.append(f"the server holds runs of {len(foreign)} cells that are not in the store: not compared")
    return known_numbers(sorted(both, key=end_of)), foreign


def _cell(series: Mapping[str, Any]) -> Cell:
    return {label: str(series["metric"].get(label, "")) for label in CELL_LABELS}


def _expressions(dashboard: Dashboard, name: str) -> Iterator[tuple[str, str]]:
    for query in queries_of(dashboard):
        yield f"{name}, {named(query.panel)}, query {query.target.get('refId')}", query.expression
    for mark in annotations_of(dashboard):
        yield f"{name}, mark {mark.get('name')!r}", str(mark.get("expr") or "")
    for variable in variables_of(dashboard):
        text = str(variable.get("query") or "")
        if text.startswith("label_values("):
            yield f"{name}, variable `{variable.get('name')}`", text.removeprefix("label_values(").rpartition(",")[0]


def _promql_faults(where: str, expression: str) -> list[Fault]:
    try:
        return [Fault(where, sentence) for sentence in unknown_metrics(expression)]
    except ValueError as error:
        return [Fault(where, f"it is no PromQL: {error}", "correct the query")]


def _any_words() -> dict[str, str | Sequence[str]]:
    return {**dict.fromkeys(CELL_LABELS, ".*"), **time_words(0, 3600, 15, 15)}


def _has_number(series: Mapping[str, Any]) -> bool:
    return any(not math.isnan(float(value)) for _, value in series.get("values") or [series["value"]])


def _said(values: Mapping[str, str | Sequence[str]]) -> str:
    return ", ".join(f"{name} {value if isinstance(value, str) else 'All'}" for name, value in values.items())


def _why_empty(expression: str) -> str:
    if "speedup" in expression or "efficiency_ratio" in expression:
        return "speedups are measured by `makespan bench` alone: run it, and push it"
    return "see whether the metric is sent: it is listed by the server under that name"
