"""Recorded calls: what was asked, what came back and how long it took, so that a measured pipeline can be benchmarked
again for nothing. Here are the words; :mod:`harness.benchmark.recorded_calls.call_recording` writes them,
:mod:`harness.benchmark.recorded_calls.call_reading` reads them, :mod:`harness.benchmark.recorded_calls.call_replay`
plays them.

A file of JSON lines: ``{"schema": "makespan.calls/2"}``, then one line for each run with its calls, an entry for each
attempt. ``makespan.calls/1`` has no calls of running code and no items of mapped steps; it can still be read.

Rules of this module:
- A call is found again by step, attempt, and what its prompt and arguments were once rendered.
- An attempt that made calls has a :class:`Plan`: its own running time, and what it asked together or in turn.
- Synthetic tools and those that compute in Python really run in a replay: they cost nothing, and a wait would not be
  what they do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from executor.tools.tool import Tool

SCHEMA: Final = "makespan.calls/2"
OLDER_SCHEMA: Final = "makespan.calls/1"
_SYNTHETIC: Final = frozenset({"noop", "sleep", "busy", "flaky"})
# Rendered prompt and arguments as a key of this many bytes.
_KEY_BYTES: Final = 12


class RecordingError(Exception):
    """A file of calls that cannot be written or read; the message says what to do."""


class Ask(NamedTuple):
    """Calls that an attempt asked at once, ``after_seconds`` from the moment at which it began to wait. With
    ``at_once`` only so many of them are under way at a time. ``withdrawn_after_seconds``: so long after it asked, it
    waited no more for those that were not over.
    """

    after_seconds: float
    calls: tuple[str, ...]
    at_once: int | None = None
    withdrawn_after_seconds: float | None = None


class Plan(NamedTuple):
    """How an attempt spent its time: ``own_seconds`` before its first wait, between its waits, and after its last."""

    own_seconds: tuple[float, ...]
    waits: tuple[tuple[Ask, ...], ...]


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One attempt: ``seconds`` from start to end; ``output`` if it succeeded, else ``error``. ``last``: the step failed
    with it. ``called``: by running code, so that ``prompt`` and ``args`` are what that gave (kept where the tool really
    runs in a replay). An ``outcome`` of ``cancelled`` without ``seconds`` never began. ``tool`` is None in older files.
    """

    step_id: str
    attempt: int
    key: str
    seconds: float
    outcome: str
    output: Any = None
    error: str | None = None
    error_type: str | None = None
    tokens_used: int | None = None
    last: bool = True
    tool: str | None = None
    parent: str | None = None
    called: bool = False
    plan: Plan | None = None
    prompt: str | None = None
    args: Mapping[str, Any] | None = None


def is_recorded(tool: Tool) -> bool:
    """Whether its calls are worth recording: not those of tools that really run in a replay."""
    return tool.kind not in _SYNTHETIC and not tool.cpu_bound


def call_key(prompt: str | None, args: Mapping[str, Any]) -> str:
    """A short name of what a step's call is about."""
    return _digest([prompt, args])


def called_key(prompt: str | None, args: Mapping[str, Any]) -> str:
    """The same for a call that running code made. Texts, numbers and the like count by their value, anything else by
    its type: code may have changed it since (a list of messages grows), and there is no copy.
    """
    plain = (str, int, float, type(None))
    return _digest([prompt, {name: [value] if isinstance(value, plain) else type(value).__name__
                             for name, value in args.items()}])  # fmt: skip


def _digest(value: Any) -> str:
    try:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=repr)
    except (TypeError, ValueError, RecursionError):
        # Keys that JSON does not know or that cannot be sorted, values that hold themselves.
        text = repr(value)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_KEY_BYTES).hexdigest()
