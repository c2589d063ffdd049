"""Where a configuration comes from, and whether there is any: without reading it.

Rules of this module:
- It imports nothing heavy: a command that needs one setting alone asks here first whether there is one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

PREFIX: Final = "MAKESPAN_"
FILE_NAME: Final = "config.yaml"


def has_variables() -> bool:
    """Whether an environment variable names a setting."""
    return any(name.upper().startswith(PREFIX) for name in os.environ)


def is_configured(path: str | None) -> bool:
    """Whether a file is named or lies in the current folder, or a variable is set. Else what travels with the package
    holds.
    """
    return path is not None or Path(FILE_NAME).is_file() or has_variables()
