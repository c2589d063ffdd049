"""What the steps of the backend suite do. Every function can be imported by a worker process.

Rules of this module:
- Standard library alone, but for the errors that tools may raise.
- Nothing here waits for ever: a step that waits for another gives up after :data:`PATIENCE_SECONDS`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from executor.tools.tool import ToolError

PATIENCE_SECONDS = 30.0
HEARTBEAT_SECONDS = 0.02


def double(value: Any) -> Any:
    """Twice the value."""
    return 2 * value


async def double_async(value: Any) -> Any:
    """The same as a coroutine."""
    await asyncio.sleep(0)
    return 2 * value


def echo(value: Any = None) -> Any:
    """The value."""
    return value


def megabytes(count: int) -> str:
    """A text of so many million characters."""
    return "x" * (count * 1_000_000)


def length(value: Any) -> int:
    """How long it is."""
    return len(value)


def note(folder: str, text: str) -> str:
    """Add a line to the notes of the folder; from any process."""
    with (Path(folder) / "notes").open("a", encoding="utf-8") as notes:
        notes.write(f"{text}\n")
    return text


def notes(folder: str | Path) -> list[str]:
    """The lines so far."""
    path = Path(folder) / "notes"
    return path.read_text(encoding="utf-8").split() if path.exists() else []


def meet(folder: str, name: str, names: Sequence[str]) -> str:
    """Return when all of ``names`` are here at once."""
    place = Path(folder)
    (place / name).touch()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not all((place / other).exists() for other in names):
        if time.monotonic() > deadline:
            raise ToolError(f"{name} waited for {', '.join(names)} in vain")
        time.sleep(0.005)
    return name


def await_note(folder: str, text: str) -> str:
    """Return when this line is among the notes."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while text not in notes(folder):
        if time.monotonic() > deadline:
            raise ToolError(f"{text!r} was not noted in {PATIENCE_SECONDS:g} s")
        time.sleep(0.005)
    return text


def nap(seconds: float) -> float:
    """Sleep."""
    time.sleep(seconds)
    return seconds


def beat(folder: str, seconds: float) -> None:
    """A function that gives a sign of life every now and then, and does not listen. It ends some signs after a note
    "then".
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end and not _has_shown_itself(folder):
        note(folder, "beat")
        time.sleep(HEARTBEAT_SECONDS)
    note(folder, "through")


def _has_shown_itself(folder: str) -> bool:
    found = notes(folder)
    return "then" in found and found[found.index("then") :].count("beat") >= 3


async def beat_async(folder: str, seconds: float) -> None:
    """The same as a coroutine."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not _has_shown_itself(folder):
        note(folder, "beat")
        await asyncio.sleep(HEARTBEAT_SECONDS)
    note(folder, "through")


def die(folder: str, times: int, text: str) -> str:
    """End this process without a word, the first ``times`` times that it is called."""
    note(folder, text)
    if notes(folder).count(text) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(PATIENCE_SECONDS)
    return text


def fail(message: str) -> NoReturn:
    """Raise."""
    raise ValueError(message)


def refuse(message: str) -> NoReturn:
    """An error that no other attempt can help."""
    raise ToolError(message, retryable=False)


def later(folder: str, seconds: float) -> str:
    """Ask for another attempt after some time, then succeed."""
    note(folder, "called")
    if len(notes(folder)) == 1:
        raise ToolError("not yet", retry_after_seconds=seconds)
    return "at last"


def leave() -> NoReturn:
    """What a program does that wants to end."""
    raise SystemExit(3)


def interrupt() -> NoReturn:
    """What Ctrl-C does, in the wrong place."""
    raise KeyboardInterrupt


def stop_iteration() -> NoReturn:
    """An error that no future takes."""
    raise StopIteration("no more")


class MuteError(Exception):
    """An error that fails to say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def mute() -> NoReturn:
    """Raise an error without words."""
    raise MuteError


def local_error() -> NoReturn:
    """Raise an error of a class that cannot be imported, with a value that cannot be pickled."""

    class LocalError(Exception):
        pass

    error = LocalError("local trouble")
    error.lock = threading.Lock()  # type: ignore[attr-defined]  # what makes it hard to send
    raise error


def lock() -> Any:
    """An output that cannot be pickled."""
    return threading.Lock()


def deeply(depth: int) -> int:
    """A traceback of some length."""
    return deeply(depth - 1) if depth else fail("from the bottom")


STEPS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        double, double_async, echo, megabytes, length, note, await_note, meet, nap, beat, beat_async, die, fail, refuse,
        later, leave, interrupt, stop_iteration, mute, local_error, lock, deeply,
    )
}  # fmt: skip
"""The tools of the suite, by name."""
