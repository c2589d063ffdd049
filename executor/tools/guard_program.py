"""The program of the guard: it lives beside a process that starts programs, and kills those when that process dies.

Rules of this module:
- The standard library alone, and little of it: it starts within some milliseconds, and is started as a file.
- It kills when the process that it watches dies, however that dies, and not when it hears that all is over.
- What it kills: the process groups that were sent to it, and every process whose environment has the mark.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress

# The variable whose value marks programs that a process started, and what they start, in whatever session.
MARK_VARIABLE = "RUN_BY_MAKESPAN"
NUMBER_BYTES = 8
ALL_IS_OVER = 0
# How often what bears the mark is looked for: a process may start another between the look and its end.
_ROUNDS = 20
_LOOK_AGAIN_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


def marked(mark: str) -> list[int]:
    """The processes of this user that bear a mark that begins like that. It needs ``/proc``."""
    wanted = f"{MARK_VARIABLE}={mark}".encode()
    found = []
    for place in os.scandir("/proc"):
        if not place.name.isdigit():
            continue
        try:
            environment = os.open(f"/proc/{place.name}/environ", os.O_RDONLY)
        except OSError:  # it has ended, or belongs to another user
            continue
        try:
            text = b""
            while piece := os.read(environment, 65_536):
                text += piece
        except OSError:
            continue
        finally:
            os.close(environment)
        if text.startswith(wanted) or b"\0" + wanted in text:
            found.append(int(place.name))
    return found


def kill_marked(mark: str) -> None:
    """Kill them, and what they start meanwhile. Not the caller, whatever it bears."""
    for _ in range(_ROUNDS):
        living = [pid for pid in marked(mark) if pid != os.getpid()]
        if not living:
            return
        for pid in living:
            _kill(os.kill, pid)


def _kill(send: Callable[[int, int], None], number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        send(number, signal.SIGKILL)


def _opened(parent: int) -> int:
    """A descriptor by which the end of the parent is seen; -1 where it has ended."""
    try:
        watched = os.pidfd_open(parent)
    except ProcessLookupError:
        return -1
    return watched if os.getppid() == parent else -1


def watch(reading: int, parent: int, groups: set[int]) -> bool:
    """Wait for the end; ``groups`` holds what is to be killed then. Returns whether it is."""
    watched = _opened(parent)
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    if watched >= 0:
        poll.register(watched, select.POLLIN)
    while True:
        ready = [] if watched < 0 else [number for number, _ in poll.poll()]
        died = watched < 0 or watched in ready
        try:
            said = os.read(reading, 4096)
        except BlockingIOError:
            said = b""
            if died:
                return True
        for place in range(0, len(said), NUMBER_BYTES):
            number = int.from_bytes(said[place : place + NUMBER_BYTES], "little", signed=True)
            if number == ALL_IS_OVER:
                return False
            if number > 0:
                groups.add(number)
            else:
                groups.discard(-number)
        if not said and reading in ready and not died:
            # The other end is closed, and the process lives: it has become another program, or closed what it had.
            poll.unregister(reading)
        elif not said and died:
            return True


def main() -> None:
    """Watch, and kill."""
    reading, parent, mark = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.set_blocking(reading, False)
    groups: set[int] = set()
    if watch(reading, parent, groups):
        for group in groups:
            _kill(os.killpg, group)
        # A program that was about to start bears no mark yet, and its group was not sent.
        for seconds in _LOOK_AGAIN_SECONDS:
            kill_marked(mark)
            time.sleep(seconds)
        kill_marked(mark)


if __name__ == "__main__":
    main()
