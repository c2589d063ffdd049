"""The key of a call in a cache: a digest of all that shapes its output.

Rules of this module:
- It is the identity by which a resumed run knows its steps (:mod:`executor.tools.identity`), and what a tool receives
  of the run: its seed and scale.
- What cannot be compared has no key, and is never taken from a cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from executor.tools.identity import ToolIdentity, call_identity, digest_of, tool_identity
from executor.tools.tool import RunContext, Tool


class CallKeys:
    """Keys of the calls of one run. Tools are looked at once."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        # The tool is kept, so that no other gets its number.
        self._tools: dict[int, tuple[Tool, ToolIdentity]] = {}

    def key(self, tool_name: str | None, tool: Tool, prompt: str | None, args: Mapping[str, Any]) -> str | None:
        """The key of a call as it would be made; None where it cannot be compared."""
        known = self._tools.get(id(tool))
        if known is None:
            known = self._tools[id(tool)] = tool, tool_identity(tool)
        identity = [*known[1], *call_identity(tool, prompt, args)]
        if None in identity:
            return None
        return digest_of([tool_name, *identity, self._context.seed, self._context.scale])
