"""A node's way to its parent: calls go out as lines of JSON, their outcomes come back the same way.

::

    {"id": 1, "calls": [["shout", "a", {}]], "at_once": null}   ─▶
    ◀─   {"id": 1, "ended": [[step_id, output, null], [step_id, null, [error_type, message, traceback, retryable]]]}

Rules of this module:
- Standard library alone. A thread of its own reads, since a node may wait in several threads or coroutines at once.
- The end of the channel ends all who wait: the parent is gone or wants no more.
- A process that the node forked makes no calls: two could not share the channel.
"""

from __future__ import annotations

import json
import os
from _thread import allocate_lock, start_new_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_CHUNK_BYTES = 65_536


class ChannelTransport:
    """Calls over the socket ``channel``, a file descriptor. See :class:`node_calls.Transport`."""

    def __init__(self, channel: int) -> None:
        self._channel = channel
        self._pid = os.getpid()
        self._lock = allocate_lock()
        self._number = 0
        self._waiting: dict[int, Callable[[Any], None]] = {}
        self._reads = False

    def call(self, calls: list[Any], at_once: int | None) -> list[Any] | None:
        """Wait for the outcomes in this thread."""
        found: list[Any] = []
        arrived = allocate_lock()
        arrived.acquire()

        def done(ended: Any) -> None:
            found.append(ended)
            arrived.release()

        self._begin(calls, at_once, done)
        arrived.acquire()
        return found[0]  # type: ignore[no-any-return]  # as the parent sends it

    async def call_async(self, calls: list[Any], at_once: int | None) -> list[Any] | None:
        """Wait for them in a coroutine."""
        import asyncio  # noqa: PLC0415  # most nodes have no event loop

        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def set_ended(ended: Any) -> None:
            if not future.done():
                future.set_result(ended)

        def done(ended: Any) -> None:
            loop.call_soon_threadsafe(set_ended, ended)

        self._begin(calls, at_once, done)
        return await future  # type: ignore[no-any-return]  # as the parent sends it

    def _begin(self, calls: list[Any], at_once: int | None, done: Callable[[Any], None]) -> None:
        if os.getpid() != self._pid:
            raise RuntimeError("a process that the node forked cannot call tools; call them from the node itself")
        for place, (tool, prompt, args) in enumerate(calls):
            try:
                calls[place] = (tool, prompt, dict(args))
                json.dumps(calls[place], allow_nan=False)
            except (TypeError, ValueError, RecursionError) as error:
                raise TypeError(f"calls[{place}], of tool {tool!r}: its arguments are not JSON: {error}") from None
        with self._lock:
            self._number += 1
            number = self._number
            self._waiting[number] = done
            if not self._reads:
                self._reads = True
                start_new_thread(self._read, ())
            line = memoryview(json.dumps({"id": number, "calls": calls, "at_once": at_once}).encode() + b"\n")
            try:
                while line:
                    line = line[os.write(self._channel, line) :]
            except OSError:
                del self._waiting[number]
                line = memoryview(b"")
                closed = True
            else:
                closed = False
        if closed:
            done(None)

    def _read(self) -> None:
        rest = bytearray()
        try:
            while data := os.read(self._channel, _CHUNK_BYTES):
                rest += data
                *lines, last = rest.split(b"\n")
                rest = last
                for line in lines:
                    answer = json.loads(line)
                    with self._lock:
                        done = self._waiting.pop(answer["id"], None)
                    if done is not None:
                        done(answer["ended"])
        except OSError:
            pass
        with self._lock:
            waiting, self._waiting = list(self._waiting.values()), {}
        for done in waiting:
            done(None)
