"""Random workflows with random faults, played on the virtual clock and on real backends, and judged by the oracle.

A run that was found is kept in a file, and read back to be pinned in a test (``write_replay``, ``read_replay``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from executor.lazy_names import lazy_names

if TYPE_CHECKING:
    from harness.testing.fuzz.replay_files import read_replay, write_replay

_NAMES = {"harness.testing.fuzz.replay_files": ("read_replay", "write_replay")}

__all__ = ["read_replay", "write_replay"]

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
