"""What a process holds at this moment: memory, threads, descriptors, children. Linux."""

from __future__ import annotations

import gc
import os
import threading
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final

# After the first tenth, memory may grow by so much.
MOST_GROWTH_RATIO: Final = 1.10


@dataclass(frozen=True, slots=True)
class Footprint:
    """Between two runs, when nothing of one should be left."""

    memory_bytes: int
    threads: int
    descriptors: int
    children: int


def footprint() -> Footprint:
    """Of this process now; children without those that have ended and those of the interpreter's guard."""
    gc.collect()
    fields = Path("/proc/self/statm").read_text(encoding="utf-8").split()
    children = 0
    for place in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            after_the_name = place.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            children += int(after_the_name[1]) == os.getpid()
    return Footprint(
        int(fields[1]) * os.sysconf("SC_PAGE_SIZE"),
        threading.active_count(),
        len(list(Path("/proc/self/fd").iterdir())),
        children,
    )


def growth(tenths: list[Footprint], *, judge_memory: bool) -> list[str]:
    """What has grown since the first tenth, as sentences. Memory is judged where there was enough work to see it."""
    first, found = tenths[0], []
    ratio = max(one.memory_bytes for one in tenths) / first.memory_bytes
    if judge_memory and ratio > MOST_GROWTH_RATIO:
        found.append(f"memory grew to {ratio:.2f} × that after the first tenth")
    if len({astuple(one)[1:] for one in tenths}) > 1:
        kinds = [f"{one.threads} threads, {one.descriptors} descriptors, {one.children} children" for one in tenths]
        found.append(f"not constant: {'; '.join(dict.fromkeys(kinds))}")
    return found
