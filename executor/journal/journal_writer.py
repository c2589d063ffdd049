"""Writes the journal of a run while it goes on.

::

    engine ─ attempt_ended ─▶ a deque ─▶ this thread, every 40 ms ─▶ rows ─▶ one commit

Rules of this module:
- The engine only appends to a deque; rows, digests and JSON are made in the writing thread.
- What happened is on the disk within 100 ms, as fast as the disk allows; with ``durable="each"`` before the engine goes
  on. The start of a step that must not be done twice is on the disk before the step begins.
- What cannot be written stays in memory and is tried again; at the end of the run it is counted and said.
"""

from __future__ import annotations

import json
import operator
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import repeat
from typing import Any, Final, Literal

from executor.engine.instruments import WatchedRun
from executor.journal.journal_errors import JournalError
from executor.journal.journal_file import JournalFile
from executor.journal.output_files import OutputFiles
from executor.model.workflow import Step
from executor.record.timeline import Attempt
from executor.tools.identity import CallIdentity, call_identity, tool_identity
from executor.tools.tool import Tool

Durable = Literal["within_100_ms", "each"]

PERIOD_SECONDS: Final = 0.04
# After a write that failed.
PATIENCE_SECONDS: Final = 1.0
# To make JSON of them takes a millisecond, in which nothing else of the program runs.
ROWS_OF_A_BATCH: Final = 500
# Calls without arguments are compared by tool and prompt; so many of them are remembered.
_REMEMBERED: Final = 10_000


