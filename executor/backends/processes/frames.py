"""What a worker process and its parent say to each other, as bytes. Standard library alone.

::

    parent ── packets (SOCK_SEQPACKET) ──▶ worker      one packet a request; a large one goes on in further packets
    parent ── packets (SOCK_SEQPACKET) ──▶ worker      the outcomes of calls that its step makes
    parent ◀── frames (a pipe) ─────────── worker      a fixed head and a body; many frames come in one read

Rules of this module:
- Requests are packets, so that the first reader takes each whole: the parent takes back what a busy worker
  has not read yet by reading it itself.
- Heads are fixed structures, bodies are pickles. A body that cannot be read spoils one step and not the channel.
- Code of a step may write anything into any descriptor. A frame begins with MAGIC and its body has a limit: what comes
  and is no frame ends the channel (:class:`StrayBytesError`), and nothing is read from it any more.
- Times are those of CLOCK_MONOTONIC, which all processes of a machine share.
- When a step with a timeout began is in a page of memory that both have: the parent looks when that time may be over,
  and not at each step.
"""

from __future__ import annotations

import os
from functools import partial
from mmap import PAGESIZE, mmap
from struct import Struct
from typing import TypeAlias

# kind, whether the worker polls for what follows, step, attempt, bytes of the body
REQUEST = Struct("<B?xxIIQ")
# MAGIC, kind, flags, started, ended, CPU nanoseconds or NOTHING, tokens used or NOTHING, bytes of the body
RESULT = Struct("<IBBxxqqqqQ")
MAGIC = 0x9DB3_4B4D
MAGIC_BYTES = MAGIC.to_bytes(4, "little")
# The head of a result from its kind on.
pack_result = partial(RESULT.pack, MAGIC)

REQUEST_BYTES = REQUEST.size
RESULT_BYTES = RESULT.size
PACKET_BYTES = 65_536
# Of the body of a result.
BODY_LIMIT_BYTES = 4 * 1024**3
NOTHING = -1

# Kinds of requests. TOOLS: tools that no step of the file names, by name. GOODBYE: no more follow, and the parent takes
# care of what the steps left running. OUTCOMES (on a channel of its own): those of the calls with that number.
SETUP, TOOLS, CALL, GOODBYE, OUTCOMES = range(5)
# Kinds of results. REFUSED: the worker cannot do its work, and the body says why. CALLING: the step that runs makes
# calls; their number takes the place of `started`. WITHDRAWING: it does not wait for them any more.
READY, REFUSED, CALLING, WITHDRAWING, SUCCEEDED, FAILED = range(6)
# Flags of results: the value is None and there is no body; the body is a pair of value and facts.
IS_NONE, HAS_FACTS = 1, 2


# A result as it was read: the fields of its head, less the length, and the body.
Frame: TypeAlias = tuple[int, int, int, int, int, int, bytes | bytearray]


def shared_page(fd: int) -> memoryview:
    """The page of memory behind a descriptor, as integers: the first is when the last step with a timeout began."""
    return memoryview(mmap(fd, PAGESIZE)).cast("q")


def packets(kind: int, index: int, attempt: int, body: bytes, *, polls: bool = False) -> list[bytes | memoryview]:
    """A request as the packets to send. ``polls``: after it, the worker polls for the next."""
    head = REQUEST.pack(kind, polls, index, attempt, len(body))
    if len(body) <= PACKET_BYTES - REQUEST_BYTES:
        return [head + body]
    view = memoryview(body)
    first = PACKET_BYTES - REQUEST_BYTES
    rest = (view[place : place + PACKET_BYTES] for place in range(first, len(body), PACKET_BYTES))
    return [head + body[:first], *rest]


def read_rest(fd: int, first: bytes, size: int) -> bytes | memoryview:
    """The body of a request whose first packet was read; ``size`` is its length in bytes.

    Raises:
        EOFError: the parent is gone.
    """
    if size <= len(first) - REQUEST_BYTES:
        return first[REQUEST_BYTES:]
    body = bytearray(size)
    place = len(first) - REQUEST_BYTES
    body[:place] = first[REQUEST_BYTES:]
    view = memoryview(body)
    while place < size:
        count = os.readv(fd, [view[place:]])
        if not count:
            raise EOFError
        place += count
    return view


def write_all(fd: int, head: bytes, body: bytes) -> None:
    """Write a frame; blocks until the parent has taken it."""
    if not body:
        os.write(fd, head)
        return
    if len(body) <= PACKET_BYTES:
        frame: bytes | memoryview = head + body
        written = os.write(fd, frame)
        if written == len(frame):
            return
        frame = memoryview(frame)[written:]
    else:
        os.write(fd, head)
        frame = memoryview(body)
    while frame:
        frame = frame[os.write(fd, frame) :]


class StrayBytesError(Exception):
    """What came out of a channel is no frame."""


class FrameReader:
    """Cuts what comes out of a pipe into frames."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._rest = b""
        self._large: bytearray | None = None
        self._filled = 0
        self._head: tuple[int, ...] = ()

    def read(self) -> list[Frame] | None:
        """The frames that one read completes, or None at the end of the channel.

        Raises:
            BlockingIOError: there is nothing to read now.
            StrayBytesError: what came is no frame.
        """
        if self._large is not None:
            return self._read_large(self._large)
        data = os.read(self._fd, PACKET_BYTES)
        if not data:
            return None
        if self._rest:
            data = self._rest + data
            self._rest = b""
        return self._cut(data)

    def _cut(self, data: bytes) -> list[Frame]:
        frames: list[Frame] = []
        place = 0
        end = len(data)
        while end - place >= RESULT_BYTES:
            magic, kind, flags, started, ended, cpu, tokens, size = RESULT.unpack_from(data, place)
            if magic != MAGIC or kind > FAILED or size > BODY_LIMIT_BYTES:
                raise StrayBytesError
            body_at = place + RESULT_BYTES
            place = body_at + size
            if place > end:
                if size > PACKET_BYTES:
                    self._begin_large((kind, flags, started, ended, cpu, tokens), data[body_at:], size)
                    return frames
                place = body_at - RESULT_BYTES
                break
            frames.append((kind, flags, started, ended, cpu, tokens, data[body_at:place]))
        if place < end:
            rest = self._rest = data[place:]
            if not rest.startswith(MAGIC_BYTES[: len(rest)]):
                raise StrayBytesError
        return frames

    def _begin_large(self, head: tuple[int, ...], begun: bytes, size: int) -> None:
        self._head = head
        self._large = bytearray(size)
        self._large[: len(begun)] = begun
        self._filled = len(begun)

    def _read_large(self, large: bytearray) -> list[Frame] | None:
        with memoryview(large) as view:
            count = os.readv(self._fd, [view[self._filled :]])
        if not count:
            return None
        self._filled += count
        if self._filled < len(large):
            return []
        kind, flags, started, ended, cpu, tokens = self._head
        self._large = None
        return [(kind, flags, started, ended, cpu, tokens, large)]
