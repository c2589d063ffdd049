"""Writing a file of recorded calls.

Rules of this module:
- Recording looks at a run when it is over: nothing is added to what is measured.
- What each step was asked is rendered once more: outputs do not change once they are there.
- Calls that code made are all written, with what it gave to tools that really run in a replay: the player of that code
  has to ask them again.
- What JSON cannot hold is written as its ``repr``. Arguments that JSON would change are left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from executor.engine.rendering import Renderer
from executor.model.workflow import Step
from executor.record.timeline import NANOSECONDS, Attempt
from executor.running import Run
from executor.templates.template import render_text, render_value
from executor.tools.registry import resolve_tool
from executor.tools.tool import RunContext
from harness.benchmark.matrix import Case, MatrixCell
from harness.benchmark.recorded_calls.call_plans import plans_of
from harness.benchmark.recorded_calls.recorded_call import (
    SCHEMA,
    Plan,
    RecordingError,
    call_key,
    called_key,
    is_recorded,
)


class CallRecorder:
    """Writes runs as they end. A write that fails is tried again with the next; :meth:`close` says what is missing."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._waiting: list[str] = []
        try:
            self._stream: TextIO = self.path.open("x", encoding="utf-8")
        except FileExistsError:
            raise RecordingError(f"there is a file {str(self.path)!r} already: give --record another name") from None
        except (OSError, ValueError) as error:
            raise RecordingError(f"cannot record to {str(self.path)!r}: {error}") from error
        self._write({"schema": SCHEMA})

    def add(self, cell: MatrixCell, repetition: int, run: Run, steps: Sequence[Step]) -> None:
        """Keep the calls of a run; ``repetition`` counts from 1, warm-up runs are 0. ``steps`` are all of the run's,
        those of calls and items too.
        """
        words = {
            "scenario": cell.case.scenario,
            "parameters": cell.case.loaded.parameters,
            "executor": cell.executor,
            "workers": cell.workers,
            "policy": cell.policy,
            "repetition": repetition,
            "calls": _RunRecord(cell.case, run, steps).calls(),
        }
        self._write(words)

    def close(self) -> None:
        """Write what is left.

        Raises:
            RecordingError: not everything could be written.

        """
        self._flush()
        failed = bool(self._waiting)
        self._stream.close()
        if failed:
            raise RecordingError(f"not all calls could be written to {str(self.path)!r}: {self._failure}")

    def _write(self, words: Mapping[str, Any]) -> None:
        self._waiting.append(json.dumps(words, ensure_ascii=True, default=repr) + "\n")
        self._flush()

    def _flush(self) -> None:
        try:
            while self._waiting:
                self._stream.write(self._waiting[0])
                self._stream.flush()
                del self._waiting[0]
        except OSError as error:
            self._failure = error


