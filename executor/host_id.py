"""Which clock this machine has, and since which start of it: what decides whether two processes' times can be compared.

Rules of this module:
- The standard library alone: it is also sent to workers on which makespan is not installed.
"""

from __future__ import annotations

import os
import platform
from functools import lru_cache
from pathlib import Path


def read_machine() -> str:
    """Names the machine, its start, and the time namespace: where all are the same, so is the monotonic clock."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return platform.node()
    try:
        # Containers may have a monotonic clock of their own.
        return f"{boot} {os.readlink('/proc/self/ns/time')}"  # noqa: PTH115  # it leads nowhere: only its text is wanted
    except OSError:
        return boot


@lru_cache(maxsize=1)
def machine() -> str:
    """The same for this process, read once."""
    return read_machine()


@lru_cache(maxsize=1)
def host() -> str:
    """What people call the machine."""
    return platform.node()
