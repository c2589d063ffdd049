"""What can be wrong with a journal, said so that a person knows what to do."""

from __future__ import annotations


class JournalError(Exception):
    """The journal cannot be used. ``fix`` says what to do."""

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.fix = fix
