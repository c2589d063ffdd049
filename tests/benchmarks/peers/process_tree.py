"""The processes that one has started, from Linux's /proc: daemons of a peer count as the peer, and end with it."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def tree(root: int) -> dict[int, int]:
    """Clock ticks of CPU time of each process of the tree, of its children that have ended, too."""
    times: dict[int, int] = {}
    children: dict[int, list[int]] = {}
    for place in Path("/proc").iterdir():
        if not place.name.isdigit():
            continue
        try:
            fields = (place / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        # proc(5), behind the name: ppid is field 4; utime, stime, cutime and cstime are 14 to 17.
        times[int(place.name)] = sum(map(int, fields[11:15]))
        children.setdefault(int(fields[1]), []).append(int(place.name))
    found: dict[int, int] = {}
    waiting = [root]
    while waiting:
        process = waiting.pop()
        found[process] = times.get(process, 0)
        waiting += children.get(process, [])
    return found


def cpu_seconds_below() -> float:
    """User and system time of all processes below this one. Those that have ended count once this one knows of it."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    living = tree(os.getpid())
    del living[os.getpid()]
    return ended.ru_utime + ended.ru_stime + sum(living.values()) / _TICKS


def end(processes: list[int]) -> None:
    """End those that are still there."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
