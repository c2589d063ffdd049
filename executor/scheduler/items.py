"""What the scheduler asks about the lists of mapped steps: how many items there are, and nothing of what they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from executor.model.workflow import Step
from executor.record.timeline import Attempt


class Items(Protocol):
    """What the scheduler asks of the engine."""

    def count(self, index: int) -> int:
        """How many items the step has. It may raise: the step has failed then, without an attempt."""

    def began(self, attempt: Attempt, items: Sequence[int]) -> None:
        """The items of a mapped step came in: the indices of their steps, in order."""

    def ended(self, attempt: Attempt, items: Sequence[int]) -> None:
        """They are final and so is the mapped step (``attempt.outcome``); what depends on it is not decided yet."""


class NoItems:
    """The items where no run evaluates them: only a list that the file itself holds is known."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = steps

    def count(self, index: int) -> int:
        """The length of the list in the file, or how many items the step is expected to have."""
        step = self._steps[index]
        return len(step.for_each) if isinstance(step.for_each, list) else step.expected_items or 0

    def began(self, attempt: Attempt, items: Sequence[int]) -> None:
        """No run records it."""

    def ended(self, attempt: Attempt, items: Sequence[int]) -> None:
        """No run records it."""
