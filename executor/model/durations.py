"""How long anything may be said to take. Worker processes import this, and no models."""

from __future__ import annotations

from typing import Final

# 31 years: no clock and no wait of an operating system has to count further.
LONGEST_SECONDS: Final = 1_000_000_000
