"""The answer of an OpenAI-compatible chat endpoint, read from bytes. Does no I/O.

Rules of this module:
- Bytes in, a :class:`Reply` out; whole answers and streams (server-sent events) come to the same.
- An answer that breaks off is an error that may be tried again, never a shorter answer.
- Usage is what the server says; where it says nothing, four characters count as a token.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from executor.tools.connections import too_large
from executor.tools.tool import ToolError

CHARACTERS_PER_TOKEN = 4


@dataclass(slots=True)
class Reply:
    """What a model said. ``usage_estimated`` is True where the server did not count tokens."""

    text: str
    finish_reason: str | None
    input_tokens: int
    output_tokens: int
    usage_estimated: bool
    model: str | None


def estimate_tokens(text: str) -> int:
    """About how many tokens a text has."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


class ReplyReader:
    """Collects one answer. ``streamed`` is what the response's Content-Type says, not what was asked for.
    ``on_text`` is called with each piece of text as it comes.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        streamed: bool,
        limit_bytes: int,
        on_text: Callable[[str], None] | None = None,
    ) -> None:
        self._on_text = on_text
        self._name = name
        self._url = url
        self._streamed = streamed
        self._limit_bytes = limit_bytes
        self._size_bytes = 0
        self._buffer = bytearray()
        self._pieces: list[str] = []
        self._finish_reason: str | None = None
        self._usage: dict[str, Any] | None = None
        self._model: str | None = None
        self._refusal: list[str] = []
        self._choices = 0
        self.done = False

    @property
    def has_text(self) -> bool:
        """Whether a first piece of text has come."""
        return bool(self._pieces)

    def feed(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            ToolError: the stream says that it failed, is not what it should be, or is too long.

        """
        self._size_bytes += len(data)
        if self._size_bytes > self._limit_bytes:
            raise too_large(self._name, self._url, self._limit_bytes)
        self._buffer += data
        if not self._streamed:
            return
        *lines, rest = bytes(self._buffer).split(b"\n")
        self._buffer[:] = rest
        for line in lines:
            self._line(line)

    def reply(self, prompt_text: str) -> Reply:
        """The answer, once all bytes are in.

        Raises:
            ToolError: it is incomplete, or has no text.

        """
        if self._streamed:
            self._line(bytes(self._buffer))
            if not self.done and self._finish_reason is None:
                raise self._broken("broke off in the middle of its answer")
        else:
            self._event(bytes(self._buffer), key="message")
        if self._choices == 0:
            raise self._broken("answered without a choice")
        if self._finish_reason == "content_filter" or (self._refusal and not self._pieces):
            words = "".join(self._refusal)[:300]
            raise ToolError(f"tool {self._name!r}: the model refused{words and ': ' + words}", retryable=False)
        if not self._pieces and self._finish_reason != "length":
            raise self._broken("answered without text")
        text = "".join(self._pieces)
        counted = self._counted()
        input_tokens, output_tokens = counted or (estimate_tokens(prompt_text), estimate_tokens(text))
        return Reply(text, self._finish_reason, input_tokens, output_tokens, counted is None, self._model)

    def _line(self, line: bytes) -> None:
        """One line of an event stream; of its fields only ``data`` matters here."""
        line = line.strip()
        if not line.startswith(b"data:"):
            return
        data = line[5:].strip()
        if data == b"[DONE]":
            self.done = True
        elif data and not self.done:
            self._event(data, key="delta")

    def _event(self, data: bytes, key: str) -> None:
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            raise self._broken("sent an answer that is not JSON") from None
        if not isinstance(event, dict):
            raise self._broken("sent an answer that is not a chat completion")
        if event.get("error"):
            error = event["error"]
            words = error.get("message") if isinstance(error, dict) else error
            raise self._broken(f"failed while answering: {str(words)[:300]}")
        if isinstance(event.get("usage"), dict):
            self._usage = event["usage"]
        if isinstance(event.get("model"), str):
            self._model = event["model"]
        choices = event.get("choices")
        if not isinstance(choices, list) or not choices:
            return
        choice = choices[0]
        message = choice.get(key) if isinstance(choice, dict) else None
        if not isinstance(message, dict):
            raise self._broken("sent an answer that is not a chat completion")
        self._choices += 1
        if isinstance(message.get("content"), str) and message["content"]:
            self._pieces.append(message["content"])
            if self._on_text is not None:
                self._on_text(message["content"])
        if isinstance(message.get("refusal"), str):
            self._refusal.append(message["refusal"])
        if isinstance(choice.get("finish_reason"), str):
            self._finish_reason = choice["finish_reason"]

    def _counted(self) -> tuple[int, int] | None:
        usage = self._usage or {}
        counts = (usage.get("prompt_tokens"), usage.get("completion_tokens"))
        if all(isinstance(count, int) and count >= 0 for count in counts):
            return int(counts[0] or 0), int(counts[1] or 0)
        return None

    def _broken(self, what: str) -> ToolError:
        return ToolError(f"tool {self._name!r}: the model's endpoint {what}")


def messages_json(messages: Sequence[Mapping[str, Any]], finish_reason: str | None = None) -> str:
    """Messages as traces hold them, by the conventions for generative AI: JSON text."""
    blocks = [
        {
            "role": str(message.get("role", "")),
            "parts": [{"type": "text", "content": message.get("content")}],
            **({} if finish_reason is None else {"finish_reason": finish_reason}),
        }
        for message in messages
    ]
    return json.dumps(blocks, ensure_ascii=False)
