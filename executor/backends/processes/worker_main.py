"""The program of a worker process: ``python worker_main.py REQUESTS RESULTS OUTCOMES PAGE`` (file descriptors).

It is run by its path, and not imported by the worker's parent as ``__main__``: so that scripts need no ``__main__``
guard. Standard library alone until the parent's path is known.

Rules of this module:
- A worker ends with its parent: the kernel sends SIGTERM when the parent dies, and the channel ends.
- SIGTERM ends a step as an exception would, so that it can clean up; an orphan takes its process group along.
- SIGINT is the parent's affair.
- The channels are this process's alone: neither programs that a step starts nor processes that it forks have them.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from contextlib import suppress
from types import FrameType

_PR_SET_PDEATHSIG = 1
_FIRST_PACKET_BYTES = 1_048_576


class Ending:
    """Whether this process was asked to end; the step that runs then must not be reported as failed."""

    asked = False


def main(requests: int, results: int, outcomes: int, page: int) -> None:
    """Be a worker until the parent has no more work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    _keep((requests, results, outcomes, page))
    first = os.read(requests, _FIRST_PACKET_BYTES)
    if not first:
        return
    setting = json.loads(first)
    parent: int = setting["parent"]
    _end_with(parent)
    sys.path[:] = setting["path"]
    sys.argv[:] = setting["argv"]

    from executor.backends.processes.serving import serve  # noqa: PLC0415  # the path was not known before

    orphaned = False
    try:
        try:
            orphaned = not serve(requests, results, outcomes, page, Ending)
        finally:
            # A parent that dies ends the channel and has a signal sent to this process, which may come right here.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
    finally:
        # The channel may end before this process has its new parent.
        if orphaned or os.getppid() != parent or _is_ending(parent):
            _end_group()


def _keep(channels: tuple[int, ...]) -> None:
    for channel in channels:
        os.set_inheritable(channel, False)

    def let_go() -> None:
        # Their numbers stay taken: nothing that is opened there later is taken for a channel.
        nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for channel in channels:
            os.dup2(nowhere, channel, inheritable=False)
        os.close(nowhere)

    os.register_at_fork(after_in_child=let_go)


def _end(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Ending.asked = True
    if (guard := sys.modules.get("executor.tools.process_guard")) is not None:
        guard.end_in_haste()
    # A hook of the garbage collector may swallow what is raised here, and there may be a coroutine that has yet to
    # begin: that is not worth a word on stderr.
    sys.unraisablehook = lambda _: None
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    raise SystemExit(128 + signal.SIGTERM)


def _end_with(parent: int) -> None:
    """Ask the kernel for a SIGTERM when the parent dies."""
    with suppress(ImportError, OSError, AttributeError):
        import ctypes  # noqa: PLC0415  # a build without it has the end of the channel alone

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise SystemExit(1)


def _is_ending(process_id: int) -> bool:
    """Whether a process is killed or ends: the kernel's signal comes when the thread is gone that started this process,
    and until the others are gone, too, its parent is the same.
    """
    try:
        with open(f"/proc/{process_id}/status", encoding="ascii", errors="replace") as file:  # noqa: PTH123  # pathlib is not loaded here
            said = dict(line.split(":", 1) for line in file if ":" in line)
    except OSError:
        return True
    # The threads of a process that ends have SIGKILL to come (signal(7): bit 9 - 1), however it ends.
    return said["State"].split()[0] in "ZXx" or bool(int(said["SigPnd"], 16) >> signal.SIGKILL - 1 & 1)


def _end_group() -> None:
    """No other process is left to kill what the steps started: kill it now."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:5]))