class _RunRecord:
    """One run, looked at."""

    def __init__(self, case: Case, run: Run, steps: Sequence[Step]) -> None:
        self._case = case
        self._run = run
        self._steps = steps
        self._inputs = case.loaded.workflow.inputs
        # A step that ran depends on a skipped one only where its `when` skipped it: there templates see null.
        skipped = {step_id: None for step_id, status in run.statuses.items() if status == "skipped"}
        self._outputs: dict[str, Any] = {**skipped, **run.outputs} if skipped else run.outputs
        self._renderer = Renderer({}, RunContext(inputs=self._inputs), self._outputs)
        self._parents: Sequence[int] = run.timeline.nested_in or [-1] * len(steps)
        self._mapped = {index for index, step in enumerate(steps) if step.for_each is not None}
        self._plans = plans_of(run.timeline, self._mapped)
        self._recorded: dict[str | None, bool] = {None: False}
        self._places: dict[int, int] = {}
        self._lists: dict[int, Any] = {}
        seen: dict[int, int] = {}
        for index, parent in enumerate(self._parents):
            if parent in self._mapped:
                self._places[index] = seen[parent] = seen.get(parent, -1) + 1

    def calls(self) -> list[dict[str, Any]]:
        """An entry for each attempt worth recording, and for each call that never began."""
        tries: dict[int, list[Attempt]] = {}
        for attempt in self._run.timeline.attempts:
            if attempt.ended is not None:
                tries.setdefault(attempt.index, []).append(attempt)
        found = []
        for index, step in enumerate(self._steps):
            if index in self._mapped or not (self._is_called(index) or self._is_recorded(step.tool)):
                continue
            head = self._head(index, step)
            made = tries.get(index, [])
            found += [{**head, **self._attempt(attempt, is_last=attempt is made[-1])} for attempt in made]
            if self._is_called(index) and self._never_began(made, index):
                found.append({**head, "attempt": len(made) + 1, "seconds": 0.0, "outcome": "cancelled"})
        return found

    def _is_called(self, index: int) -> bool:
        """Whether running code called it. An item of a mapped step was not called."""
        return self._parents[index] >= 0 and self._parents[index] not in self._mapped

    def _is_recorded(self, name: str | None) -> bool:
        known = self._recorded.get(name)
        if known is None:
            assert name is not None
            known = self._recorded[name] = is_recorded(resolve_tool(name, self._case.loaded.tools))
        return known

    def _never_began(self, tries: Sequence[Attempt], index: int) -> bool:
        """Whether it was cancelled before its first attempt, or before another."""
        cancelled = self._run.timeline.statuses[index] == "cancelled"
        return not tries or (cancelled and tries[-1].outcome != "cancelled")

    def _head(self, index: int, step: Step) -> dict[str, Any]:
        """What the attempts of a step have in common."""
        words: dict[str, Any] = {"step_id": self._run.timeline.step_ids[index], "tool": step.tool}
        parent = self._parents[index]
        if parent >= 0:
            words["parent"] = self._run.timeline.step_ids[parent]
        if not self._is_called(index):
            return {**words, "key": call_key(*self._rendered(index, step))}
        args = step.args or {}
        words |= {"called": True, "key": called_key(step.prompt, args)}
        if not self._is_recorded(step.tool) and _is_json(args):
            words |= {"prompt": step.prompt, "args": args}
        return words

    def _attempt(self, attempt: Attempt, *, is_last: bool) -> dict[str, Any]:
        started = attempt.granted if attempt.started is None else attempt.started
        assert attempt.ended is not None
        words: dict[str, Any] = {
            "attempt": attempt.attempt,
            "seconds": (attempt.ended - started) / NANOSECONDS,
            "outcome": attempt.outcome,
        }
        if attempt.outcome == "succeeded":
            words["output"] = _writable(self._run.outputs.get(attempt.step_id))
        else:
            error = self._run.errors.get(attempt.step_id)
            if error is not None and error.attempt == attempt.attempt:
                words |= {"error": error.message, "error_type": error.error_type}
            words["last"] = is_last and self._run.timeline.statuses[attempt.index] == "failed"
        if attempt.tokens_used is not None:
            words["tokens_used"] = attempt.tokens_used
        plan = self._plans.get((attempt.index, attempt.attempt))
        if plan is not None:
            words["plan"] = _plan_words(plan)
        return words

    def _rendered(self, index: int, step: Step) -> tuple[str | None, dict[str, Any]]:
        """What the step was asked."""
        inputs, outputs = self._inputs, self._outputs
        try:
            of_item = self._item(index)
            prompt = None if step.prompt is None else render_text(step.prompt, inputs, outputs, of_item)
            args = {name: render_value(value, inputs, outputs, of_item) for name, value in (step.args or {}).items()}
        except Exception as error:  # noqa: BLE001 - an attempt whose template failed is a call like any other
            return f"not rendered: {type(error).__name__}", {}
        return prompt, args

    def _item(self, index: int) -> dict[str, Any]:
        """What the templates of an item see as ``item`` and ``index``."""
        place = self._places.get(index)
        if place is None:
            return {}
        parent = self._parents[index]
        if parent not in self._lists:
            self._lists[parent] = self._renderer.items(self._steps[parent])
        return {"item": self._lists[parent][place], "index": place}


def _plan_words(plan: Plan) -> dict[str, Any]:
    return {
        "own_seconds": plan.own_seconds,
        "waits": [[_without_nulls(ask._asdict()) for ask in wait] for wait in plan.waits],
    }


def _without_nulls(words: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in words.items() if value is not None}


def _is_json(args: Mapping[str, Any]) -> bool:
    """Whether the arguments come back from JSON as they were."""
    try:
        return bool(json.loads(json.dumps(args)) == args)
    except (TypeError, ValueError, RecursionError):
        return False


def _writable(value: Any) -> Any:
    """The value, or its ``repr`` where it can be written in no other way (keys that are no texts, endless nesting)."""
    try:
        json.dumps(value, default=repr)
    except (TypeError, ValueError, RecursionError):
        return repr(value)
    return value
