"""Inside a worker process: the calls of its step go to the parent's engine, and their outcomes come back.

::

    step ─▶ ChildStepChannel.begin() ─▶ a frame among the results ─▶ parent
    parent ─▶ packets of their own channel ─▶ the step

Rules of this module:
- Outcomes have a channel of their own: what waits among the requests is still there for the parent to take back.
- A waiting thread reads them, for the others too; where a step waits in several places, a thread of its own does.
- A process that a step forked makes no calls: two could not share the channel.
"""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from executor.backends.pickling import PROTOCOL, dumps
from executor.backends.processes.frames import CALLING, PACKET_BYTES, REQUEST, WITHDRAWING, pack_result, read_rest
from executor.child_steps.child_request import Caller, ChildRequest, Done, Outcome, Outcomes, Withdraw
from executor.record.outcomes import Failure

# How an outcome travels: its step, the output as bytes or None where there is none, the failure.
Packed: TypeAlias = "tuple[str | None, bytes | None, Failure | None]"


class ChildStepChannel(Caller):
    """``write`` writes a frame to the parent, from any thread; ``outcomes`` is the descriptor to read from."""

    def __init__(self, write: Callable[[bytes, bytes], None], outcomes: int) -> None:
        self._write = write
        self._outcomes = outcomes
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._number = 0
        self._waiting: dict[int, Done] = {}
        # Held by the reader.
        self._reading = threading.Lock()
        self._has_reader = False

    def begin(self, running: Any, calls: Sequence[ChildRequest], at_once: int | None, done: Done) -> Withdraw:
        number = self._ask(running, calls, at_once, done)
        with self._lock:
            starts, self._has_reader = not self._has_reader, True
        if starts:
            threading.Thread(target=self._keep_reading, name="makespan-outcomes", daemon=True).start()

        def withdraw() -> None:
            self._write(pack_result(WITHDRAWING, 0, number, 0, 0, 0, 0), b"")

        return withdraw

    def call(self, running: Any, calls: Sequence[ChildRequest], at_once: int | None = None) -> Outcomes:
        if not self._reading.acquire(False):
            return super().call(running, calls, at_once)
        # No thread reads: this one does, and saves two changes of threads.
        try:
            found: list[Outcomes] = []
            self._ask(running, calls, at_once, found.append)
            while not found:
                self._read()
            return found[0]
        finally:
            self._reading.release()

    def _ask(self, running: Any, calls: Sequence[ChildRequest], at_once: int | None, done: Done) -> int:
        if os.getpid() != self._pid:
            raise RuntimeError("a process that the step forked cannot call tools; call them from the step itself")
        plain = [(call.tool, call.prompt, dict(call.args)) for call in calls]
        body = dumps((running.step_id, running.attempt, plain, at_once), "the calls")
        with self._lock:
            self._number += 1
            number = self._number
            self._waiting[number] = done
        self._write(pack_result(CALLING, 0, number, 0, 0, 0, len(body)), body)
        return number

    def _keep_reading(self) -> None:
        while True:
            with self._reading:
                if not self._read():
                    return

    def _read(self) -> bool:
        """Take in the next outcomes, for all that wait for them. False: the parent is gone."""
        try:
            first = os.read(self._outcomes, PACKET_BYTES)
            if first:
                _, _, number, _, size = REQUEST.unpack_from(first)
                body = read_rest(self._outcomes, first, size)
        except EOFError:
            first = b""
        if not first:
            # This process is about to hear of it.
            with self._lock:
                waiting, self._waiting = list(self._waiting.values()), {}
            for done in waiting:
                done(None)
            return False
        with self._lock:
            found = self._waiting.pop(number, None)
        if found is not None:
            found(unpacked(body))
        return True


def packed(outcomes: Outcomes) -> bytes:
    """Outcomes as bytes; an output that cannot travel is that call's failure."""
    if outcomes is None:
        return pickle.dumps(None, PROTOCOL)
    return pickle.dumps([_packed(outcome) for outcome in outcomes], PROTOCOL)


def _packed(outcome: Outcome) -> Packed:
    step_id, output, failure = outcome
    if failure is not None:
        return step_id, None, failure
    try:
        return step_id, dumps(output, "its output"), None
    except Exception as error:  # noqa: BLE001  # a value's own methods may raise anything
        return step_id, None, Failure("NotPicklable", str(error), retryable=False)


def unpacked(body: bytes | memoryview) -> Outcomes:
    """Outcomes in the process that asked."""
    found: list[Packed] | None = pickle.loads(body)  # noqa: S301  # the parent's own words
    return None if found is None else [_unpacked(*outcome) for outcome in found]


def _unpacked(step_id: str | None, output: bytes | None, failure: Failure | None) -> Outcome:
    if output is None:
        return Outcome(step_id, None, failure)
    try:
        return Outcome(step_id, pickle.loads(output))  # noqa: S301  # as above
    except Exception as error:  # noqa: BLE001  # a value's own code may raise anything
        message = f"its output cannot be read in the process that called: {type(error).__name__}: {error}"
        return Outcome(step_id, None, Failure("NotPicklable", message, retryable=False))
