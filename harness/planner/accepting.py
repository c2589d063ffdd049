"""Which steps of a model's plan may run: each is checked by the three rules as it comes.

Rules of this module:
- A step is accepted once all that it depends on is; one that came before its dependencies waits for them.
- Only tools that the configuration declares may be used: no plan of a model names a program or a function.
- What is wrong is a finding, in the words that the model is asked to repair it with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from executor.dependencies import plan
from executor.model.findings import Finding
from executor.model.workflow import Resource, Step, ToolDeclaration, Workflow, parse_workflow
from executor.tools.toolbox import declarations_for

# A plan with more steps is no answer to a sentence.
PLAN_STEPS_LIMIT: Final = 200
STEP_FIELDS: Final = ("step_id", "description", "tool", "prompt", "args", "depends_on")


class TooLongPlanError(Exception):
    """The plan goes on for more than :data:`PLAN_STEPS_LIMIT` steps."""

    def __init__(self) -> None:
        super().__init__(f"the plan has more than {PLAN_STEPS_LIMIT} steps")


class Acceptor:
    """Collects the steps of one plan. ``accepted`` have all their dependencies in ``depends_on``."""

    def __init__(
        self,
        tools: Mapping[str, ToolDeclaration],
        resources: Mapping[str, Resource],
        inputs: Mapping[str, Any],
        default_tool: str | None,
    ) -> None:
        self.accepted: list[Step] = []
        self.findings: list[Finding] = []
        self._offered = dict(tools)
        self._declarations = declarations_for((), tools)
        self._resources = resources
        self._inputs = dict(inputs)
        self._default_tool = default_tool
        self._waiting: list[Step] = []
        self._seen: set[str] = set()
        self._count = 0

    def take(self, raw: Any) -> list[Step]:
        """The next step as it was written. Returns the steps that are accepted with it.

        Raises:
            TooLongPlanError: it is one too many.

        """
        self._count += 1
        if self._count > PLAN_STEPS_LIMIT:
            raise TooLongPlanError
        step = self._parsed(raw)
        if step is None:
            return []
        self._waiting.append(step)
        before = len(self.accepted)
        while any(self._try(waiting) for waiting in list(self._waiting)):
            pass
        return self.accepted[before:]

    def finish(self) -> list[Finding]:
        """What is wrong with the plan as a whole: with the steps that were not accepted."""
        if self._waiting:
            steps = (*self.accepted, *self._waiting)
            found = plan(Workflow(steps=steps, inputs=self._inputs), tools=None, resources=None, hints=False)
            self.findings += [finding for finding in found.findings if finding.severity == "error"]
        return self.findings

    def begin_again(self, *, keep: bool) -> None:
        """A repaired plan comes; ``keep``: what was accepted stays."""
        self.findings = []
        self._waiting = []
        self._count = len(self.accepted) if keep else 0
        if not keep:
            self.accepted = []
        self._seen = {step.step_id for step in self.accepted}

    def _parsed(self, raw: Any) -> Step | None:
        place = self._count - 1
        if not isinstance(raw, dict):
            self.findings.append(_finding("wrong-type", f"steps[{place}] is no object", "write an object with step_id"))
            return None
        given = {name: raw[name] for name in STEP_FIELDS if raw.get(name) is not None}
        workflow, findings = parse_workflow({"steps": [given]})
        if workflow is None:
            for each in findings:
                field = str(each.path[2]) if len(each.path) > 2 else "steps"
                self.findings.append(_finding(each.code, f"step {place + 1}, {field}: {each.message}", each.fix))
            return None
        step = workflow.steps[0]
        if step.step_id in self._seen:
            message = f"there are two steps {step.step_id!r}"
            self.findings.append(_finding("duplicate-id", message, "give each its own step_id"))
            return None
        self._seen.add(step.step_id)
        tool = step.tool or self._default_tool
        if tool not in self._offered:
            fix = f"use one of: {', '.join(sorted(self._offered))}"
            self.findings.append(_finding("unknown-tool", f"step {step.step_id!r}: there is no tool {tool!r}", fix))
            return None
        return step.model_copy(update={"tool": tool})

    def _try(self, step: Step) -> bool:
        """Accept a waiting step if it may run. True if it waits no more."""
        around = [known for known in self.accepted if _mentions(step, known.step_id)]
        stubs = [Step(step_id=known.step_id, tool=known.tool, prompt="-") for known in around]
        found = plan(
            Workflow(steps=(*stubs, step), inputs=self._inputs),
            tools=self._declarations,
            resources=self._resources,
            hints=False,
        )
        errors = [finding for finding in found.findings if finding.severity == "error"]
        if any(finding.code == "unknown-dependency" for finding in errors):
            return False
        self._waiting.remove(step)
        if errors or found.graph is None:
            self.findings += errors
            return True
        parents = [found.graph.steps[parent].step_id for parent in found.graph.data_parents[-1]]
        self.accepted.append(found.graph.steps[-1].model_copy(update={"depends_on": tuple(parents)}))
        return True


def levels_of(steps: Sequence[Step]) -> list[int]:
    """The level of each step: 0 without dependencies. Dependencies come before."""
    levels: dict[str, int] = {}
    for step in steps:
        levels[step.step_id] = 1 + max((levels[parent] for parent in step.depends_on), default=-1)
    return list(levels.values())


def _mentions(step: Step, step_id: str) -> bool:
    """Whether a step could depend on another: only those are looked at."""
    if step_id in step.depends_on or (step.prompt is not None and step_id in step.prompt):
        return True
    return step.args is not None and step_id in json.dumps(dict(step.args), ensure_ascii=False, default=str)


def _finding(code: str, message: str, fix: str) -> Finding:
    return Finding("error", code, message, fix)
