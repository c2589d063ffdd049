"""Recorded calls: outputs and latencies of a measured pipeline, so that it can be benchmarked again for nothing.

A file of JSON lines: ``{"schema": "makespan.calls/1"}``, then one line for each run with its calls.

Rules of this module:
- Recording looks at a run when it is over: nothing is added to what is measured.
- A call is found again by step, attempt, and what its prompt and arguments were once rendered.
- A round replays one recorded run in all its cells: a serial one where there is any, so that what it felt of others at
  the same time is no part of it.
- Synthetic tools and those that compute in Python are neither recorded nor replayed: they cost nothing, and a wait
  would not be what they do.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

from executor.running import Run
from executor.templates import render_text, render_value
from executor.timeline import NANOSECONDS, Attempt
from executor.tools.base import Tool, ToolContext, ToolError, ToolTimeoutError
from executor.tools.registry import Declared, resolve_tool
from harness.benchmark.matrix import SERIAL, Case, MatrixCell

SCHEMA: Final = "makespan.calls/1"
_SYNTHETIC: Final = frozenset({"noop", "sleep", "busy", "flaky"})
# Rendered prompt and arguments as a key of this many bytes.
_KEY_BYTES: Final = 12
CallKey = tuple[str, int, str]


class RecordingError(Exception):
    """A file of calls that cannot be written or read; the message says what to do."""


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One attempt: ``seconds`` from start to end; ``output`` if it succeeded, else ``error``. ``last``: no other
    attempt followed.
    """

    seconds: float
    outcome: str
    output: Any = None
    error: str | None = None
    tokens_used: int | None = None
    last: bool = True


def call_key(prompt: str | None, args: Mapping[str, Any]) -> str:
    """A short name of what a call is about."""
    text = json.dumps([prompt, args], sort_keys=True, ensure_ascii=False, default=repr)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_KEY_BYTES).hexdigest()


