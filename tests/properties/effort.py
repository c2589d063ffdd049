"""How hard the properties look: as hard as an ordinary `make test` has time for, or as hard as a night has.

``HYPOTHESIS_PROFILE=thorough`` (`make nightly`) gives every property twenty times its examples.
"""

from __future__ import annotations

import os

PROFILES = {"default": 1, "thorough": 20}
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "default")
if PROFILE not in PROFILES:
    raise ValueError(f"HYPOTHESIS_PROFILE={PROFILE}: there are {', '.join(PROFILES)}")


def examples(count: int) -> int:
    """So many examples, in the chosen profile."""
    return count * PROFILES[PROFILE]