class JournalWriter:
    """Keeps one run: an :class:`executor.engine.keeping.Keeper`. ``tools`` may grow."""

    def __init__(
        self, file: JournalFile, run: WatchedRun, tools: Mapping[str, Tool], durable: Durable = "within_100_ms"
    ) -> None:
        self._file = file
        self._run = run
        self._scheduler = run.scheduler
        self._tools = tools
        self._outputs = OutputFiles(file.path)
        self._each = durable == "each"
        self._ended: deque[Attempt] = deque()
        self.attempt_ended = self._note_and_write if self._each else self._ended.append
        # By step: what its call was rendered to.
        self._rendered: dict[int, CallIdentity] = {}
        self._remembered: dict[tuple[str | None, str | None], CallIdentity] = {}
        self._known_tools: set[str] = set()
        self._tools_to_write: dict[str, Any] = {}
        self._begun: set[Attempt] = set()
        self._writing = threading.Lock()
        self._unwritten: list[str] = []
        self._entries_unwritten = 0
        self._entries_dropped = 0
        self._retry_at = 0.0
        self._failure: JournalError | None = None
        self._zero_is_known = False
        self._wall_less_clock = time.time_ns() - time.perf_counter_ns()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="makespan-journal", daemon=True)

    # ------------------------------------------------------------------ what the engine calls

    def rendered(self, step: Step, index: int, tool: Tool, prompt: str | None, args: Mapping[str, Any]) -> None:
        """See :meth:`.Keeper.rendered`. Digests are made now: the call may change what it is given."""
        self._rendered[index] = call_identity(tool, prompt, args)
        if step.idempotent is False:
            self.write()

    def _note_and_write(self, attempt: Attempt) -> None:
        self._ended.append(attempt)
        self.write()

    # ------------------------------------------------------------------ its life

    def begin(self) -> None:
        """Start writing; without a thread, where none can be had, at the end alone."""
        self._tools_to_write.update(self._new_tools())
        try:
            self._thread.start()
        except RuntimeError as error:
            self._failure = JournalError(str(error))

    def end(self, how: str) -> str | None:
        """Write what is left, and how the session ended. Answers what could not be written."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._writing:
            self._collect_safely(closed=how)
            self._retry_at = 0.0
            self._commit()
        self._file.close()
        if self._failure is None:
            return None
        if self._entries_dropped:
            return f"the journal is not whole: {self._failure}"
        if not self._unwritten:
            return f"the journal could not be written for a while, and is whole now: {self._failure}"
        return f"{self._entries_unwritten:,} ends of attempts are not in the journal: {self._failure}"

    def _work(self) -> None:
        self.write()
        while not self._stop.wait(PERIOD_SECONDS):
            self.write()

    def write(self) -> None:
        """Bring what happened so far to the disk. From any thread."""
        with self._writing:
            self._collect_safely()
            self._commit()

    # ------------------------------------------------------------------ rows

    def _collect_safely(self, closed: str | None = None) -> None:
        try:
            self._collect(closed)
        except Exception as error:  # noqa: BLE001  # whatever is wrong with it, the run goes on
            self._failure = JournalError(f"{type(error).__name__}: {error}")
            self._entries_dropped += 1

    def _collect(self, closed: str | None = None) -> None:
        # Asked for before the ends are taken: what ends in between is among these.
        live = self._scheduler.live_attempts()
        ended = self._ended
        taken = list(map(operator.call, repeat(ended.popleft, len(ended))))
        begun = self._begun
        begun.difference_update(taken)
        starts = [
            attempt
            for attempt in live
            if attempt not in begun and attempt.outcome is None and not self._scheduler.is_mapped(attempt.index)
        ]
        begun.update(starts)
        words: dict[str, Any] = {}
        tools = {**self._tools_to_write, **self._new_tools()}
        self._tools_to_write.clear()
        if tools:
            words["tools"] = tools
        if not self._zero_is_known and self._run.origin:
            self._zero_is_known = True
            words["zero"] = self._wall_less_clock + self._run.origin
        if starts:
            words["starts"] = [self._start_row(attempt) for attempt in starts]
        if closed is not None:
            words["closed"] = closed
        for place in range(0, len(taken), ROWS_OF_A_BATCH):
            words["ends"] = self._end_rows(taken[place : place + ROWS_OF_A_BATCH])
            self._put(words)
            words = {}
        if words:
            self._put(words)
        self._entries_unwritten += len(taken)

    def _put(self, words: Mapping[str, Any]) -> None:
        self._unwritten.append(json.dumps(words, separators=(",", ":")))

    def _new_tools(self) -> dict[str, Any]:
        if len(self._tools) == len(self._known_tools):
            return {}
        new = [name for name in list(self._tools) if name not in self._known_tools]
        self._known_tools.update(new)
        return {name: tool_identity(self._tools[name]) for name in new}

    def _identity(self, index: int, step: Step) -> CallIdentity:
        rendered = self._rendered.get(index)
        if rendered is not None:
            return rendered
        args = step.args
        key = step.tool, step.prompt
        found = None if args else self._remembered.get(key)
        if found is None:
            tool = self._tools.get(step.tool or "")
            found = CallIdentity(None, None) if tool is None else call_identity(tool, step.prompt, args or {})
            if not args:
                if len(self._remembered) >= _REMEMBERED:
                    self._remembered.clear()
                self._remembered[key] = found
        return found

    def _start_row(self, attempt: Attempt) -> tuple[Any, ...]:
        step = self._scheduler.steps[attempt.index]
        prompt, args = self._identity(attempt.index, step)
        return attempt.step_id, attempt.attempt, step.tool, prompt, args, attempt.granted, self._more(attempt, step)

    def _end_rows(self, attempts: Sequence[Attempt]) -> list[tuple[Any, ...]]:
        steps, outputs, identity, more_of = self._scheduler.steps, self._run.outputs, self._identity, self._more
        rendered, kept = self._rendered, self._kept
        rows: list[tuple[Any, ...]] = []
        for attempt in attempts:
            index, step_id, outcome = attempt.index, attempt.step_id, attempt.outcome
            step = steps[index]
            prompt, args = identity(index, step)
            more = more_of(attempt, step)
            if outcome == "succeeded":
                rendered.pop(index, None)
                output = outputs.get(step_id)
                if output is not None and step.for_each is None:
                    more = {**more, **kept(output)}
            elif attempt.failure is not None:
                more = {**more, "error": list(attempt.failure)}
            rows.append((
                step_id, attempt.attempt, outcome, step.tool, prompt, args, attempt.ready, attempt.granted,
                attempt.started, attempt.ended, attempt.known, attempt.worker, attempt.released_by,
                # As it is kept: a bare reason is the most frequent case.
                attempt._waits,  # noqa: SLF001
                more or None,
            ))  # fmt: skip
        return rows

    def _more(self, attempt: Attempt, step: Step) -> dict[str, Any]:
        more: dict[str, Any] = {}
        if attempt.parent is not None:
            more["parent"] = attempt.parent
            above = self._scheduler.live_attempt(self._scheduler.index[attempt.parent])
            if above is not None and above.attempt > 1:
                more["parent_attempt"] = above.attempt
        if step.idempotent is False:
            more["once"] = True
        if step.for_each is not None:
            more["mapped"] = True
        if attempt.blocked:
            more["blocked"] = attempt.blocked
        if attempt.cpu_seconds is not None:
            more["cpu"] = attempt.cpu_seconds
        if attempt.tokens_reserved is not None:
            more["reserved"] = attempt.tokens_reserved
        if attempt.tokens_used is not None:
            more["used"] = attempt.tokens_used
        return more

    def _kept(self, output: Any) -> dict[str, Any]:
        try:
            return self._outputs.kept(output)
        except OSError as error:
            return {"lost": f"its file could not be written: {error.strerror or error}"}

    # ------------------------------------------------------------------ the disk

    def _commit(self) -> None:
        if not self._unwritten or time.monotonic() < self._retry_at:
            return
        try:
            self._file.append(self._unwritten)
        except JournalError as error:
            self._failure = error
            self._retry_at = time.monotonic() + PATIENCE_SECONDS
            return
        self._unwritten.clear()
        self._entries_unwritten = 0


def head_of_session(run_id: str, workflow_id: str, about: Mapping[str, Any]) -> dict[str, Any]:
    """What a session says of itself."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"run_id": run_id, "workflow_id": workflow_id, "started_at": now, **about}
