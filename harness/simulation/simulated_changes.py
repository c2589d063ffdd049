"""Makespans with something changed: each change alone, all together, and at each number of workers.

Rules of this module:
- The base is the run as it was, on the virtual clock; a gain is the base's makespan less the changed one's.
- A run that went one step at a time shows nothing about more workers under its own policy. Where more are asked for and
  no policy is named, the policy is ``dataflow``.
- Under the policy ``best`` the order of starts is searched with the same changes (:mod:`.priority_search`).
- Where the subject leaves open what its steps waited for, a gain says how much of it is sure.
- Nothing is simulated twice: another number of workers is a cell, and a change by itself.
- With no change asked for, the changes tried are those of :func:`harness.simulation.what_if.gains_of`, and running
  without retries where there were any.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from executor.record.timeline import NANOSECONDS, Timeline
from executor.scheduler import Policy
from harness.analysis import LowerBound, RunAnalysis
from harness.config import BEST
from harness.config import Policy as NamedPolicy
from harness.plain_text import one_line
from harness.simulation.changes import Change, combined
from harness.simulation.priority_search import BestPriorities, best_priorities
from harness.simulation.subject import Subject
from harness.simulation.what_if import WORKERS, gains_of

_SERIAL: Final = "serial"
# Less of the makespan than that is nothing.
_NOTHING_RATIO: Final = 0.005


@dataclass(frozen=True, slots=True)
class Cell:
    """All changes together, at a number of workers under a policy. ``gain_seconds`` is against the base;
    ``sure_gain_seconds`` of it, whatever a trace leaves open. ``change``: what was run. ``best``: which order of starts
    was taken, under the policy ``best``.
    """

    workers: int
    policy: NamedPolicy
    makespan_seconds: float
    lower_bound_seconds: float
    gain_seconds: float
    sure_gain_seconds: float
    change: Change
    best: BestPriorities | None = None


@dataclass(frozen=True, slots=True)
class Gain:
    """One change alone: what it saves of the base's makespan (negative: what it costs), and how much of that is sure
    whatever a trace leaves open. ``binds_next``: why a higher
    limit gains nothing by itself (``workers``, or a term of the lower bound), and what it gains with as many workers
    as there are steps; None where it gains something.
    """

    label: str
    makespan_seconds: float
    gain_seconds: float
    sure_gain_seconds: float
    binds_next: str | None = None
    with_workers_gain_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Simulation:
    """``measured_seconds``: the makespan as it was; ``base_seconds``: the same on the virtual clock.

    ``gains``: each change alone, the largest first. ``asked``: whether the changes were asked for.
    """

    subject: Subject
    workers: int
    policy: Policy
    measured_seconds: float
    base_seconds: float
    cells: tuple[Cell, ...]
    gains: tuple[Gain, ...]
    asked: bool


def simulate(
    subject: Subject,
    changes: Sequence[Change] = (),
    *,
    workers: Sequence[int] = (),
    policies: Sequence[NamedPolicy] = (),
) -> Simulation:
    """Run it again: as it was, with each change alone, and with all of them for each number of workers and policy."""
    if not policies:
        policies = [_policy_for(subject, workers)]
    counts = list(workers) or [subject.timeline.workers]
    together = combined(changes)
    runs = _Runs(subject)
    cells = [_cell(runs, replace(together, workers=count), policy) for policy in policies for count in counts]
    singles = [*changes, *_schedules(subject, workers, policies)]
    gains = [_gain(runs, one) for one in singles] if singles else _usual_gains(runs)
    return Simulation(
        subject=subject,
        workers=subject.timeline.workers,
        policy=subject.policy,
        measured_seconds=subject.timeline.makespan_seconds,
        base_seconds=runs.base / NANOSECONDS,
        cells=tuple(cells),
        gains=tuple(sorted(gains, key=lambda one: -one.gain_seconds)),
        asked=bool(singles),
    )


class _Runs:
    """The simulations of a subject."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._makespans: dict[Hashable, int] = {}
        self._bounds: dict[Hashable, LowerBound] = {}
        # Only the record of the last one is kept: that of a large run is large.
        self._last: tuple[Hashable, Timeline] | None = None

    @property
    def base(self) -> int:
        """The makespan as it was, in nanoseconds."""
        return self.makespan_nanoseconds(Change("as it was"))

    def makespan_nanoseconds(self, change: Change) -> int:
        """The makespan with something changed."""
        key = self._key(change)
        if key not in self._makespans:
            self._run(key, change)
        return self._makespans[key]

    def lower_bound(self, change: Change) -> LowerBound:
        """The lower bound of the same run."""
        key = self._key(change)
        if key not in self._bounds:
            again = self._last[1] if self._last is not None and self._last[0] == key else self._run(key, change)
            self._bounds[key] = RunAnalysis(again).lower_bound
        return self._bounds[key]

    def _run(self, key: Hashable, change: Change) -> Timeline:
        self._last = None
        again = self.subject.run(change)
        self._makespans[key] = again.makespan_nanoseconds
        self._last = key, again
        return again

    def _key(self, change: Change) -> Hashable:
        """The same for changes that make the same run."""
        return (
            change.workers or self.subject.timeline.workers,
            change.policy or self.subject.policy,
            change.without_retries,
            change.ranks and tuple(change.ranks),
            frozenset(change.speed_ups.items()),
            frozenset((name, frozenset(words.items())) for name, words in change.limits.items()),
        )


