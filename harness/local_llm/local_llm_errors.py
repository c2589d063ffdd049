"""What can be wrong with a local model, in words for a person."""

from __future__ import annotations


class LocalModelError(Exception):
    """The local model cannot be had. The message says why, ``fix`` what to do."""

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.fix = fix
