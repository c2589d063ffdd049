"""The installed command, as a program: Ctrl-C shows no traceback, from its first instant to its last.

Rules of this module:
- It imports the standard library alone, and the command in the function that handles Ctrl-C: until a command handles it
  itself, some tenths of a second have gone by.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from types import FrameType
from typing import Final

# So long Ctrl-C is not heard when all is done: it would be that of a moment ago, or come too late.
END_SECONDS: Final = 1.0


def program() -> None:
    """Run the command that the arguments name, and end with its exit status."""
    # What is registered first is called last: then Python takes handlers away, and frees its memory for some tenths of
    # a second, in which Ctrl-C would change the exit status.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    try:
        from harness.cli import main  # noqa: PLC0415  # as the head says

        main()
    except KeyboardInterrupt:
        from harness.exit_codes import ExitCode  # noqa: PLC0415  # as the head says

        sys.stderr.write("interrupted\n")
        sys.exit(ExitCode.INTERRUPTED)
    finally:
        _handle_ctrl_c_while_it_ends()


def _handle_ctrl_c_while_it_ends() -> None:
    """Everything was shown and kept. What is left gets a second, in which another Ctrl-C changes nothing."""
    began = time.monotonic()

    def end(number: int, _frame: FrameType | None) -> None:
        if time.monotonic() - began >= END_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end)
