"""Which values are never shown or kept: those whose names say that they are secrets."""

from __future__ import annotations

import os
import re
from typing import Final

SECRET_NAME: Final = re.compile(
    r"api_?key|secret|passw(?:or)?d|passphrase|authorization|credential|private_?key|(?:access|auth|bearer)_?token",
    re.IGNORECASE,
)
# Of a variable the word alone says it; elsewhere it counts tokens of a model.
_VARIABLE: Final = re.compile(rf"{SECRET_NAME.pattern}|(?:^|_)token$", re.IGNORECASE)
# Shorter values are words, and masking them would make a text unreadable.
SECRET_CHARACTERS: Final = 6


def secret_variables() -> list[str]:
    """The names of the environment variables of this process that hold secrets."""
    return [name for name, value in os.environ.items() if len(value) >= SECRET_CHARACTERS and _VARIABLE.search(name)]
