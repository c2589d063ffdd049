"""Reading a file of recorded calls.

Rules of this module:
- A round replays one recorded run in all its cells: a serial one where there is any, since no other step slowed its
  calls down.
- What an older file does not say is refused before anything runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from executor.tools.registry import resolve_tool
from harness.benchmark.matrix import SERIAL, Case
from harness.benchmark.recorded_calls.recorded_call import (
    OLDER_SCHEMA,
    SCHEMA,
    Ask,
    Plan,
    RecordedCall,
    RecordingError,
    is_recorded,
)
from harness.files.finite_json import plain_fault
from harness.files.schema_check import SchemaChecker

_TEXT: Final = {"type": "string"}
_TEXT_OR_NULL: Final = {"type": ["string", "null"]}
_SECONDS: Final = {"type": "number", "minimum": 0}
_COUNT: Final = {"type": "integer", "minimum": 0}
_ASK: Final = {
    "type": "object",
    "required": ["after_seconds", "calls"],
    "properties": {
        "after_seconds": _SECONDS, "calls": {"type": "array", "items": _TEXT},
        "at_once": {"type": ["integer", "null"], "minimum": 1},
        "withdrawn_after_seconds": {"type": ["number", "null"], "minimum": 0},
    },
}  # fmt: skip
_CALL: Final = {
    "type": "object",
    "required": ["step_id", "attempt", "key", "seconds", "outcome"],
    "properties": {
        "step_id": _TEXT, "attempt": {"type": "integer", "minimum": 1}, "key": _TEXT, "seconds": _SECONDS,
        "outcome": _TEXT, "error": _TEXT_OR_NULL, "error_type": _TEXT_OR_NULL, "last": {"type": "boolean"},
        "tokens_used": {"type": ["integer", "null"], "minimum": 0}, "tool": _TEXT_OR_NULL, "parent": _TEXT_OR_NULL,
        "called": {"type": "boolean"}, "prompt": _TEXT_OR_NULL, "args": {"type": ["object", "null"]},
        "plan": {
            "type": ["object", "null"],
            "required": ["own_seconds", "waits"],
            "properties": {
                "own_seconds": {"type": "array", "items": _SECONDS},
                "waits": {"type": "array", "items": {"type": "array", "items": _ASK}},
            },
        },
    },
}  # fmt: skip
_LINE: Final = {
    "type": "object",
    "required": ["scenario", "parameters", "executor", "repetition", "calls"],
    "properties": {
        "scenario": _TEXT, "parameters": {"type": "object"}, "executor": _TEXT, "repetition": _COUNT,
        "calls": {"type": "array", "items": _CALL},
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """One run. ``calls``: the attempts of each step, in order, by its id."""

    scenario: str
    parameters: Mapping[str, Any]
    executor: str
    repetition: int
    calls: Mapping[str, Sequence[RecordedCall]]


class RecordedRuns:
    """The runs of a file of calls."""

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self._runs: list[RecordedRun] = []
        self._schema = SCHEMA
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
            if number > 1:
                self._runs.append(_run(words))
                return
        except (ValueError, RecursionError) as error:
            raise RecordingError(f"{self.path!r}, line {number} is no recorded run: {plain_fault(error)}") from error
        self._schema = str(words.get("schema")) if isinstance(words, dict) else ""
        if self._schema not in (SCHEMA, OLDER_SCHEMA):
            raise RecordingError(
                f"{self.path!r} is no file of recorded calls: its line 1 has no `schema` {SCHEMA!r}; record one first"
            )

    def runs_for(self, case: Case) -> list[RecordedRun]:
        """What rounds replay, in turn: the serial runs of the same scenario and parameters, else all of them.

        Raises:
            RecordingError: the scenario was not recorded with these parameters, or not all that it needs.

        """
        same = [
            run for run in self._runs
            if run.scenario == case.scenario and run.parameters == case.loaded.parameters
        ]  # fmt: skip
        measured = [run for run in same if run.repetition > 0] or same
        chosen = [run for run in measured if run.executor == SERIAL] or measured
        if not chosen:
            there = sorted({f"{run.scenario} {run.parameters or ''}".strip() for run in self._runs})
            raise RecordingError(
                f"{self.path!r} holds no run of {case.scenario!r} with parameters {case.loaded.parameters}; it has "
                f"{', '.join(there) or 'none'}: record it first"
            )
        if self._schema == OLDER_SCHEMA:
            self._refuse_items(case)
        return chosen

    def _refuse_items(self, case: Case) -> None:
        """Items of mapped steps are in no older file."""
        for step in case.loaded.graph.steps:
            if step.for_each is not None and is_recorded(resolve_tool(step.tool or "", case.loaded.tools)):
                raise RecordingError(
                    f"{self.path!r} was recorded by an older version ({OLDER_SCHEMA}), which left out the items of "
                    f"step {step.step_id!r}: record it again"
                )


def _run(words: Any) -> RecordedRun:
    _checker().check(words)
    calls: dict[str, list[RecordedCall]] = {}
    for one in words["calls"]:
        calls.setdefault(str(one["step_id"]), []).append(_call(one))
    for attempts in calls.values():
        attempts.sort(key=lambda call: call.attempt)
    run = RecordedRun(
        words["scenario"], words["parameters"], str(words["executor"]), int(words["repetition"]), calls
    )  # fmt: skip
    for attempts in calls.values():
        for call in attempts:
            for ask in () if call.plan is None else (ask for wait in call.plan.waits for ask in wait):
                _check_ask(call, ask, calls)
    return run


@cache
def _checker() -> SchemaChecker:
    return SchemaChecker(_LINE, _LINE)


def _check_ask(call: RecordedCall, ask: Ask, calls: Mapping[str, Sequence[RecordedCall]]) -> None:
    for step_id in ask.calls:
        if step_id not in calls or not calls[step_id][0].called or calls[step_id][0].tool is None:
            raise ValueError(f"step {call.step_id!r} called {step_id!r}, which is not there")
        # A wait for a call that never ends would never end.
        if calls[step_id][-1].outcome == "cancelled" and ask.withdrawn_after_seconds is None:
            raise ValueError(f"the call {step_id!r} was cancelled, and nothing says when")


def _call(words: Mapping[str, Any]) -> RecordedCall:
    plan = words.get("plan")
    return RecordedCall(
        step_id=str(words["step_id"]),
        attempt=int(words["attempt"]),
        key=str(words["key"]),
        seconds=float(words["seconds"]),
        outcome=str(words["outcome"]),
        output=words.get("output"),
        error=words.get("error"),
        error_type=words.get("error_type"),
        tokens_used=words.get("tokens_used"),
        last=bool(words.get("last", True)),
        tool=words.get("tool"),
        parent=words.get("parent"),
        called=bool(words.get("called", False)),
        plan=None if plan is None else _plan(plan),
        prompt=words.get("prompt"),
        args=words.get("args"),
    )


def _plan(words: Mapping[str, Any]) -> Plan:
    own = tuple(float(seconds) for seconds in words["own_seconds"])
    waits = tuple(tuple(_ask(ask) for ask in wait) for wait in words["waits"])
    if len(own) != len(waits) + 1:
        raise ValueError(f"a plan of {len(waits)} waits has {len(own)} own_seconds, not {len(waits) + 1}")
    return Plan(own, waits)


def _ask(words: Mapping[str, Any]) -> Ask:
    at_once, withdrawn = words.get("at_once"), words.get("withdrawn_after_seconds")
    return Ask(
        float(words["after_seconds"]),
        tuple(map(str, words["calls"])),
        None if at_once is None else int(at_once),
        None if withdrawn is None else float(withdrawn),
    )
