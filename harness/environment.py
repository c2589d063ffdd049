"""The machine and the software that a result came from: plain facts, read and never changed.

Rules of this module:
- Every fact is a JSON value; one that cannot be had is null, never an error.
- No program is started and nothing is asked over a network.
"""

from __future__ import annotations

import math
import os
import platform
import re
from pathlib import Path
from typing import Any, Final

from harness.version import package_version

_CGROUPS: Final = Path("/sys/fs/cgroup")
_REVISION: Final = re.compile(r"[0-9a-f]{40,64}")


def environment_facts() -> dict[str, Any]:
    """What is in a result under ``environment``. Cores are counts, memory is in bytes."""
    return {
        "makespan_version": package_version(),
        "python_version": platform.python_version(),
        "python_implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "machine": platform.node(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "cpu_limit_cores": cpu_limit_cores(),
        "memory_bytes": memory_bytes(),
        "memory_limit_bytes": memory_limit_bytes(),
        "revision": _revision_here(),
    }


def _revision_here() -> str | None:
    try:
        return source_revision(Path.cwd())
    except FileNotFoundError:  # the current folder is gone
        return None


def usable_cores() -> int:
    """Cores that this process may keep busy: those it may run on, no more than its CPU limit allows, at least 1."""
    from executor.backends.base import usable_cores as affine_cores  # noqa: PLC0415 - heavy, for one fact of many

    limit = cpu_limit_cores()
    cores = affine_cores()
    return cores if limit is None else max(1, min(cores, math.ceil(limit)))


def cpu_limit_cores() -> float | None:
    """The CPU limit of this process' control group (cgroup v2 or v1) in cores, None without one."""
    limits = [_quota(text) for text in _cgroup_texts("cpu.max")]
    quota, period = _text(_CGROUPS / "cpu/cpu.cfs_quota_us"), _text(_CGROUPS / "cpu/cpu.cfs_period_us")
    limits.append(_quota(f"{quota} {period}"))
    return min((limit for limit in limits if limit is not None), default=None)


def memory_limit_bytes() -> int | None:
    """The memory limit of this process' control group, None without one."""
    texts = [*_cgroup_texts("memory.max"), _text(_CGROUPS / "memory/memory.limit_in_bytes")]
    # A v1 group without a limit says the largest page-aligned number.
    limits = [int(text) for text in texts if text.isdecimal() and int(text) < 1 << 60]
    return min(limits, default=None)


def memory_bytes() -> int | None:
    """The memory of the machine."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def source_revision(folder: Path) -> str | None:
    """The commit that is checked out in the git repository around ``folder``, without asking git."""
    for parent in (folder, *folder.parents):
        head = _text(parent / ".git" / "HEAD")
        if not head:
            continue
        if not head.startswith("ref: "):
            return head if _REVISION.fullmatch(head) else None
        name = head.removeprefix("ref: ")
        found = _text(parent / ".git" / name) or _packed_revision(parent / ".git" / "packed-refs", name)
        return found if _REVISION.fullmatch(found) else None
    return None


def _packed_revision(path: Path, name: str) -> str:
    for line in _text(path).splitlines():
        revision, _, reference = line.partition(" ")
        if reference == name:
            return revision
    return ""


def _cgroup_texts(name: str) -> list[str]:
    """The file of that name in this process' own group and in all above it: the tightest limit counts."""
    own = next((line[3:] for line in _text(Path("/proc/self/cgroup")).splitlines() if line.startswith("0::")), "/")
    folder = _CGROUPS / own.lstrip("/")
    folders = [folder, *(parent for parent in folder.parents if parent.is_relative_to(_CGROUPS))]
    return [text for text in (_text(place / name) for place in folders) if text]


def _quota(text: str) -> float | None:
    quota, _, period = text.partition(" ")
    if not quota.isdecimal() or not period.isdecimal() or int(period) == 0:
        return None
    return int(quota) / int(period)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
