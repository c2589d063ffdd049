"""Against prefix caches: a model service that has seen a prompt before answers sooner, and a benchmark asks the same
again and again.

Rules of this module:
- Each run has a nonce of its own, at the very beginning of what the model reads: a cache keeps beginnings.
- Within a run nothing changes: calls with the same system text share their beginning as they do in production.
- The stand-in has no cache and gets no nonce.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Literal

from executor.model.workflow import ToolDeclaration
from executor.tools.llm import LlmOptions, LlmTool
from executor.tools.registry import Declared

CacheMode = Literal["unique", "allow"]


class UniqueLlmTool(LlmTool):
    """A model tool that begins every system text with a line that no run had before."""

    def __init__(self, name: str, options: LlmOptions | None = None) -> None:
        super().__init__(name, options)
        self.nonce = ""

    def call(self, context: Any, prompt: str | None, args: Mapping[str, Any]) -> Any:
        """Ask, in this thread."""
        return super().call(context, prompt, self.marked(args))

    async def call_async(self, context: Any, prompt: str | None, args: Mapping[str, Any]) -> Any:
        """Ask, without a thread."""
        return await super().call_async(context, prompt, self.marked(args))

    def marked(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments with the nonce in them."""
        mark = f"[{self.nonce}] This line is to be ignored."
        messages = args.get("messages")
        if isinstance(messages, list) and messages:
            first = messages[0]
            if isinstance(first, Mapping) and isinstance(first.get("content"), str):
                return {**args, "messages": [{**first, "content": f"{mark}\n{first['content']}"}, *messages[1:]]}
            return {**args, "messages": [{"role": "system", "content": mark}, *messages]}
        system = args.get("system")
        system = self.options.system if system is None else system
        return {**args, "system": mark if system is None else f"{mark}\n{system}"}


def with_nonce(tools: Mapping[str, Declared]) -> dict[str, Declared]:
    """The same tools; those that ask a model which is not the stand-in begin with a nonce that was never used."""
    found = dict(tools)
    nonce = None
    for name, declaration in tools.items():
        if not isinstance(declaration, ToolDeclaration) or declaration.kind != LlmTool.kind:
            continue
        if declaration.options.get("stand_in") or declaration.options.get("base_url") is None:
            continue
        tool = UniqueLlmTool.from_declaration(name, declaration)
        assert isinstance(tool, UniqueLlmTool)
        nonce = nonce or uuid.uuid4().hex
        tool.nonce = nonce
        # For calls of running code there is no graph that keeps its limits.
        tool.declaration = declaration
        found[name] = tool
    return found
