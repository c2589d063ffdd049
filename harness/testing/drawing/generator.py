"""Whole random runs: a workflow and everything around it that decides what happens.

Rules of this module:
- Every workflow drawn is valid. Choices that would make it invalid are not taken back but never offered.
- Of the features asked for, each run uses its own random part ("Swarm testing", Groce et al. 2012): rare combinations
  come up, and a counterexample has few features.
- Durations are multiples of 1/512 s, exact in seconds and in nanoseconds, so sums tie where they should.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from executor.model.workflow import Devices, Resource, Retry, Step, Workflow, without_defaults
from executor.record.timeline import AttemptOutcome
from harness.testing.drawing.behaviour import AttemptPlan, Behaviour, Call, Child, StepPlan
from harness.testing.drawing.shapes import SHAPES, RandomSource, Shape, Source
from harness.testing.oracle.description import references
from harness.testing.oracle.plain_graph import EXACT_UNIT_NANOSECONDS, NANOSECONDS, PlainGraph, PlainStep

UNITS_PER_SECOND = 512
POLICIES = ("dataflow", "levels", "barrier", "serial")
LIMITS = frozenset({"resources", "rates", "tokens"})
DEFAULT_FEATURES = LIMITS | {
    "failures", "retries", "timeouts", "states", "groups", "priorities", "conditions", "stops", "nested",
    "cancellations", "policies", "references", "jitter",
}  # fmt: skip
FEATURES = DEFAULT_FEATURES | {"deaths", "devices", "limits", "mapped"}
"""What can be asked for. ``limits`` represents resources, rates and tokens. No default are ``deaths`` (of workers),
``devices`` (which steps need whole, by share or by memory) and ``mapped`` (steps with ``for_each``). Beside these
``deep``: with ``nested``, more calls, and more levels of them.
"""

TOOL = "noop"
STATES = ("x", "y", "z")
NEST_DEPTH, DEEP_NEST_DEPTH = 2, 6


class DrawnRun(NamedTuple):
    """A workflow, and what happens when it runs."""

    workflow: Workflow
    behaviour: Behaviour


@dataclass(frozen=True, slots=True)
class Theme:
    """What all steps of one run have in common."""

    features: frozenset[str]
    durations: str
    states: tuple[str, ...]
    resources: Mapping[str, Resource]
    tool: str


def random_workflow(
    seed: int, size: int = 20, features: Collection[str] = DEFAULT_FEATURES, *, tool: str = TOOL
) -> DrawnRun:
    """A random run of up to ``size`` steps, the same for the same arguments. Needs no Hypothesis."""
    return draw_run(RandomSource(seed), max_steps=size, features=features, tool=tool)


def features_of(names: Collection[str]) -> frozenset[str]:
    """The features by these names. Raises ValueError for an unknown one."""
    known = FEATURES | {"deep"}
    unknown = sorted(set(names) - known)
    if unknown:
        raise ValueError(f"no such feature: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    return frozenset(names) - {"limits"} | (LIMITS if "limits" in names else frozenset())


def draw_run(
    source: Source,
    *,
    min_steps: int = 1,
    max_steps: int = 20,
    features: Collection[str] = DEFAULT_FEATURES,
    shapes: Collection[str] = tuple(SHAPES),
    tool: str = TOOL,
) -> DrawnRun:
    """A run, drawn from a source.

    Raises:
        ValueError: a feature or a shape is unknown.

    """
    offered = features_of(features)
    size = source.integer(min_steps, max_steps)
    name = source.choice([shape for shape in SHAPES if shape in shapes])
    active = frozenset(feature for feature in sorted(offered) if source.chance(60))
    theme = Theme(
        active,
        source.choice(["equal", "small", "zero", "heavy", "mixed"]),
        STATES[: source.integer(1, len(STATES))] if "states" in active else (),
        _resources(source, active) | (_devices(source) if "devices" in active else {}),
        tool,
    )
    shape = SHAPES[name](source, size)
    steps: list[Step] = []
    plans: dict[str, StepPlan] = {}
    inputs: dict[str, Any] = {}
    groups: dict[str, int | str] = {}
    names: dict[int, str] = {}
    for place in range(size):
        # Any place may stay empty: a shrinker drops a step from the middle by one draw.
        forced = len(steps) + size - place <= min_steps
        drawn = source.local(_top_level(theme, shape, place, names, forced))
        if drawn is None:
            continue
        step, plan, group = drawn
        names[place] = step.step_id
        steps.append(step)
        plans[step.step_id] = plan
        if plan.when is not None:
            inputs[f"go_{step.step_id}"] = plan.when
        if group is not None:
            groups[step.step_id] = group
    behaviour = Behaviour(
        steps=plans,
        resources=theme.resources,
        cancellations=_cancellations(source, theme, len(steps)),
        workers=source.choice([1, 2, 3, 4, 8]),
        policy=source.choice([*POLICIES, "barrier"]) if "policies" in active else "dataflow",
        seed=source.integer(0, 3) if "jitter" in active else 0,
    )
    claimed = independent_groups(_unlimited(steps), groups) if groups else {}
    for step in steps:
        if step.step_id in claimed:
            _join(step, claimed[step.step_id])
    return DrawnRun(Workflow(workflow_id="drawn", inputs=inputs, steps=tuple(steps)), behaviour)


def _unlimited(steps: Sequence[Step]) -> PlainGraph:
    """The graph of these steps, with nothing but what decides about paths and conflicts."""
    return PlainGraph(
        tuple(
            PlainStep(
                step.step_id, (*step.depends_on, *(references(step) if step.prompt else ())), step.reads, step.writes
            )
            for step in steps
        )
    )


def independent_groups(graph: PlainGraph, wanted: Mapping[str, int | str]) -> dict[str, int | str]:
    """The part of these claims that is true: a step joins its group if no path over data and order edges and no state
    lies between it and the members so far.
    """
    bits = {step.step_id: 1 << place for place, step in enumerate(graph.steps)}
    # The steps before each, one bit each.
    before: dict[str, int] = {}
    for step in graph.topological:
        found = 0
        for other in graph.parents[step.step_id]:
            found |= bits[other] | before[other]
        before[step.step_id] = found
    groups: dict[tuple[type, int | str], _Group] = {}
    claimed: dict[str, int | str] = {}
    for step_id, name in wanted.items():
        group = groups.setdefault((type(name), name), _Group())
        mine = graph.by_id[step_id]
        if before[step_id] & group.members or bits[step_id] & group.before:
            continue
        if group.written.isdisjoint(mine.reads) and group.used.isdisjoint(mine.writes):
            group.members |= bits[step_id]
            group.before |= before[step_id]
            group.written.update(mine.writes)
            group.used.update(mine.reads, mine.writes)
            claimed[step_id] = name
    return claimed


@dataclass(slots=True)
class _Group:
    """The steps that have joined a group, those before any of them (a bit each), and the states that they have."""

    members: int = 0
    before: int = 0
    written: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)


def _resources(source: Source, active: frozenset[str]) -> dict[str, Resource]:
    """One or two resources, limited in the ways that are active."""
    if not active & LIMITS:
        return {}
    found = {}
    for name in ("a", "b")[: source.integer(1, 2)]:
        capacity = source.integer(1, 4) if "resources" in active and not source.chance(20) else None
        rate = source.choice([6000.0, 1500.0, 960.0]) if "rates" in active and source.chance(60) else None
        tokens = source.choice([60000.0, 7680.0]) if "tokens" in active and source.chance(60) else None
        if capacity is None and rate is None and tokens is None:
            capacity = 1
        found[name] = Resource(
            capacity=capacity,
            rate_per_minute=rate,
            burst=source.integer(1, 3) if rate is not None else 1,
            tokens_per_minute=tokens,
            token_burst=source.choice([20, 50, None]) if tokens is not None else None,
        )
    return found


DEVICE_KIND = "gpu"


def _devices(source: Source) -> dict[str, Resource]:
    """One to three devices, most of them with memory, of which they may have different amounts."""
    count = source.integer(1, 3)
    memory: tuple[float, ...] | float | None = None
    if source.chance(75):
        memory = tuple(float(source.choice([8, 12, 24])) for _ in range(count)) if source.chance(30) else 24.0
    ids = tuple(f"fake-{place}" for place in range(count))
    return {DEVICE_KIND: Resource(devices=Devices(ids=ids, memory_gb=memory))}


def _device_needs(source: Source, devices: Devices) -> dict[str, float]:
    """What a step needs of devices: whole ones, a share, memory, or both of one; often nothing."""
    memories = [memory for memory in devices.memories_gb if memory is not None]
    wanted = source.choice(["", "whole", "share", "memory", "both"])
    needs: dict[str, float] = {}
    if wanted == "whole":
        count = needs[DEVICE_KIND] = source.integer(1, len(devices.names))
        if memories and source.chance(50):
            most = int(sorted(memories, reverse=True)[count - 1])
            needs[f"{DEVICE_KIND}_memory_gb"] = source.integer(1, most)
    if wanted in ("share", "both") or (wanted == "memory" and not memories):
        needs[DEVICE_KIND] = source.choice([0.5, 0.25, 0.3, 0.75])
    if wanted in ("memory", "both") and memories:
        most = int(max(memories))
        needs[f"{DEVICE_KIND}_memory_gb"] = source.choice([4, 6.5, most // 2, source.integer(1, most)])
    return needs


def _units(source: Source, kind: str) -> int:
    """A duration in units of 1/512 s."""
    if kind == "mixed":
        kind = source.choice(["equal", "small", "zero", "heavy"])
    if kind == "zero":
        return 0 if source.chance(70) else source.integer(0, 2)
    if kind == "small":
        return source.integer(0, 8)
    if kind == "heavy":
        return source.integer(1, 4) << source.integer(0, 8)
    return 8


def _seconds(units: int) -> float:
    return units / UNITS_PER_SECOND


def _names(source: Source, names: tuple[str, ...], percent: int) -> tuple[str, ...]:
    return tuple([name for name in names if source.chance(percent)])


def _common(
    source: Source,
    theme: Theme,
    units: int,
    states: tuple[tuple[str, ...], tuple[str, ...]],
    *,
    may_have_devices: bool = True,
) -> dict[str, Any]:
    """The fields that top-level and called steps share. ``states`` are those it may read and those it may write.
    ``may_have_devices``: no step that calls it has any.
    """
    active = theme.features
    fields: dict[str, Any] = {"tool": theme.tool, "expected_seconds": _seconds(units)}
    if source.chance(15):
        fields["expected_seconds"] = _seconds(source.integer(0, 16))
    if "states" in active:
        fields["writes"] = _names(source, states[1], 18)
        fields["reads"] = tuple(name for name in _names(source, states[0], 22) if name not in fields["writes"])
    if theme.resources:
        limits = {name: limit for name, limit in theme.resources.items() if limit.devices is None}
        needs: dict[str, float] = {
            name: source.integer(1, limit.capacity or 2) for name, limit in limits.items() if source.chance(45)
        }
        devices = theme.resources[DEVICE_KIND].devices if may_have_devices and DEVICE_KIND in theme.resources else None
        if devices is not None:
            needs |= _device_needs(source, devices)
        fields["needs"] = needs or None
        if "tokens" in active and fields["needs"]:
            bursts = [limits[name].token_burst for name in fields["needs"] if name in limits]
            fields["expected_tokens"] = source.integer(0, min([50, *(burst for burst in bursts if burst is not None)]))
    if "priorities" in active and source.chance(30):
        fields["priority"] = source.integer(-2, 2)
    if "retries" in active and source.chance(40):
        fields["retry"] = _retry(source, active)
    if "timeouts" in active and source.chance(25):
        # Never the very duration: which of the two comes first would be open.
        limit = max(1, units + source.integer(-6, 6))
        fields["timeout"] = _seconds(limit + (limit == units))
    return fields


def _has_devices(step: Step) -> bool:
    return any(name.startswith(DEVICE_KIND) for name in step.needs or ())


def _made_step(step_id: str, fields: Mapping[str, Any]) -> Step:
    """A step of drawn fields, which are valid as they are: they are not validated again, and not copied, which would
    take a third of the time that a step is drawn in.
    """
    return Step.of_checked(without_defaults({"step_id": step_id, **fields}), {"step_id", *fields})


def _join(step: Step, group: int | str) -> None:
    """A step that was just made, and that nobody else has yet, joins a group."""
    step.__dict__["parallel_group"] = group
    step.__pydantic_fields_set__.add("parallel_group")


# There are a few hundred retries; each is made once.
_made_retry = cache(Retry)


def _retry(source: Source, active: frozenset[str]) -> Retry:
    return _made_retry(
        max_attempts=source.integer(2, 4),
        backoff_seconds=_seconds(source.integer(0, 12)),
        multiplier=source.choice([1.0, 2.0]),
        max_backoff_seconds=source.choice([60.0, _seconds(16)]),
        jitter="full" if "jitter" in active and source.chance(30) else "none",
    )


def _plan(
    source: Source, theme: Theme, fields: Mapping[str, Any], units: int, when: bool | None, calls: _Calls
) -> StepPlan:
    """The attempts of a step: each fails or not, lasts its time, uses tokens, makes its calls."""
    retry: Retry | None = fields.get("retry")
    most = retry.max_attempts if retry is not None else 1
    estimate = fields.get("expected_tokens")
    attempts: list[AttemptPlan] = []
    for number in range(1, most + 1):
        may_fail = "failures" in theme.features or number < most
        failed = may_fail and source.chance(45 if most > 1 else 18)
        died = failed and "deaths" in theme.features and source.chance(30)
        lasts = units if number == 1 or not source.chance(30) else _units(source, theme.durations)
        used = None
        if estimate is not None and not source.chance(25):
            used = source.choice([estimate, source.integer(0, estimate + 20)])
        outcome: AttemptOutcome = "worker_died" if died else "failed" if failed else "succeeded"
        attempts.append(AttemptPlan(lasts * EXACT_UNIT_NANOSECONDS, outcome, used, calls(source, lasts)))
        if not failed and not source.chance(20):
            break
    return StepPlan(tuple(attempts), when)


_Calls = Callable[[Source, int], tuple[Call, ...]]


def _call_maker(
    theme: Theme, reads: tuple[str, ...], writes: tuple[str, ...], depth: int, *, may_have_devices: bool
) -> _Calls:
    """Draws the calls of an attempt of a step that holds these states. ``may_have_devices``: neither it nor a step
    above it has any, so its calls may.
    """

    def calls(source: Source, lasts: int) -> tuple[Call, ...]:
        # Where it is deep, about as many calls at each level as at the one above.
        most, percent = (DEEP_NEST_DEPTH, 30) if "deep" in theme.features else (NEST_DEPTH, 12 if depth else 18)
        if "nested" not in theme.features or depth >= most or not source.chance(percent):
            return ()
        offsets = sorted(source.integer(0, lasts) for _ in range(source.integer(1, 2)))
        return tuple(
            Call(
                offset * EXACT_UNIT_NANOSECONDS,
                tuple(
                    source.local(_child(theme, place, ((*reads, *writes), writes), depth, may_have_devices))
                    for place in range(source.integer(1, 3))
                ),
            )
            for offset in offsets
        )

    return calls


def _child(
    theme: Theme,
    place: int,
    states: tuple[tuple[str, ...], tuple[str, ...]],
    depth: int,
    may_have_devices: bool,
) -> Callable[[Source], Child]:
    """Draws the called step at this place of its call; it may depend on those before it."""

    def child(source: Source) -> Child:
        units = _units(source, theme.durations)
        fields = _common(source, theme, units, states, may_have_devices=may_have_devices)
        if place and source.chance(35):
            fields["depends_on"] = (str(place - source.integer(0, place - 1)),)
        step = _made_step(str(place + 1), fields)
        further = may_have_devices and not _has_devices(step)
        calls = _call_maker(theme, step.reads, step.writes, depth + 1, may_have_devices=further)
        plan = _plan(source, theme, fields, units, None, calls)
        return Child(step, plan)

    return child


def _top_level(
    theme: Theme, shape: Shape, place: int, names: Mapping[int, str], forced: bool
) -> Callable[[Source], tuple[Step, StepPlan, int | str | None] | None]:
    """Draws the step at this place of the shape, its plan, and the group that it claims; or nothing. ``names`` are the
    steps at the places before.
    """

    def top_level(source: Source) -> tuple[Step, StepPlan, int | str | None] | None:
        if not forced and not source.chance(94):
            return None
        active = theme.features
        step_id = f"s{len(names)}"
        depends_on = tuple(names[other] for other in dict.fromkeys(shape.parents(source, place)) if other in names)
        units = _units(source, theme.durations)
        fields = _common(source, theme, units, (theme.states, theme.states))
        if depends_on and "references" in active and source.chance(30):
            fields["prompt"] = "".join(f"{{{{ steps.{other}.output }}}}" for other in depends_on)
        else:
            fields["depends_on"] = depends_on
        when: bool | None = None
        if "conditions" in active and source.chance(25):
            when = not source.chance(60)
            fields["when"] = f"inputs.go_{step_id}"
        if "stops" in active and source.chance(35):
            fields["on_failure"] = "stop"
        if "deaths" in active and source.chance(20):
            fields["idempotent"] = False
        labels: list[int | str] = [1, "1", 2, "two"]
        group = source.choice(labels) if "groups" in active and source.chance(50) else None
        if "mapped" in active and source.chance(30):
            fields["for_each"] = list(range(source.integer(0, 4)))
            if source.chance(50):
                fields["max_parallel"] = source.integer(1, 3)
        step = _made_step(step_id, fields)
        if isinstance(step.for_each, list):
            calls = _call_maker(theme, step.reads, step.writes, 1, may_have_devices=not _has_devices(step))
            items = tuple(_plan(source, theme, fields, units, None, calls) for _ in step.for_each)
            return step, StepPlan((), when, items), group
        calls = _call_maker(theme, step.reads, step.writes, 0, may_have_devices=not _has_devices(step))
        plan = _plan(source, theme, fields, units, when, calls)
        return step, plan, group

    return top_level


def _cancellations(source: Source, theme: Theme, size: int) -> tuple[tuple[int, tuple[str, ...] | None], ...]:
    """None mostly; else one or two, of some steps or of the whole run."""
    if "cancellations" not in theme.features or not source.chance(35):
        return ()
    found: list[tuple[int, tuple[str, ...] | None]] = []
    for _ in range(source.integer(1, 2)):
        time = source.integer(0, 8 * size + 8) * EXACT_UNIT_NANOSECONDS
        cancelled: tuple[str, ...] | None = None
        if not source.chance(25):
            ids = [f"s{source.integer(0, size - 1)}" for _ in range(source.integer(1, 2))]
            cancelled = tuple(dict.fromkeys(ids))
        found.append((time, cancelled))
    return tuple(sorted(found, key=lambda one: one[0]))


assert EXACT_UNIT_NANOSECONDS * UNITS_PER_SECOND == NANOSECONDS
