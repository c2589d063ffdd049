"""What is wrong with a dashboard: where, what, and what to do. Data.

Rules of this module:
- It is light: code that only shows findings imports nothing heavy.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """``where`` names the file and the panel; ``fix`` may be empty."""

    where: str
    what: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f"\n    fix: {self.fix}" if self.fix else "")
