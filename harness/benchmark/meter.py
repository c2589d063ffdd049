"""What a run took from the machine: CPU time, context switches, memory. And what machine it was.

Rules of this module:
- Figures are differences over the whole run, start and end of the workers included. Figures of child processes count
  once they have ended; a backend ends them before it returns.
- The peak memory of this process is that of the run where the kernel lets it be reset (Linux), else that of the process
  so far. Of children that have ended it is the largest one so far: the kernel keeps no more. A child inherits the peak
  of the process that starts it, also where it runs another program, so its own is known only above that.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import resource
import sys
import sysconfig
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

from harness.environment import environment_facts

_CLEAR_REFS: Final = "/proc/self/clear_refs"
_STATUS: Final = "/proc/self/status"
# Sets the peak to what is resident now (proc(5)).
_RESET: Final = b"5"
_PEAK: Final = re.compile(rb"^VmHWM:\s*(\d+)", re.MULTILINE)
_KIB: Final = 1024
_STATUS_BYTES: Final = 65536
_MAXRSS_UNIT: Final = 1 if sys.platform == "darwin" else _KIB
_PACKAGES: Final = ("pydantic", "jinja2", "httpx", "numpy", "scipy")
_GOVERNOR: Final = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


@dataclass(frozen=True, slots=True)
class Usage:
    """Of this process and its children. Memory is in bytes; None where it is unknown, as of smaller ended children."""

    cpu_seconds: float
    voluntary_context_switches: int
    involuntary_context_switches: int
    peak_memory_bytes: int | None
    children_peak_memory_bytes: int | None


class Meter:
    """``meter = Meter(); …; usage = meter.stop()``. ``living`` answers the process ids of children that live on."""

    # The highest peak of this process that any meter has seen: a child's is at least the one at its start.
    _own_peak_bytes: ClassVar[int] = 0

    def __init__(self, living: Callable[[], Iterable[int]] = tuple) -> None:
        self._files = _peak_files(os.getpid())
        self._note_own_peak()
        if self._files is not None:
            os.pwrite(self._files.reset, _RESET, 0)
        self._living = living
        self._begin = self._counts()

    def _counts(self) -> tuple[float, ...]:
        """CPU seconds, voluntary and involuntary context switches. A child that ends stays counted."""
        own, others = _counts(), [_counts_of(pid) for pid in self._living()]
        return tuple(map(sum, zip(own, *others, strict=True))) if others else own

    def stop(self) -> Usage:
        """The usage since the meter was made."""
        cpu, voluntary, involuntary = (
            after - before for after, before in zip(self._counts(), self._begin, strict=True)
        )
        own_peak = self._note_own_peak()
        ended = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * _MAXRSS_UNIT
        peaks = [_peak_of(pid) or 0 for pid in self._living()]
        children = max([ended if ended > Meter._own_peak_bytes else 0, *peaks])
        return Usage(cpu, int(voluntary), int(involuntary), own_peak, children or None)

    def _note_own_peak(self) -> int:
        """The peak of this process in bytes, since it was last reset if it can be."""
        peak = None if self._files is None else _peak_in(os.pread(self._files.status, _STATUS_BYTES, 0))
        if peak is None:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT
        before = 0 if self._files is None else self._files.peak_before_bytes
        Meter._own_peak_bytes = max(Meter._own_peak_bytes, peak, before)
        return peak


def _counts() -> tuple[float, float, float]:
    own, ended = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return (
        own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime,
        own.ru_nvcsw + ended.ru_nvcsw,
        own.ru_nivcsw + ended.ru_nivcsw,
    )


def _counts_of(pid: int) -> tuple[float, float, float]:
    """The same of a child that lives on, its own children that have ended included."""
    process = Path(f"/proc/{pid}")
    try:
        # Behind the name, which may hold anything: utime, stime, cutime and cstime are fields 14 to 17 (proc(5)).
        fields = (process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        ticks = sum(map(int, fields[11:15]))
        status = dict(line.split(":", 1) for line in (process / "status").read_text(encoding="utf-8").splitlines())
        switches = [float(status[f"{kind}_ctxt_switches"]) for kind in ("voluntary", "nonvoluntary")]
    except (OSError, ValueError, KeyError):
        return 0.0, 0.0, 0.0
    return ticks / os.sysconf("SC_CLK_TCK"), switches[0], switches[1]


class _PeakFiles(NamedTuple):
    """Descriptors of the files that reset and tell the peak memory of this process, and its peak before any reset."""

    reset: int
    status: int
    peak_before_bytes: int


@cache
def _peak_files(process_id: int) -> _PeakFiles | None:  # noqa: ARG001 - a process that was forked has files of its own
    """They stay open: to open them for each run takes as long as a short step. None where the peak cannot be reset."""
    with contextlib.suppress(OSError), contextlib.ExitStack() as failing:
        reset = os.open(_CLEAR_REFS, os.O_WRONLY)
        failing.callback(os.close, reset)
        status = os.open(_STATUS, os.O_RDONLY)
        failing.callback(os.close, status)
        peak_before = _peak_in(os.pread(status, _STATUS_BYTES, 0))
        os.pwrite(reset, _RESET, 0)
        failing.pop_all()
        return _PeakFiles(reset, status, peak_before or 0)
    return None


def _peak_of(process_id: int) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        return _peak_in(Path(f"/proc/{process_id}/status").read_bytes())
    return None


def _peak_in(status: bytes) -> int | None:
    found = _PEAK.search(status)
    return None if found is None else int(found[1]) * _KIB


def machine_facts() -> dict[str, Any]:
    """What is in a benchmark's ``environment``: everything that a result may depend on."""
    return {
        **environment_facts(),
        "affinity": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "load_average_at_start": _load(),
        "cpu_governor": _governor(),
        "python_build": " ".join(platform.python_build()),
        "python_compiler": platform.python_compiler(),
        "python_gil": not sysconfig.get_config_var("Py_GIL_DISABLED"),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def _load() -> list[float] | None:
    try:
        return list(os.getloadavg())
    except OSError:
        return None


def _governor() -> str | None:
    try:
        return _GOVERNOR.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
