"""What programs a process has started ends with it, however it ends: SIGKILL leaves it no time to see to that.

Rules of this module:
- The guard, a small process (:mod:`executor.tools.guard_program`), is started when the first program is, and serves all
  runs of this process. It hears of every process group over a pipe; the death of this process it sees by itself.
- Programs bear a mark in their environment, by which they are found where they have left their group (``setsid``). One
  that has left the group and cleared its environment is not found.
- Writing to the guard never blocks. A group that was not sent to it is found by the mark.
"""

from __future__ import annotations

import atexit
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from executor.tools.guard_program import ALL_IS_OVER, MARK_VARIABLE, NUMBER_BYTES

# It leaves at once, but may be starting yet.
_PATIENCE_SECONDS = 2.0
# One that dies again and again cannot run here.
_MOST_STARTS = 5
_PROGRAM = Path(__file__).with_name("guard_program.py")


class ProcessGuard:
    """The guard of this process. ``groups``: those that are to be watched when it has to be started again.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, mark: str, groups: Iterable[int]) -> None:
        self.process_id = os.getpid()
        reading, self._writing = os.pipe()
        try:
            os.set_blocking(self._writing, False)
            self._process = subprocess.Popen(  # noqa: S603 - our own program in our own interpreter
                [sys.executable, "-I", "-S", str(_PROGRAM), str(reading), str(self.process_id), mark],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={},
                cwd="/",
                start_new_session=True,
                pass_fds=(reading,),
            )
        except BaseException:
            os.close(self._writing)
            raise
        finally:
            os.close(reading)
        for group in groups:
            self.send(group)

    def send(self, number: int) -> bool:
        """A process group to watch; negative: one that is gone. False: the guard has died."""
        try:
            os.write(self._writing, number.to_bytes(NUMBER_BYTES, "little", signed=True))
        except BlockingIOError:
            pass
        except OSError:
            return False
        return True

    def end(self) -> None:
        """This process ends in peace."""
        self.send(ALL_IS_OVER)
        with suppress(OSError):
            os.close(self._writing)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE_SECONDS)


class _Programs:
    """The programs of this process, and its guard once there are some."""

    def __init__(self) -> None:
        self.mark = ""
        self._guard: ProcessGuard | None = None
        self._groups: set[int] = set()
        self._lock = threading.Lock()
        self._count = 0
        self._starts = 0
        self.is_ended = False

    def next_mark(self) -> str:
        """The mark of the next program, with the guard there."""
        with self._lock:
            self._ready()
            self._count += 1
            return f"{self.mark}.{self._count}."

    def begin(self, group: int) -> None:
        with self._lock:
            self._groups.add(group)
            if self._guard is not None and not self._guard.send(group):
                self._guard = None
                # The program runs already; the next one tries again.
                with suppress(OSError):
                    self._ready()

    def end(self, group: int) -> None:
        with self._lock:
            self._groups.discard(group)
            if self._guard is not None and self._guard.process_id == os.getpid():
                self._guard.send(-group)

    def leave(self) -> None:
        if not self.is_ended and self._guard is not None and self._guard.process_id == os.getpid():
            self._guard.end()

    def _ready(self) -> None:
        guard = self._guard
        if guard is not None and guard.process_id == os.getpid():
            return
        if guard is not None:
            # This process was forked off the one that the guard watches.
            self._guard = None
            self._groups.clear()
        if guard is not None or not self.mark:
            self.mark = f"{os.getpid()}-{secrets.token_hex(8)}"
            self._starts = 0
        # Where the interpreter is a part of another program, there may be none that could run the guard.
        if sys.executable and self._starts < _MOST_STARTS:
            self._starts += 1
            self._guard = ProcessGuard(self.mark, self._groups)


_programs = _Programs()
os.register_at_fork(after_in_child=lambda: setattr(_programs, "_lock", threading.Lock()))

next_mark: Callable[[], str] = _programs.next_mark
began: Callable[[int], None] = _programs.begin
ended: Callable[[int], None] = _programs.end


@contextmanager
def code_guarded() -> Iterator[None]:
    """In this block, what code of steps starts in this process by itself bears the mark, too: for a process that is
    nothing but a run.

    Raises:
        OSError: the guard cannot be started.
    """
    before = os.environ.get(MARK_VARIABLE)
    os.environ[MARK_VARIABLE] = next_mark()
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(MARK_VARIABLE, None)
        else:
            os.environ[MARK_VARIABLE] = before


def end_in_haste() -> None:
    """This process is being ended, perhaps while it starts a program: leave what there is to the guard. May
    be called by a signal handler.
    """
    _programs.is_ended = True


@atexit.register
def _leave() -> None:
    _programs.leave()
