"""A command that ends when the process that started it ends, also when that is killed.

The kernel sends the signal when the thread is gone that started the command, so that thread has to live as long.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

# The check of the parent is for one that was gone before the kernel was asked. Standard library alone, and no site.
_LAUNCH: Final = (
    "import ctypes, os, signal, sys; ctypes.CDLL(None).prctl(1, signal.SIGKILL); "
    "sys.exit(1) if os.getppid() != int(sys.argv[1]) else os.execv(sys.argv[2], sys.argv[2:])"
)


def bound_to_this_process(argv: Sequence[str]) -> list[str]:
    """The command ``argv``, whose program is an absolute path, started through a launcher that binds it."""
    return [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), *argv]
