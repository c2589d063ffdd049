"""Runs on `processes`, and which processes there are before and after."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from executor import Run, Step, Workflow, run
from executor.backends.processes.process_backend import ProcessesBackend
from tests.movable_clock import MovableClock

DIES = 10.0


def steps_of(*steps: Step) -> Workflow:
    return Workflow(steps=steps)


def go(*steps: Step, workers: int = 2, **options: Any) -> Run:
    return run(steps_of(*steps), backend="processes", workers=workers, **options)


def go_until(condition: Callable[[], Any], *steps: Step, workers: int = 2, **options: Any) -> Run:
    """Run them; no time of theirs passes until the condition holds, then a minute does at once."""
    backend = ProcessesBackend(workers)
    clock = MovableClock(backend)
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            if condition():
                clock.move(60)
                return

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        return run(steps_of(*steps), backend=backend, **options)
    finally:
        over.set()
        watching.join()


def written(path: Path) -> bool:
    """Whether it is there, and its last character, a space."""
    return path.exists() and path.read_text().endswith(" ")


def children() -> list[int]:
    """The processes whose parent this one is."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            found.append(int(stat.parent.name))
    return found


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie that waits for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pid: int) -> bool:
    """Whether a process ends within a patient while."""
    until = time.monotonic() + DIES
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.01)
    return not alive(pid)


@pytest.fixture(autouse=True)
def no_child_is_left() -> Iterator[None]:
    before = set(children())
    yield
    assert set(children()) <= before


def die_once(marker: str) -> str:
    path = Path(marker)
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "second time lucky"
