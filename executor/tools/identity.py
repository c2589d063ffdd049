"""What makes two calls the same: their tool's declaration and code, prompt and arguments, each as a digest.

Rules of this module:
- Only what shapes an output counts: no time limits, no numbers of connections, no keys.
- What cannot be compared has no digest (None), and is never the same as anything.
- Digests are 128 bits of BLAKE2b.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

from executor.tools.tool import Tool

_DIGEST_BYTES = 16


class ToolIdentity(NamedTuple):
    """Digests of how a tool is declared, and of its code."""

    declaration: str | None
    code: str | None


class CallIdentity(NamedTuple):
    """Digests of what a tool is given."""

    prompt: str | None
    args: str | None


def digest_of(value: Any) -> str | None:
    """The digest of a value that JSON can hold; None where it cannot."""
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        return None
    return _digest(text)


def call_identity(tool: Tool, prompt: str | None, args: Mapping[str, Any]) -> CallIdentity:
    """The identity of a call as it is made."""
    given: Any = args
    if args:
        read = tool.files_read(args)
        given = [dict(args), read] if read else dict(args)
    return CallIdentity("-" if prompt is None else _digest(prompt), "-" if not args else digest_of(given))


def tool_identity(tool: Tool) -> ToolIdentity:
    """The identity of a tool as it is now."""
    return ToolIdentity(digest_of([tool.kind, tool.declared_words()]), digest_of(tool.code_words()))


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).hexdigest()
