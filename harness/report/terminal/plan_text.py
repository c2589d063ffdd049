"""A plan as text: its steps in the seed's words, and what can be said before anything runs. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from executor.dependencies import Graph
from executor.model.findings import Finding
from executor.model.workflow import Step, Workflow
from harness.plain_text import counted, duration_text, one_line
from harness.report.terminal.console import Line, finding_lines
from harness.scenario.forecast import Forecast

_NAME_LIMIT: Final = 40
_LEVELS_SHOWN: Final = 20
_NAMES_SHOWN: Final = 8
# Of a plan with more steps than that, the first are shown.
PLAN_STEPS_SHOWN: Final = 30
_INPUT: Final = re.compile(r"\{\{\s*inputs\.([A-Za-z_]\w*)\s*\}\}")


def plan_lines(workflow: Workflow, *, width: int = 120, steps_shown: int = PLAN_STEPS_SHOWN) -> Iterator[Line]:
    """The numbered steps; below each what it is asked to do, where it is asked anything. Known inputs are filled in."""
    steps = workflow.steps
    yield Line(f"Workflow Plan ({counted(len(steps), 'step')}):", "bold")
    for number, step in enumerate(steps[:steps_shown], start=1):
        yield Line(f"  {number}. {description_of(step, width - 8)}")
        task = _task_of(step)
        if task:
            yield Line(f"     Node task: {one_line(_filled_in(task, workflow.inputs), width - 16)}", "dim")
    if len(steps) > steps_shown:
        yield Line(f"  … and {len(steps) - steps_shown} more (all of them: makespan plan … --json FILE)")


def _filled_in(text: str, inputs: Mapping[str, Any]) -> str:
    """The text with each plain ``{{ inputs.name }}`` whose value is known, text or a number, replaced by it."""

    def value(found: re.Match[str]) -> str:
        known = inputs.get(found[1])
        return str(known) if isinstance(known, str | int | float) and not isinstance(known, bool) else found[0]

    return _INPUT.sub(value, text)


def description_of(step: Step, limit: int) -> str:
    """What a step is called in front of people."""
    return one_line(step.description or step.step_id, limit)


def _task_of(step: Step) -> str:
    if step.prompt:
        return step.prompt
    args = step.args or {}
    return next((text for name in ("task", "prompt", "argv") if isinstance(text := args.get(name), str)), "")


def outlook_lines(graph: Graph, outlook: Forecast) -> Iterator[Line]:
    """Levels, critical path, lower bound, and how many workers would do."""
    yield from _level_lines(graph)
    yield Line("Critical path (expected):", "bold")
    yield Line(f"  {_chain(graph, outlook)} = {_amount(outlook, outlook.critical_path_amount)}")
    yield Line("Lower bound (expected):", "bold")
    yield Line(
        f"  {_amount(outlook, outlook.lower_bound_amount)} with {counted(outlook.workers, 'worker')}, "
        f"set by the {outlook.largest_term}; one step after another: {_amount(outlook, outlook.work_amount)}"
    )
    yield Line("Workers:", "bold")
    yield Line(f"  {outlook.sufficient_workers} would suffice: more of them start nothing earlier")
    if not outlook.in_seconds:
        yield Line("  (no step states expected_seconds: each counts as one)", "dim")
    elif outlook.steps_unstated:
        yield Line(f"  ({counted(outlook.steps_unstated, 'step')} without expected_seconds counted as 0 s)", "dim")
    yield from _item_lines(outlook)


def _item_lines(outlook: Forecast) -> Iterator[Line]:
    """How many items mapped steps have, or are taken to have."""
    if not outlook.items:
        return
    yield Line("Mapped steps:", "bold")
    for step_id, count in list(outlook.items.items())[:_NAMES_SHOWN]:
        assumed = (
            " assumed (expected_items): its list is only known in a run" if step_id in outlook.assumed_items else ""
        )
        yield Line(f"  {one_line(step_id, _NAME_LIMIT)}: {counted(count, 'item')}{assumed}")
    if len(outlook.items) > _NAMES_SHOWN:
        yield Line(f"  … and {len(outlook.items) - _NAMES_SHOWN} more")


def _level_lines(graph: Graph) -> Iterator[Line]:
    levels: list[list[Step]] = [[] for _ in range(max(graph.levels, default=-1) + 1)]
    for step, level in zip(graph.steps, graph.levels, strict=True):
        levels[level].append(step)
    yield Line(f"Levels ({len(levels)}):", "bold")
    for number, members in enumerate(levels[:_LEVELS_SHOWN], start=1):
        yield Line(f"  {number}. {_names([step.step_id for step in members], ', ')}")
    if len(levels) > _LEVELS_SHOWN:
        yield Line(f"  … and {len(levels) - _LEVELS_SHOWN} more")


def _chain(graph: Graph, outlook: Forecast) -> str:
    path = outlook.critical_path
    if not outlook.in_seconds:
        return _names([graph.steps[index].step_id for index in path], " → ")
    parts = [(graph.steps[index].step_id, duration_text(outlook.durations[index])) for index in path]
    return _names([f"{step_id} ({seconds})" for step_id, seconds in parts], " → ")


def _names(names: Sequence[str], between: str) -> str:
    shown = [one_line(name, _NAME_LIMIT) for name in names[:_NAMES_SHOWN]]
    more = f"{between}… {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return between.join(shown) + more


def _amount(outlook: Forecast, amount: float) -> str:
    return duration_text(amount) if outlook.in_seconds else f"{amount:g} step{'' if amount == 1 else 's'}"


def remark_lines(findings: Iterable[Finding]) -> list[Line]:
    """The findings of a plan that may run."""
    remarks = finding_lines(findings)
    return [Line("Findings:", "bold"), *remarks] if remarks else [Line("Findings: none", "bold")]
