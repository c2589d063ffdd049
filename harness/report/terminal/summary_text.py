"""A run when it is over, as text: steps with what came out of them, and one summary. Pure.

Rules of this module:
- Work ÷ makespan is called mean concurrency and nothing else.
- What equal errors say stands there once, with their number and the first of their steps.
- What a stand-in or a simulation made is labelled as that, before any of it is shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from executor.record.outcomes import StepError
from executor.record.remote_outputs import OutputGoneError
from executor.record.timeline import NANOSECONDS, Attempt, StepStatus
from executor.running import Run
from harness.analysis import Summary, remedy
from harness.plain_text import columns_of, counted, duration_text, one_line, padded, some_of
from harness.report.terminal.console import Line, shown_value

STEPS_SHOWN: Final = 50
_NAME_LIMIT: Final = 32
_ID_SHOWN: Final = 12
_PATH_SHOWN: Final = 8
_WARNINGS_SHOWN: Final = 20
_FAILURES_SHOWN: Final = 5
_ALIKE_SHOWN: Final = 5
_FAULT_LIMIT: Final = 1000
# What it took to start the workers is shown from so many seconds and such a share of the makespan on.
_LEAST_STARTUP_SECONDS: Final = 0.1
_LEAST_STARTUP_RATIO: Final = 0.1
_STATUS_STYLES: Final[dict[StepStatus, str]] = {
    "succeeded": "green",
    "failed": "bold red",
    "skipped": "yellow",
    "cancelled": "yellow",
}
_NOTES: Final = {
    "virtual": "SIMULATED: no tool ran, durations are the stated ones, outputs are placeholders",
    "stand-in": "STAND-IN: no model was asked; the answers come from the stand-in service on this machine",
}


def step_lines(run: Run, *, simulated: bool = False, stand_in: bool = False, width: int = 120) -> Iterator[Line]:
    """Each step's status, run time and output or error. Of many steps, those that did not succeed come first."""
    notes = [key for key, holds in (("virtual", simulated), ("stand-in", stand_in)) if holds]
    counts = Counter(run.statuses.values())
    yield Line(f"Steps ({', '.join(f'{number} {status}' for status, number in counts.items())}):", "bold")
    for note in notes:
        yield Line(f"  [{_NOTES[note]}]", "yellow")
    shown = _chosen(run)
    tries = _tries(run, set(shown))
    alike = {group[0].step_id: group for group in _equal_errors(run)}
    first = {error.step_id: place for place, group in alike.items() for error in group}
    names = {step_id: one_line(step_id, _NAME_LIMIT) for step_id in shown}
    column = max(map(columns_of, names.values()), default=0)
    for step_id in shown:
        status = run.statuses[step_id]
        earlier = run.reused.get(step_id)
        how = "cached" if step_id in run.cached else "reused"
        when = _time_of(tries.get(step_id, [])) if earlier is None else f"{how} from run {earlier[:_ID_SHOWN]}"
        if first.get(step_id, step_id) != step_id:
            when = f"{when}  as {one_line(first[step_id], _NAME_LIMIT)}".lstrip()
        yield Line(f"  {padded(names[step_id], column)}  {status:<9}  {when}".rstrip(), _STATUS_STYLES.get(status, ""))
        if status == "succeeded":
            yield Line(f"      {shown_value(_output_of(run, step_id), width - 6)}")
        elif step_id in alike:
            error, count = run.errors[step_id], len(alike[step_id])
            many = f" (in {counted(count, 'step')})" if count > 1 else ""
            yield Line(f"      {one_line(f'{error.error_type}: {error.message}', 3 * width)}{many}", "red")
    if len(run.statuses) > len(shown):
        yield Line(f"  … and {len(run.statuses) - len(shown)} more (all of them: --json FILE)")


def fault_lines(run: Run) -> Iterator[Line]:
    """What failed, and nothing else."""
    for group in _equal_errors(run):
        said = str(group[0])
        if len(group) > 1:
            names = some_of([repr(one_line(error.step_id, _NAME_LIMIT)) for error in group], _ALIKE_SHOWN)
            said = f"{counted(len(group), 'step')} ({names}): {group[0].error_type}: {group[0].message}"
        yield Line(f"failed: {one_line(said, _FAULT_LIMIT)}", "bold red")
    if run.interrupted:
        yield Line("the run was interrupted")


def _equal_errors(run: Run) -> Iterable[list[StepError]]:
    """Errors of the same words together, in the order of the steps; those that failed are first, as where few are
    shown.
    """
    groups: dict[tuple[str, str], list[StepError]] = {}
    steps = (step_id for step_id in run.statuses if step_id in run.errors)
    for step_id in sorted(steps, key=lambda one: run.statuses[one] != "failed"):
        error = run.errors[step_id]
        groups.setdefault((error.error_type, error.message), []).append(error)
    return groups.values()


def _chosen(run: Run) -> list[str]:
    if len(run.statuses) <= STEPS_SHOWN:
        return list(run.statuses)
    faulty = [step_id for step_id, status in run.statuses.items() if status == "failed"]
    others = (step_id for step_id, status in run.statuses.items() if status != "failed")
    return [*faulty, *others][:STEPS_SHOWN]


