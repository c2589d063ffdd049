"""The words of a change: what a person asks to be different, checked against what there is.

Rules of this module:
- A change is data: it says what differs, and in its label how a person reads that. Several make one by
  :func:`combined`, where the later one counts.
- Steps may be named by a pattern (``note_*``); one that fits nothing is an error like an unknown name.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final

from executor.model.device_needs import kind_of, need_faults, with_count
from executor.model.findings import did_you_mean
from executor.model.workflow import Resource
from executor.record.timeline import Timeline
from executor.scheduler import Policy
from harness.config import POLICIES
from harness.config import Policy as NamedPolicy
from harness.plain_text import one_line

_NO_LIMIT: Final = "none"
_NAMES_SHOWN: Final = 8
_PATTERN_SIGNS: Final = "*?["
# More workers or units than that are no question about a schedule any more, and no machine word.
_MOST: Final = 1_000_000


class SimulationError(ValueError):
    """A change that cannot be made; the message says why, ``fix`` what to do."""

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.fix = fix


@dataclass(frozen=True, slots=True)
class Change:
    """What differs from the run as it was. ``label`` says it to a person.

    ``speed_ups``: by step id, what divides its durations. ``limits``: by resource, its fields that change (None: no
    such limit; ``devices``: how many there are). ``workers`` and ``policy`` None: as they were. ``ranks``: by the
    index of the step in the graph, the larger the earlier it starts; None: those of the graph.
    """

    label: str
    speed_ups: Mapping[str, float] = field(default_factory=dict)
    limits: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    without_retries: bool = False
    workers: int | None = None
    policy: Policy | None = None
    ranks: Sequence[int] | None = None

    def resources(self, before: Mapping[str, Resource]) -> dict[str, Resource]:
        """All limits, with the changed ones."""
        changed = dict(before)
        for name, words in self.limits.items():
            if "devices" in words:
                changed[name] = with_count(changed[name], int(words["devices"] or 0))
                continue
            changed[name] = changed.get(name, Resource()).model_copy(update=dict(words))
        return changed


def combined(changes: Sequence[Change], label: str = "all together") -> Change:
    """All changes at once."""
    speed_ups: dict[str, float] = {}
    limits: dict[str, dict[str, float | None]] = {}
    for one in changes:
        for step, divisor in one.speed_ups.items():
            speed_ups[step] = speed_ups.get(step, 1.0) * divisor
        for name, words in one.limits.items():
            limits.setdefault(name, {}).update(words)
    return Change(
        label,
        speed_ups,
        limits,
        any(one.without_retries for one in changes),
        next((one.workers for one in reversed(changes) if one.workers is not None), None),
        next((one.policy for one in reversed(changes) if one.policy is not None), None),
        next((one.ranks for one in reversed(changes) if one.ranks is not None), None),
    )


def speed_up(typed: str, steps: Mapping[str, str]) -> Change:
    """``step=2x``: the step's attempts take half as long; ``step=0.5x`` twice as long, ``step=infx`` no time.

    ``steps``: the ids of the steps by the names that a person knows them by.

    Raises:
        SimulationError: it does not read so, or there is no such step.

    """
    name, factor = _pair(typed, "--speed-up", "STEP=2x")
    text = factor.removesuffix("x").removesuffix("X").removesuffix("×")
    divisor = _number(text, "--speed-up", typed, "write a factor, as in STEP=2x (two times as fast)")
    found = _steps(name, steps, "--speed-up")
    said = "no time" if math.isinf(divisor) else f"{divisor:g}× as fast"
    several = f" ({len(found)} steps)" if len(found) > 1 else ""
    return Change(f"step {one_line(name, 40)}{several} {said}", dict.fromkeys(found, divisor))


def set_capacity(typed: str, resources: Mapping[str, Resource]) -> Change:
    """``llm=8``: so many units at once; ``llm=none``: as many as one likes. Of devices: so many of them.

    Raises:
        SimulationError: it does not read so, or there is no such resource.

    """
    name, amount = _pair(typed, "--set-capacity", "RESOURCE=N")
    _known(name, resources, "resource", "--set-capacity")
    devices = resources[name].devices
    if devices is not None:
        count = _count(amount, "--set-capacity", typed)
        label = f"{one_line(name, 40)}.devices {len(devices.names)} → {count}"
        return Change(label, limits={name: {"devices": count}})
    capacity = None if amount == _NO_LIMIT else _count(amount, "--set-capacity", typed)
    before = resources[name].capacity
    return Change(
        f"{one_line(name, 40)}.capacity {_said(before)} → {_said(capacity)}", limits={name: {"capacity": capacity}}
    )


def refuse_unmet(change: Change, timeline: Timeline) -> None:
    """Refuse a limit that is lower than what a step needs: the step would never run, and that is no gain.

    Raises:
        SimulationError: there is such a step.

    """
    resources = change.resources(timeline.resources)
    for step_id, needs in zip(timeline.step_ids, timeline.needs, strict=False):
        for name, amount in (needs or {}).items():
            kind = kind_of(name, resources)
            devices = None if kind is None else resources[kind].devices
            faults = [] if kind is None or devices is None else list(need_faults(name, amount, devices, kind))
            capacity = resources[name].capacity if name in resources else None
            if capacity is not None and amount > capacity:
                faults.append(("", f"needs {amount:g} of {name!r}", ""))
            if faults:
                message = f"{change.label}: step {one_line(step_id, 40)} {faults[0][1]}, and would never run"
                raise SimulationError(message, "leave enough for each step")


def set_rate(typed: str, resources: Mapping[str, Resource]) -> Change:
    """``llm=120``: so many attempts a minute; ``llm=none``: as many as one likes.

    Raises:
        SimulationError: it does not read so, or there is no such resource.

    """
    name, amount = _pair(typed, "--rate", "RESOURCE=PER_MINUTE")
    _known(name, resources, "resource", "--rate")
    rate = None
    if amount != _NO_LIMIT:
        rate = _number(amount, "--rate", typed, "write how many attempts may start in a minute, or `none`")
        if math.isinf(rate):
            raise SimulationError(f"--rate {typed!r}: {amount} is no rate", "write `none` for no limit")
    before = resources[name].rate_per_minute
    return Change(
        f"{one_line(name, 40)}.rate_per_minute {_said(before)} → {_said(rate)}",
        limits={name: {"rate_per_minute": rate}},
    )


def worker_counts(typed: Iterable[str]) -> list[int]:
    """``2,4,8``, each once, in the order of size.

    Raises:
        SimulationError: one is no number of workers.

    """
    found = {_count(piece.strip(), "--workers", text) for text in typed for piece in text.split(",")}
    return sorted(found)


def policies(typed: Iterable[str]) -> list[NamedPolicy]:
    """Names of policies, separated by commas.

    Raises:
        SimulationError: there is no such policy.

    """
    found: dict[NamedPolicy, None] = {}
    for text in typed:
        for piece in text.split(","):
            name = next((one for one in POLICIES if one == piece.strip()), None)
            if name is None:
                fix = did_you_mean(piece.strip(), POLICIES, f"use one of: {', '.join(POLICIES)}")
                raise SimulationError(f"--policy {piece.strip()!r}: there is no such policy", fix)
            found[name] = None
    return list(found)


def _pair(typed: str, option: str, form: str) -> tuple[str, str]:
    name, equals, value = (part.strip() for part in typed.rpartition("="))
    if not equals or not name or not value:
        raise SimulationError(f"{option} {typed!r} does not read", f"write {option} {form}")
    return name, value


def _number(text: str, option: str, typed: str, fix: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value) or value <= 0:
        raise SimulationError(f"{option} {typed!r}: {text!r} is no number greater than 0", fix)
    return value


def _count(text: str, option: str, typed: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < len(str(_MOST * 10)) and 1 <= int(text) <= _MOST):
        raise SimulationError(
            f"{option} {typed!r}: {text!r} is no whole number from 1 to {_MOST:,}", "write a count, as in 8"
        )
    return int(text)


def _known(name: str, known: Mapping[str, object], what: str, option: str) -> None:
    if name in known:
        return
    if not known:
        raise SimulationError(f"{option}: nothing here is limited: there is no {what} {name!r}", f"leave {option} out")
    raise SimulationError(f"{option}: there is no {what} {name!r}", did_you_mean(name, known, _named(known)))


def _steps(name: str, steps: Mapping[str, str], option: str) -> list[str]:
    if name in steps:
        return [steps[name]]
    if any(sign in name for sign in _PATTERN_SIGNS):
        found = [step_id for known, step_id in steps.items() if fnmatchcase(known, name)]
        if found:
            return found
        raise SimulationError(f"{option}: no step fits the pattern {name!r}", _named(steps))
    raise SimulationError(f"{option}: there is no step {name!r}", did_you_mean(name, steps, _named(steps)))


def _named(names: Mapping[str, object]) -> str:
    shown = [one_line(name, 40) for name in list(names)[:_NAMES_SHOWN]]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return f"use one of: {', '.join(shown)}{more}"


def _said(limit: float | None) -> str:
    return "no limit" if limit is None else f"{limit:g}"
