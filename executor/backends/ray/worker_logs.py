"""What a worker of Ray wrote before it died: Ray keeps it in files of its node, which are read if that is this one."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from executor.backends.worker_output import KEPT_BYTES, readable_end
from executor.record.timeline import NANOSECONDS

# As Ray describes the death of an actor.
_PROCESS = re.compile(r"^\s*pid: (\d+)$", re.MULTILINE)
_ADDRESS = re.compile(r"^\s*ip: (\S+)$", re.MULTILINE)
# What it says of every death alike, and names that it has for itself: they hide what comes after them.
_ALIKE = re.compile(
    r"^\s*(class_name|actor_id|name|namespace|pid|ip): .*\n?"
    r"|The actor (died unexpectedly before finishing this task|is dead because its worker process has died)\."
    r"|Worker exit (type: SYSTEM_ERROR|detail:)"
    r"| Some common causes include: .*",
    re.MULTILINE,
)
# Lines that Ray writes there for itself.
_MARKS = re.compile(rb"^:(job_id|actor_name|task_name):.*\n?", re.MULTILINE)


def death_in_words(said: str) -> str:
    """What Ray says of this death."""
    process, address = _PROCESS.search(said), _ADDRESS.search(said)
    if process is None or address is None:
        return said
    return f"process {process[1]} on {address[1]}, {' '.join(_ALIKE.sub('', said).split())}"


def last_written(said: str, since: int) -> str:
    """The end of what it wrote ``since`` then (nanoseconds of ``time.perf_counter_ns``), for people and without
    secrets; nothing where its node is another machine. ``said``: what Ray says of its death.
    """
    process, address = _PROCESS.search(said), _ADDRESS.search(said)
    worker: Any = sys.modules["ray._private.worker"]
    node = worker._global_node  # noqa: SLF001  # Ray says in no other way where its files are
    if process is None or address is None or node is None or address[1] != node.node_ip_address:
        return ""
    return readable_end(b"".join(_ends(Path(node.get_logs_dir_path()), process[1], since)))


def _ends(folder: Path, process: str, since: int) -> Iterator[bytes]:
    """Of its stdout and stderr, where they were written to since then."""
    then = time.time_ns() - (time.perf_counter_ns() - since)
    for stream in ("out", "err"):
        for path in folder.glob(f"worker-*-{process}.{stream}"):
            with suppress(OSError), path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - KEPT_BYTES))
                if path.stat().st_mtime_ns >= then - NANOSECONDS:
                    yield _MARKS.sub(b"", file.read())
