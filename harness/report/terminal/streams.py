"""Standard streams that never fail for a character."""

from __future__ import annotations

import sys


def steady_streams() -> None:
    """Let a stream that cannot show a character (a Latin-1 terminal, a C locale) show its escape instead."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
