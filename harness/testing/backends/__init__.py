"""The conformance suite for backends: the same facts hold for every backend. And what watches one while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from executor.lazy_names import lazy_names

if TYPE_CHECKING:
    from harness.testing.backends.backend_case import CANNOT, CAPABILITIES, needs, step
    from harness.testing.backends.backend_suite import BackendConformance
    from harness.testing.backends.protocol_watch import ProtocolError, watch

_NAMES = {
    "harness.testing.backends.backend_case": ("CANNOT", "CAPABILITIES", "needs", "step"),
    "harness.testing.backends.backend_suite": ("BackendConformance",),
    "harness.testing.backends.protocol_watch": ("ProtocolError", "watch"),
}

__all__ = ["CANNOT", "CAPABILITIES", "BackendConformance", "ProtocolError", "needs", "step", "watch"]

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