def _policy_for(subject: Subject, workers: Sequence[int]) -> Policy:
    one_at_a_time = _SERIAL in (subject.policy, subject.timeline.backend)
    return "dataflow" if one_at_a_time and any(count > 1 for count in workers) else subject.policy


def _schedules(subject: Subject, workers: Sequence[int], policies: Sequence[NamedPolicy]) -> list[Change]:
    """Each other number of workers alone, and each other policy."""
    named = _policy_for(subject, workers)
    found = [
        Change(
            f"workers {subject.timeline.workers} → {count}" + (f", policy {named}" if named != subject.policy else ""),
            workers=count,
            policy=named,
        )
        for count in workers
        if (count, named) != (subject.timeline.workers, subject.policy)
    ]
    found += [
        _under(subject, Change(f"policy {subject.policy} → {policy}"), policy)[0]
        for policy in policies
        if policy != subject.policy
    ]
    return list({one.label: one for one in found}.values())


def _under(subject: Subject, change: Change, policy: NamedPolicy) -> tuple[Change, BestPriorities | None]:
    """The change under a policy; of ``best`` the order of starts is searched here."""
    if policy != BEST:
        return replace(change, policy=policy), None
    best, ordered = best_priorities(subject, change)
    return ordered, best


def _cell(runs: _Runs, together: Change, policy: NamedPolicy) -> Cell:
    subject = runs.subject
    change, best = _under(subject, together, policy)
    bound = runs.lower_bound(change).nanoseconds
    makespan = runs.makespan_nanoseconds(change)
    gain = runs.base - makespan
    assert change.workers is not None
    return Cell(
        workers=change.workers,
        policy=policy,
        makespan_seconds=makespan / NANOSECONDS,
        lower_bound_seconds=bound / NANOSECONDS,
        gain_seconds=gain / NANOSECONDS,
        sure_gain_seconds=subject.sure_gain(_unless_as_it_was(subject, change), gain) / NANOSECONDS,
        change=change,
        best=best,
    )


def _unless_as_it_was(subject: Subject, change: Change) -> Change:
    """The change without a schedule that is the subject's own."""
    if (change.workers, change.policy) == (subject.timeline.workers, subject.policy):
        return replace(change, workers=None, policy=None)
    return change


def _gain(runs: _Runs, change: Change) -> Gain:
    subject, base, makespan = runs.subject, runs.base, runs.makespan_nanoseconds(change)
    sure = subject.sure_gain(change, base - makespan) / NANOSECONDS
    gain = Gain(change.label, makespan / NANOSECONDS, (base - makespan) / NANOSECONDS, sure)
    if not change.limits or change.workers is not None or base - makespan > _NOTHING_RATIO * base:
        return gain
    binding = runs.lower_bound(change).binding
    slots = max(subject.timeline.workers, len(subject.timeline.step_ids))
    more = (base - runs.makespan_nanoseconds(replace(change, workers=slots))) / NANOSECONDS
    if more > gain.gain_seconds + _NOTHING_RATIO * base / NANOSECONDS:
        return replace(gain, binds_next="workers", with_workers_gain_seconds=more)
    return replace(gain, binds_next=binding)


def _usual_gains(runs: _Runs) -> list[Gain]:
    found: list[Gain] = []
    subject, base = runs.subject, runs.base
    if "cancelled" not in subject.timeline.statuses and base > 0:
        prediction = gains_of(subject.rerun, whole=base)
        for step in prediction.steps:
            name = one_line(subject.name_of(step.step_id), 40)
            for said, divisor, seconds in (
                ("2× as fast", 2.0, step.half_seconds),
                ("no time", math.inf, step.whole_seconds),
            ):
                change = Change(f"step {name} {said}", {step.step_id: divisor})
                found.append(_gain_of(subject, change, base, seconds))
        for limit in prediction.limits:
            change = Change(f"{limit.limit} {limit.before:g} → {limit.after:g}", limits={limit.limit: {}})
            if limit.limit == WORKERS:
                change = replace(change, limits={}, workers=round(limit.after))
            found.append(_gain_of(subject, change, base, limit.seconds))
    if any(attempts > 1 for attempts in subject.rerun.last_attempt.values()):
        found.append(_gain(runs, Change("without retries", without_retries=True)))
    return [one for one in found if one.gain_seconds > 0]


def _gain_of(subject: Subject, change: Change, base: int, gain_seconds: float) -> Gain:
    sure = subject.sure_gain(change, round(gain_seconds * NANOSECONDS)) / NANOSECONDS
    return Gain(change.label, base / NANOSECONDS - gain_seconds, gain_seconds, sure)
