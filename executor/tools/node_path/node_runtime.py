"""``node_runtime`` as nodes and scripts import it.

In a node its calls take the node's channel; anywhere else it is :mod:`executor.node_runtime`, the very same module.

Rules of this module:
- It decides which of the two it is, and nothing else.
"""

from __future__ import annotations

import sys
from importlib import import_module

_child = sys.modules.get("node_child")
if _child is not None and _child.channel >= 0:
    _channel = import_module("node_channel")
    _calls = import_module("node_calls")
    _calls.__dict__["transport"] = _channel.ChannelTransport(_child.channel)
    globals().update({name: getattr(_calls, name) for name in _calls.PUBLIC})

    def declare_tools(*_: object, **__: object) -> None:
        """In a run it does nothing: there the run's tools hold."""

else:
    sys.modules[__name__] = import_module("executor.node_runtime")
