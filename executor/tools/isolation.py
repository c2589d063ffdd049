"""Programs in namespaces of their own, where bubblewrap is installed: no network, a root that is read-only, no other
process to be seen.

Rules of this module:
- A tool that is to be isolated never runs without: where bubblewrap is missing, it is refused.
- The program may still read what its user may read. What it writes to ``/tmp`` is gone with it.
- It ends with its parent: the kernel kills all that is in its namespace of processes.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

Isolation = Literal["bubblewrap"]

_PROGRAM: Final = "bwrap"
_FIX: Final = "install bubblewrap (Debian: apt install bubblewrap), or leave `isolate` out"
_TEMPORARY: Final = Path("/tmp")  # noqa: S108 - the mount point, and nothing is written there


class NotIsolatedError(Exception):
    """A program cannot be isolated, or is not there. ``fix`` says what to do."""

    def __init__(self, message: str, fix: str = _FIX) -> None:
        super().__init__(message)
        self.fix = fix


def check_isolation() -> str:
    """The path of bubblewrap.

    Raises:
        NotIsolatedError: it is not installed.
    """
    found = shutil.which(_PROGRAM)
    if found is None:
        raise NotIsolatedError(f"isolate: there is no {_PROGRAM!r} on the PATH")
    return found


def isolated(
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    cwd: str | None,
    readable: Iterable[str | Path] = (),
    writable: Iterable[str] = (),
    memory_limit_bytes: int | None = None,
) -> list[str]:
    """The command that runs ``argv`` isolated. ``readable`` is seen even below ``/tmp``, which is empty otherwise;
    ``writable`` are the files that may be written. The memory limit is of address space, for each process.

    Raises:
        NotIsolatedError: bubblewrap or the program is not there.
    """
    program = shutil.which(argv[0], path=environment.get("PATH", os.defpath))
    if program is None:
        raise NotIsolatedError(f"there is no program {argv[0]!r}", "install it, or write its whole path")
    folder = Path(cwd or Path.cwd()).absolute()
    limits: list[str] = []
    if memory_limit_bytes is not None:
        limiting = shutil.which("prlimit")
        if limiting is None:
            raise NotIsolatedError("isolate: there is no 'prlimit' on the PATH", "install util-linux")
        limits = [limiting, f"--as={memory_limit_bytes}"]
    needed = (sys.prefix, sys.base_prefix, *readable, Path(program).parent, folder)
    hidden = {place for one in needed if _TEMPORARY in (place := Path(one).absolute()).parents}
    bound = sorted(str(one) for one in hidden if not hidden.intersection(one.parents))
    return [
        check_isolation(), "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/",
        "--dev", "/dev", "--proc", "/proc", "--tmpfs", str(_TEMPORARY),
        *(part for one in bound for part in ("--ro-bind", one, one)),
        *(part for one in writable for part in ("--bind", one, one)),
        "--chdir", str(folder), "--", *limits, program, *argv[1:],
    ]  # fmt: skip
