"""The parent's end of a node's channel: its calls come in as lines of JSON, and go to the maker of child steps.

Rules of this module:
- Nothing that a node sends is trusted: a line that is too long, no JSON or not what it should be ends the channel, with
  a fault that says so.
- Nothing here blocks. Any thread may give answers; the driver of the child is woken to send them.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from executor.child_steps.child_request import ChildRequest, Outcome, Outcomes
from executor.child_steps.step_context import Place, current_place
from executor.record.outcomes import Failure

_CHUNK_BYTES = 65_536
_NOWHERE = Failure("CallRefused", "steps cannot call tools on this executor: use another one", retryable=False)


class NodeChannel:
    """A channel for one node. ``code`` is what the node is to run. ``wake`` and ``stop`` are set when the child is
    there: the one has its driver look at the channel, the other ends it.
    """

    def __init__(self, kind: str, code: str, line_limit_bytes: int) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self.fd = self._ours.fileno()
        self.their_fd = self._theirs.fileno()
        self.wake: Callable[[], None] = lambda: None
        self.stop: Callable[[], None] = lambda: None
        # Where the code is, if it is a file.
        self.file = code if kind == "file" else None
        # What the node said at its end, and what was wrong with what it said.
        self.answer: dict[str, Any] | None = None
        self.fault: str | None = None
        self._limit_bytes = line_limit_bytes
        self._place: Place | None = current_place()
        self._running = None if self._place is None else self._place.running
        self._inbox = bytearray()
        self._lock = threading.Lock()
        data = code.encode("utf-8", "surrogatepass")
        self._outbox = bytearray(b"%s %d\n" % (kind.encode(), len(data)) + data)

    def started(self) -> None:
        """The child has its end."""
        self._theirs.close()

    def close(self) -> None:
        """Close what is open."""
        self._theirs.close()
        with self._lock:
            self._outbox.clear()
            self._ours.close()

    # ------------------------------------------------------------------ talking

    def receive(self) -> bool:
        """Take in what has come. False: the node has closed its end, or was found faulty."""
        while True:
            try:
                data = self._ours.recv(_CHUNK_BYTES)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            # The line that was begun is copied once, when it ends, however long it is.
            *ends, rest = data.split(b"\n")
            for end in ends:
                self._take(bytes(self._inbox + end))
                self._inbox.clear()
            self._inbox += rest
            if len(self._inbox) > self._limit_bytes:
                self.fault = f"sent more than {self._limit_bytes:,} bytes in one line over its channel"
            if self.fault is not None:
                self.stop()
                return False

    def flush(self) -> bool | None:
        """Send what there is; see :class:`executor.tools.child_process.Channel`."""
        with self._lock:
            try:
                while self._outbox:
                    del self._outbox[: self._ours.send(self._outbox[:_CHUNK_BYTES])]
            except BlockingIOError:
                return True
            except OSError:
                self._outbox.clear()
                return None
            return False

    def _say(self, message: dict[str, Any]) -> None:
        with self._lock:
            if self._ours.fileno() >= 0:
                self._outbox += json.dumps(message).encode() + b"\n"
        self.wake()

    # ------------------------------------------------------------------ what the node says

    def _take(self, line: bytes) -> None:
        if self.fault is not None or self.answer is not None:
            return
        try:
            message = json.loads(line, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            self.fault = f"sent what is no JSON over its channel: {line[:60]!r}"
            return
        if isinstance(message, dict) and ("result" in message or isinstance(message.get("error"), str)):
            self.answer = message
            return
        try:
            number, calls, at_once = _read_calls(message)
        except (TypeError, ValueError, KeyError):
            self.fault = f"sent what is no call over its channel: {line[:60]!r}"
            return
        self._call(number, calls, at_once)

    def _call(self, number: int, calls: list[ChildRequest], at_once: int | None) -> None:
        def done(outcomes: Outcomes) -> None:
            ended = None if outcomes is None else [_ended(outcome) for outcome in outcomes]
            self._say({"id": number, "ended": ended})

        place = self._place
        if place is None or place.caller is None:
            done([Outcome(None, None, _NOWHERE)] * len(calls))
            return
        try:
            place.caller.begin(self._running, calls, at_once, done)
        except Exception as error:  # noqa: BLE001  # reported to the node, whose call it was
            done([Outcome(None, None, Failure.of(error))] * len(calls))


def _read_calls(message: Any) -> tuple[int, list[ChildRequest], int | None]:
    """Raises KeyError, TypeError or ValueError where a message is no call."""
    number, at_once = message["id"], message["at_once"]
    if type(number) is not int or not (at_once is None or (type(at_once) is int and at_once > 0)):
        raise TypeError
    calls = []
    for tool, prompt, args in message["calls"]:
        if not (isinstance(tool, str) and isinstance(prompt, str | None) and isinstance(args, dict)):
            raise TypeError
        calls.append(ChildRequest(tool, prompt, args))
    return number, calls, at_once


def _ended(outcome: Outcome) -> list[Any]:
    step_id, output, failure = outcome
    if failure is None:
        with suppress(TypeError, ValueError, RecursionError):
            json.dumps(output, allow_nan=False)
            return [step_id, output, None]
        message = f"its output is a {type(output).__name__} that is not JSON, and cannot be sent to a node"
        failure = Failure("NotJson", message, retryable=False)
    return [step_id, None, [failure.error_type, failure.message, failure.traceback, failure.retryable]]


def _no_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")