def recorded_tools(case: Case) -> frozenset[str]:
    """The names of the tools whose calls are worth recording."""
    used = {step.tool for step in case.loaded.graph.steps if step.tool is not None}
    tools = {name: resolve_tool(name, case.loaded.tools) for name in used}
    return frozenset(name for name, tool in tools.items() if tool.kind not in _SYNTHETIC and not tool.cpu_bound)


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

    def add(self, cell: MatrixCell, repetition: int, run: Run) -> None:
        """Keep the calls of a run; ``repetition`` counts from 1, warm-up runs are 0."""
        calls = _calls_of(cell.case, run)
        words = {
            "scenario": cell.case.scenario,
            "parameters": cell.case.loaded.parameters,
            "executor": cell.executor,
            "workers": cell.workers,
            "policy": cell.policy,
            "repetition": repetition,
            "calls": calls,
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


def _calls_of(case: Case, run: Run) -> list[dict[str, Any]]:
    names = recorded_tools(case)
    steps = case.loaded.graph.steps
    attempts = run.timeline.attempts
    last = {attempt.step_id: attempt.attempt for attempt in attempts}
    found = []
    for attempt in attempts:
        if attempt.index >= len(steps) or steps[attempt.index].tool not in names or attempt.ended is None:
            continue
        step = steps[attempt.index]
        prompt, args = _rendered(case, run, attempt)
        error = run.errors.get(attempt.step_id)
        succeeded = attempt.outcome == "succeeded"
        found.append(
            {
                "step_id": step.step_id,
                "attempt": attempt.attempt,
                "key": call_key(prompt, args),
                "seconds": (attempt.ended - (attempt.started or attempt.granted)) / NANOSECONDS,
                "outcome": attempt.outcome,
                "output": run.outputs.get(attempt.step_id) if succeeded else None,
                "error": None if succeeded else ("as recorded" if error is None else error.message),
                "tokens_used": attempt.tokens_used,
                "last": attempt.attempt == last[attempt.step_id],
            }
        )
    return found


def _rendered(case: Case, run: Run, attempt: Attempt) -> tuple[str | None, dict[str, Any]]:
    """What the attempt was asked, rendered once more: outputs do not change once they are there."""
    step = case.loaded.graph.steps[attempt.index]
    inputs = case.loaded.workflow.inputs
    try:
        prompt = None if step.prompt is None else render_text(step.prompt, inputs, run.outputs)
        return prompt, {name: render_value(value, inputs, run.outputs) for name, value in (step.args or {}).items()}
    except Exception as error:  # noqa: BLE001 - an attempt whose template failed is a call like any other
        return f"not rendered: {type(error).__name__}", {}


class RecordedRuns:
    """The runs of a file of calls."""

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self._runs: list[dict[str, Any]] = []
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise RecordingError(f"cannot read the recorded calls in {self.path!r}: {error}") from error
        for number, line in enumerate(lines, start=1):
            self._read(number, line)
        if not lines:
            raise RecordingError(f"{self.path!r} is empty: it holds no recorded calls")

    def _read(self, number: int, line: str) -> None:
        try:
            words = json.loads(line)
            if number == 1:
                if words.get("schema") != SCHEMA:
                    raise RecordingError(f"{self.path!r} is no file of recorded calls ({SCHEMA}): record one first")
                return
            calls = {
                (str(one["step_id"]), int(one["attempt"]), str(one["key"])): RecordedCall(
                    float(one["seconds"]), str(one["outcome"]), one["output"], one["error"], one["tokens_used"],
                    bool(one["last"]),
                )
                for one in words["calls"]
            }  # fmt: skip
            self._runs.append({**words, "calls": calls})
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise RecordingError(f"{self.path!r}, line {number} is no recorded run: {error}") from error

    def runs_for(self, case: Case) -> list[Mapping[CallKey, RecordedCall]]:
        """What rounds replay, in turn: the serial runs of the same scenario and parameters, else all of them.

        Raises:
            RecordingError: the scenario was not recorded with these parameters.

        """
        same = [
            run for run in self._runs
            if run["scenario"] == case.scenario and run["parameters"] == case.loaded.parameters
        ]  # fmt: skip
        measured = [run for run in same if run["repetition"] > 0] or same
        chosen = [run for run in measured if run["executor"] == SERIAL] or measured
        if not chosen:
            there = sorted({f"{run['scenario']} {run['parameters'] or ''}".strip() for run in self._runs})
            raise RecordingError(
                f"{self.path!r} holds no run of {case.scenario!r} with parameters {case.loaded.parameters}; it has "
                f"{', '.join(there) or 'none'}: record it first"
            )
        return [run["calls"] for run in chosen]


def with_replay(
    tools: Mapping[str, Declared], names: frozenset[str], calls: Mapping[CallKey, RecordedCall]
) -> dict[str, Declared]:
    """The tools, of which those by these names answer as they did."""
    return {**tools, **{name: ReplayTool(name, calls) for name in names}}


class ReplayTool(Tool):
    """Waits as long as the recorded call took, and ends as it did."""

    kind = "replay"

    def __init__(self, name: str, calls: Mapping[CallKey, RecordedCall]) -> None:
        super().__init__(name)
        self.calls = calls

    def call(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Any:
        """Wait, then end as recorded."""
        found = self._found(context, prompt, args)
        cancelled = threading.Event()
        context.on_cancel(cancelled.set)
        if cancelled.wait(found.seconds):
            raise ToolError(f"tool {self.name!r}: cancelled", retryable=False)
        return self._end(context, found)

    async def call_async(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Any:
        """Wait without a thread, then end as recorded."""
        found = self._found(context, prompt, args)
        await asyncio.sleep(found.seconds)
        return self._end(context, found)

    def _found(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> RecordedCall:
        found = self.calls.get((context.step_id, context.attempt, call_key(prompt, args)))
        if found is None:
            raise ToolError(
                f"tool {self.name!r}: the recording holds no attempt {context.attempt} of step {context.step_id!r} "
                "with this prompt and these arguments: record it again",
                retryable=False,
            )
        return found

    def _end(self, context: ToolContext, found: RecordedCall) -> Any:
        if found.tokens_used is not None:
            context.record_tokens(found.tokens_used)
        if found.outcome == "succeeded":
            return found.output
        if found.outcome == "timed_out":
            raise ToolTimeoutError(f"tool {self.name!r}: timed out, as recorded")
        raise ToolError(f"tool {self.name!r}: {found.error}", retryable=not found.last)
