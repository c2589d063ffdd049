"""A stand-in for a model service, so that every scenario runs on a laptop without a key.

It speaks OpenAI's chat completions on loopback. It answers in no time, or in exactly the time that is asked for. Every
output says that it is a stand-in.

Rules of this module:
- It names what is public; each name is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from executor.lazy_names import lazy_names

if TYPE_CHECKING:
    from harness.standin.declarations import with_stand_in
    from harness.standin.standin_server import StandIn

_NAMES = {
    "harness.standin.declarations": ("with_stand_in",),
    "harness.standin.standin_server": ("StandIn",),
}

__all__ = ["StandIn", "with_stand_in"]

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
