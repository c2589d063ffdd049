"""A simulation as text: the base, the makespans at each number of workers, what each change alone would gain. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from harness.plain_text import counted, duration_text, duration_texts, gain_text, one_line, some_of
from harness.report.terminal.console import Line, table_lines
from harness.simulation.duration_draws import Distribution
from harness.simulation.optimum import Optimum
from harness.simulation.simulated_changes import Cell, Gain, Simulation
from harness.simulation.subject import Subject

_GAINS_SHOWN: Final = 12
_NOTES_SHOWN: Final = 10
_FAILURES_SHOWN: Final = 5
# A base that differs from what was measured by more than that is worth a word.
_WORTH_SAYING_RATIO: Final = 0.05
# Of the base's makespan: what differs by less is the same.
_ALL_RATIO: Final = 0.005
_KINDS: Final = {"scenario": "its stated durations", "run": "its measured durations", "trace": "its observed durations"}


def simulation_lines(
    simulation: Simulation, spreads: Sequence[Distribution | None], optima: Sequence[Optimum | None] = ()
) -> Iterator[Line]:
    """Everything there is to say about it. ``optima``: for each cell the best schedule that is known, if asked for."""
    subject = simulation.subject
    yield from _failure_lines(subject)
    yield Line(f"{one_line(subject.name, 60)} on the virtual clock, with {_KINDS[subject.kind]}:", "bold")
    how = f"{counted(simulation.workers, 'worker')}, policy {simulation.policy}"
    yield Line(f"  as it is ({how}): {duration_text(simulation.base_seconds)}{_measured(simulation)}")
    yield from _cell_lines(simulation, spreads)
    yield from _best_lines(simulation)
    yield from _optimum_lines(simulation, optima)
    yield from _gain_lines(simulation)
    for note in subject.notes[:_NOTES_SHOWN]:
        yield Line(f"  note: {one_line(note, 400)}", "yellow")
    if len(subject.notes) > _NOTES_SHOWN:
        yield Line(f"  … and {counted(len(subject.notes) - _NOTES_SHOWN, 'more note')} (--json FILE)", "yellow")


def _failure_lines(subject: Subject) -> Iterator[Line]:
    """What failed, before any figure: such a run is short because it was cut short."""
    if not subject.failures:
        return
    where = "on the virtual clock" if subject.kind == "scenario" else "when it was recorded, and fails here as it did"
    yield Line(f"FAILED {where}: {counted(len(subject.failures), 'step')}", "red")
    for step_id, message in list(subject.failures.items())[:_FAILURES_SHOWN]:
        yield Line(f"  {one_line(step_id, 60)}: {one_line(message, 300)}", "red")
    if len(subject.failures) > _FAILURES_SHOWN:
        yield Line(f"  … and {len(subject.failures) - _FAILURES_SHOWN} more (--json FILE)")
    if subject.skipped:
        names = some_of([one_line(step_id, 40) for step_id in subject.skipped], _FAILURES_SHOWN)
        yield Line(f"  skipped for that reason, and without time here: {names}", "red")


def _measured(simulation: Simulation) -> str:
    measured, base = simulation.measured_seconds, simulation.base_seconds
    if simulation.subject.kind == "scenario" or measured <= 0:
        return ""
    if abs(measured - base) <= _WORTH_SAYING_RATIO * measured:
        return f"; measured {duration_text(measured)}"
    return f"; measured {duration_text(measured)}: overhead, and whatever waited without a reason, are left out here"


def _cell_lines(simulation: Simulation, spreads: Sequence[Distribution | None]) -> Iterator[Line]:
    drawn = any(spread is not None for spread in spreads)
    alone = len(simulation.cells) == 1 and not simulation.asked and not drawn
    if alone:
        return
    leaves_open = simulation.subject.sure_gain_nanoseconds is not None
    head = ["workers", "policy", "makespan", "gain", *(["for sure"] if leaves_open else []), "lower bound"]
    head += ["5 %", "median", "95 %", "99 %"] if drawn else []
    rows = [
        [*_cell(cell, simulation.base_seconds, leaves_open), *_spread(spread)]
        for cell, spread in zip(simulation.cells, spreads, strict=True)
    ]
    yield from table_lines(head, rows)
    for spread in spreads[:1]:
        if spread is not None:
            yield Line(f"  {_drawn(spread)}", "dim")


def _best_lines(simulation: Simulation) -> Iterator[Line]:
    """Which order of starts the policy ``best`` took."""
    for cell in simulation.cells:
        if cell.best is None:
            continue
        tried = counted(len(cell.best.makespans_seconds) - 1, "rule")
        where = f"on {counted(cell.workers, 'worker')}"
        if not cell.best.priorities:
            yield Line(f"  best {where}: none of {tried} is shorter than dataflow's own order")
        else:
            is_scenario = simulation.subject.kind == "scenario"
            option = "--save FILE: the scenario in that order" if is_scenario else "--json FILE: each step's priority"
            yield Line(f"  best {where}: {cell.best.rule}, of {tried} ({option})")
        if cell.best.left_out:
            names = ", ".join(cell.best.left_out)
            yield Line(f"    not tried, since the run is large: {names}", "yellow")


def _optimum_lines(simulation: Simulation, optima: Sequence[Optimum | None]) -> Iterator[Line]:
    shown: set[int] = set()
    for cell, optimum in zip(simulation.cells, optima, strict=False):
        if optimum is None:
            continue
        where = f"on {counted(cell.workers, 'worker')}"
        if cell.workers not in shown:
            shown.add(cell.workers)
            yield Line(f"  best schedule {where}: {_known(optimum)}", "bold")
        yield Line(f"    {cell.policy} {where} is {_above(optimum, cell.makespan_seconds)}")


def _known(optimum: Optimum) -> str:
    if optimum.is_proven:
        return f"{duration_text(optimum.best_seconds)}, proven to be the shortest"
    best, bound = duration_texts(optimum.best_seconds, optimum.bound_seconds)
    took = duration_text(optimum.took_seconds)
    return f"{best} is the best found in {took}, and no schedule is shorter than {bound}"


def _above(optimum: Optimum, makespan: float) -> str:
    above = optimum.above_best_ratio(makespan)
    if optimum.is_proven:
        return "as short as any schedule" if above <= 0 else f"{_percent(above)} above the optimum"
    most = f"at most {_percent(optimum.above_bound_ratio(makespan))} above any"
    return f"as short as the best known, {most}" if above <= 0 else f"{_percent(above)} above the best known, {most}"


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.1f} %"


def _cell(cell: Cell, base: float, leaves_open: bool) -> list[str]:
    return [
        str(cell.workers), cell.policy, duration_text(cell.makespan_seconds), gain_text(cell.gain_seconds, base),
        *([_sure(cell.gain_seconds, cell.sure_gain_seconds, base)] if leaves_open else []),
        duration_text(cell.lower_bound_seconds),
    ]  # fmt: skip


def _spread(spread: Distribution | None) -> list[str]:
    return [] if spread is None else [duration_text(spread.percentiles[percent]) for percent in (5, 50, 95, 99)]


def _drawn(spread: Distribution) -> str:
    parts = []
    if spread.own:
        parts.append(f"{counted(spread.own, 'step')} from their own run times")
    if spread.pooled:
        parts.append(f"{spread.pooled} from those of their tool")
    if spread.fixed:
        parts.append(f"{spread.fixed} as measured")
    return f"{counted(spread.runs, 'run')}, durations drawn: {', '.join(parts)}"


def _gain_lines(simulation: Simulation) -> Iterator[Line]:
    if not simulation.gains:
        if not simulation.asked:
            yield Line("  No single change helps: no step by itself, no limit, no more workers.")
        return
    yield Line("  What each change alone would gain:", "bold")
    leaves_open = simulation.subject.sure_gain_nanoseconds is not None
    rows = [_gain_row(one, simulation.base_seconds, leaves_open) for one in simulation.gains[:_GAINS_SHOWN]]
    yield from table_lines(["change", "makespan", "gain", *(["for sure"] if leaves_open else [])], rows)
    if len(simulation.gains) > _GAINS_SHOWN:
        yield Line(f"    … and {len(simulation.gains) - _GAINS_SHOWN} more (--json FILE)")
    for one in simulation.gains[:_GAINS_SHOWN]:
        if one.binds_next is not None:
            yield Line(f"    {one_line(one.label, 80)}: {_binding(one, simulation)}", "yellow")


def _binding(gain: Gain, simulation: Simulation) -> str:
    """What binds next, where a higher limit gains nothing by itself."""
    if gain.with_workers_gain_seconds is None:
        return f"{one_line(str(gain.binds_next).replace('_', ' '), 60)} binds next"
    more = gain_text(gain.with_workers_gain_seconds, simulation.base_seconds)
    return f"the {counted(simulation.workers, 'worker')} bind next; with as many as there are steps it gains {more}"


def _gain_row(gain: Gain, base: float, leaves_open: bool) -> list[str]:
    row = [one_line(gain.label, 80), duration_text(gain.makespan_seconds), gain_text(gain.gain_seconds, base)]
    return [*row, _sure(gain.gain_seconds, gain.sure_gain_seconds, base)] if leaves_open else row


def _sure(gain: float, sure: float, base: float) -> str:
    if sure >= gain - _ALL_RATIO * base:
        return "all"
    return "nothing" if sure <= _ALL_RATIO * base else gain_text(sure, base)