def _tries(run: Run, shown: set[str]) -> dict[str, list[Attempt]]:
    tries: dict[str, list[Attempt]] = {}
    for attempt in run.timeline.attempts:
        if attempt.step_id in shown:
            tries.setdefault(attempt.step_id, []).append(attempt)
    return tries


def _time_of(attempts: Sequence[Attempt]) -> str:
    ran = [one.ended - one.started for one in attempts if one.started is not None and one.ended is not None]
    if not ran:
        return ""
    text = duration_text(sum(ran) / NANOSECONDS)
    return text if len(attempts) == 1 else f"{text} in {len(attempts)} attempts"


def summary_lines(
    name: str,
    run: Run,
    figures: Summary,
    warnings: Iterable[str] = (),
    *,
    simulated: bool = False,
    plot: str | None = None,
    capacities: Sequence[str] = (),
) -> Iterator[Line]:
    """The one summary of a run. ``plot``: its concurrency over time, drawn; ``capacities``: those found out, drawn."""
    where = f"{run.backend} (simulated)" if simulated else run.backend
    how = f"{counted(run.workers, 'worker')}, policy {run.timeline.policy}"
    yield Line(f"Summary of {one_line(name, 60)} on {where}, {how}:", "bold")
    yield _figure("makespan", duration_text(figures.makespan_seconds))
    if len(run.reused) > len(run.cached):
        reused = counted(len(run.reused) - len(run.cached), "step")
        yield _figure("reused", f"{reused} of an earlier run, in none of these figures")
    if run.cached:
        yield _figure("cached", f"{counted(len(run.cached), 'step')} of earlier runs, in none of these figures")
    yield _figure("lower bound", _bound(figures))
    yield _figure("mean concurrency", _concurrency(figures))
    if plot is not None:
        yield _figure("over time", plot)
    for text in capacities:
        yield _figure("capacity", text)
    for group in figures.failures[:_FAILURES_SHOWN]:
        yield _figure("failed attempts", one_line(str(group), 200))
    if len(figures.failures) > _FAILURES_SHOWN:
        yield _figure("", f"… and {counted(len(figures.failures) - _FAILURES_SHOWN, 'more kind')} of failed attempts")
    if startup_counts(run.startup_seconds, figures.makespan_seconds) and not simulated:
        yield _figure(
            "start-up", f"{duration_text(run.startup_seconds)} before that, to start workers and make tools ready"
        )
    cpu = "not measured" if figures.cpu_seconds is None else duration_text(figures.cpu_seconds)
    yield _figure("CPU seconds", cpu)
    yield _figure("critical path", _path(figures))
    yield _figure("lost time", _sentence(remedy(figures, run.timeline)))
    said = list(dict.fromkeys([*(str(caution) for caution in figures.cautions), *warnings]))
    for text in said[:_WARNINGS_SHOWN]:
        yield Line(f"  warning: {one_line(text, 600)}", "yellow")
    if len(said) > _WARNINGS_SHOWN:
        yield Line(f"  … and {counted(len(said) - _WARNINGS_SHOWN, 'more warning')}")


def startup_counts(startup_seconds: float, makespan_seconds: float) -> bool:
    """Whether what it took to start the workers is worth telling beside the makespan."""
    return startup_seconds >= max(_LEAST_STARTUP_SECONDS, _LEAST_STARTUP_RATIO * makespan_seconds)


def _figure(name: str, text: str) -> Line:
    return Line(f"  {name:<17} {text}")


def _sentence(text: str) -> str:
    return one_line(text, 600)


def _bound(figures: Summary) -> str:
    text = duration_text(figures.lower_bound_seconds)
    if figures.schedule_efficiency_ratio is None:
        return text
    limit = "" if figures.binding_bound is None else f", set by {one_line(bound_text(figures.binding_bound), 60)}"
    return f"{text} ({figures.schedule_efficiency_ratio:.0%} of the makespan{limit})"


def bound_text(bound: str) -> str:
    """The term that a lower bound comes from, as people say it; the names of resources stay as they are."""
    return bound if "." in bound else bound.replace("_", " ")


def _concurrency(figures: Summary) -> str:
    if figures.concurrency_mean is None:
        return "nothing ran"
    work = duration_text(figures.work_seconds)
    return f"{figures.concurrency_mean:.2f} (work of {work} ÷ makespan; at most {figures.concurrency_max} at once)"


def _path(figures: Summary) -> str:
    parts = [f"{one_line(part.step_id, _NAME_LIMIT)} {duration_text(part.seconds)}" for part in figures.critical_path]
    more = f" → … {len(parts) - _PATH_SHOWN} more" if len(parts) > _PATH_SHOWN else ""
    return f"{' → '.join(parts[:_PATH_SHOWN])}{more} = {duration_text(figures.critical_path_seconds)}"


def _output_of(run: Run, step_id: str) -> Any:
    """An output, or what it was where it stayed on a cluster that is gone."""
    try:
        return run.outputs.get(step_id)
    except OutputGoneError as error:
        return str(error)
