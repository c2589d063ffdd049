"""A plan while it is made: steps with their dependencies, and what is said about them.

Rules of this module:
- Steps are ``step1``, ``step2``, … in the order in which the task names them.
- What comes from the task is text: it is escaped, so that braces in it are no template.
- Steps of one level that has several get one ``parallel_group``: no path leads from one of them to another (rule 2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from executor.model.findings import Finding
from executor.model.workflow import Step
from harness.scenario.seed.seed_templates import escape

# More steps than a sentence can mean.
STEPS_LIMIT: Final = 1_000


class TooManyStepsError(Exception):
    """The task asks for more steps than a sentence should."""


@dataclass(slots=True)
class DraftStep:
    """A step on its way. ``label`` is what its output is called in the descriptions of later steps."""

    description: str
    tool: str | None
    label: str
    prompt: str | None = None
    args: dict[str, Any] | None = None
    depends_on: tuple[int, ...] = ()


@dataclass(slots=True)
class Draft:
    """The steps so far. ``has_list``: the text names several things, or a number of them. ``unsure``: words of the
    task, and what the rules do not know of them.
    """

    steps: list[DraftStep] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    inputs: dict[str, Any] = field(default_factory=dict)
    tools: dict[str, dict[str, Any]] = field(default_factory=dict)
    has_list: bool = False
    unsure: list[tuple[str, str]] = field(default_factory=list)

    def add(
        self,
        description: str,
        *,
        tool: str | None,
        label: str,
        words: str = "",
        sources: Sequence[int] = (),
        args: Mapping[str, Any] | None = None,
        after: Iterable[int] = (),
    ) -> int:
        """Add a step. ``words`` is what is asked (plain text), the outputs of ``sources`` follow it; ``after``: steps
        that come before it for no other reason.

        Raises:
            TooManyStepsError: there are too many already.

        """
        if len(self.steps) >= STEPS_LIMIT:
            raise TooManyStepsError
        prompt = None if args is not None else prompt_of(words, sources)
        parents = tuple(sorted({*sources, *after}))
        given = dict(args) if args is not None else None
        self.steps.append(DraftStep(description, tool, label, prompt, given, parents))
        return len(self.steps) - 1

    def remark(self, steps: Iterable[int], text: str) -> None:
        """Add a sentence to what some steps are asked."""
        for index in steps:
            step = self.steps[index]
            if step.prompt is not None:
                step.prompt = f"{escape(text)}\n{step.prompt}"

    def finished(self) -> tuple[Step, ...]:
        """The steps as a workflow has them."""
        groups = groups_of(self._levels())
        return tuple(
            Step(
                step_id=step_id(index),
                description=step.description,
                tool=step.tool,
                prompt=step.prompt,
                args=step.args,
                parallel_group=groups.get(index),
                depends_on=tuple(step_id(parent) for parent in step.depends_on),
            )
            for index, step in enumerate(self.steps)
        )

    def _levels(self) -> list[int]:
        levels: list[int] = []
        for step in self.steps:
            levels.append(1 + max((levels[parent] for parent in step.depends_on), default=-1))
        return levels


def groups_of(levels: Sequence[int]) -> dict[int, int]:
    """The group of each step whose level has several; counted from 1."""
    members: dict[int, list[int]] = {}
    for index, level in enumerate(levels):
        members.setdefault(level, []).append(index)
    wide = [members[level] for level in sorted(members) if len(members[level]) > 1]
    return {index: number for number, group in enumerate(wide, start=1) for index in group}


def step_id(index: int) -> str:
    """The id of the step at ``index``."""
    return f"step{index + 1}"


def output_of(index: int) -> str:
    """The template of a step's output."""
    return "{{ steps." + step_id(index) + ".output }}"


def prompt_of(words: str, sources: Sequence[int]) -> str:
    """What is asked, and below it the outputs that it is about."""
    if not sources:
        return escape(words)
    between = " " if len(sources) == 1 else "\n\n"
    return f"{escape(words.rstrip(' .:'))}:{between}" + "\n\n".join(output_of(index) for index in sources)
