"""The items of mapped steps: lists are read, each item's call knows its own, outputs come together in order.

Used under the engine's lock, by the scheduler (:class:`executor.scheduler.items.Items`).

Rules of this module:
- A list is read once, when the mapped step would start; what it holds is never rendered again.
- No message contains an item: it may be a secret.
- Where no tool runs, a list that is made of outputs is taken to have ``expected_items`` items; that is said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from executor.engine.rendering import Renderer
from executor.engine.run_record import RunRecord
from executor.model.json_values import describe
from executor.model.workflow import Step
from executor.record.outcomes import StepError
from executor.record.timeline import Attempt
from executor.templates.render_budget import STUB, Stub, UnknownValueError

# More would be a mistake: each item is a step of its own, with a record.
ITEMS_LIMIT = 100_000
NAMED_FAILURES = 3
# How many there are taken to be before a run, where the step does not say what it expects.
DEFAULT_ITEMS = 1


class ItemsError(Exception):
    """The list of a mapped step cannot be had."""

    retryable = False


def known_items(step: Step, inputs: Mapping[str, Any], outputs: Mapping[str, Any] | None = None) -> int | None:
    """How many items a mapped step has, as far as that is known before the run: a list in the file, or one made of
    inputs and of those ``outputs`` (by step id) that are known before. None: only a run can know.
    """
    if isinstance(step.for_each, list):
        return len(step.for_each)
    # Jinja2 is imported by the first template and not before.
    from executor.templates.template import TemplateError, compile_expression, evaluate_expression  # noqa: PLC0415  # see above

    expected = outputs or {}
    if step.for_each is None or not compile_expression(step.for_each).references.issubset(expected):
        return None
    try:
        value = evaluate_expression(step.for_each, inputs, expected)
    except (TemplateError, UnknownValueError):
        return None
    return len(value) if isinstance(value, list) else None


class MappedItems:
    """The mapped steps of one run. What the templates of an item see goes to the renderer's ``variables``."""

    def __init__(self, record: RunRecord, renderer: Renderer, assume: Callable[[Step], int]) -> None:
        """``assume(step)``: how many items to assume where the list depends on values that only a run knows."""
        self._record = record
        self._renderer = renderer
        self._assume = assume
        self._lists: dict[int, list[Any]] = {}

    def count(self, index: int) -> int:
        """Read the list of a step.

        Raises:
            Exception: it cannot be had; the step's error says why.
        """
        step = self._record.scheduler.steps[index]
        try:
            items = self._read(step)
        except Exception as error:
            self._record.note_failed_rule(step.step_id, "its `for_each` gives no list", error)
            raise
        self._lists[index] = items
        return len(items)

    def _read(self, step: Step) -> list[Any]:
        try:
            value = self._renderer.items(step)
        except UnknownValueError:
            value = STUB
        if isinstance(value, Stub):
            return [STUB] * self._assume(step)
        if not isinstance(value, list):
            raise ItemsError(f"it gives {describe(value)}{_advice(value)}")
        if len(value) > ITEMS_LIMIT:
            raise ItemsError(f"it gives {len(value):,} items, more than {ITEMS_LIMIT:,}; put several into one item")
        return value

    def began(self, attempt: Attempt, items: Sequence[int]) -> None:
        """Each item's step learns which item it is."""
        values = self._lists.pop(attempt.index)
        for place, (index, value) in enumerate(zip(items, values, strict=True)):
            self._renderer.variables[index] = {"item": value, "index": place}
        self._record.mapped_began(attempt)

    def ended(self, attempt: Attempt, items: Sequence[int]) -> None:
        """The outputs in the order of the items, or what failed."""
        record, scheduler = self._record, self._record.scheduler
        if attempt.outcome == "succeeded":
            record.outputs[attempt.step_id] = [record.outputs.get(scheduler.step_ids[index]) for index in items]
        elif attempt.outcome == "failed":
            failed = [index for index in items if scheduler.status(index) == "failed"]
            message = f"{len(failed)} of {len(items)} items failed: "
            message += "; ".join(self._failure_text(index) for index in failed[:NAMED_FAILURES])
            if len(failed) > NAMED_FAILURES:
                message += f"; and {len(failed) - NAMED_FAILURES:,} more"
            record.errors[attempt.step_id] = StepError(attempt.step_id, 1, "failed", "ItemsFailed", message)
        for index in items:
            self._renderer.variables.pop(index, None)
        record.mapped_ended(attempt)

    def _failure_text(self, index: int) -> str:
        step_id = self._record.scheduler.step_ids[index]
        error = self._record.errors.get(step_id)
        why = "no error was recorded" if error is None else f"{error.error_type}: {error.message}"
        return f"index {self._renderer.variables[index]['index']} ({step_id!r}): {why}"


def _advice(value: Any) -> str:
    if isinstance(value, str):
        return ", where a list belongs; make one of it, such as steps.a.output.splitlines()"
    if isinstance(value, dict):
        return ", where a list belongs; name the field that holds one, or write | items | list behind it"
    return ", where a list belongs"


__all__ = ["DEFAULT_ITEMS", "ITEMS_LIMIT", "ItemsError", "MappedItems", "known_items"]
