"""Reading a request for a chat completion, and shaping what goes back. Pure: bytes and dicts in and out.

Rules of this module:
- What would change the meaning if it were ignored is refused by name.
- Refusals have OpenAI's shape: ``{"error": {"message", "type", "param", "code"}}``.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any

from harness.standin import answers
from harness.standin.schema_instances import UnsupportedSchemaError, make_instance

MODEL = "makespan-stand-in"
_LONGEST_SECONDS = 86_400.0
_REFUSED_FIELDS = ("tools", "functions", "audio", "logprobs", "prediction")
_ROLES = ("system", "developer", "user", "assistant", "tool")


class RequestError(Exception):
    """A request that the stand-in does not answer, as an HTTP status and OpenAI's fields of an error."""

    def __init__(self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code

    def body(self) -> dict[str, Any]:
        """The JSON that goes back."""
        kind = "rate_limit_exceeded" if self.status == 429 else "invalid_request_error"
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A checked request. ``expected_seconds`` is the whole duration that a step states, already scaled, or None."""

    model: str
    messages: tuple[tuple[str, str], ...]
    stream: bool
    include_usage: bool
    max_tokens: int | None
    response_format: Mapping[str, Any] | None
    seed: int
    step: str
    scale: float
    expected_seconds: float | None

    @property
    def system(self) -> str:
        """All system messages."""
        return "\n".join(text for role, text in self.messages if role in ("system", "developer"))

    @property
    def prompt(self) -> str:
        """The last message of the user, else the last message."""
        return next((text for role, text in reversed(self.messages) if role == "user"), self.messages[-1][1])

    @property
    def prompt_tokens(self) -> int:
        """Tokens of all messages."""
        return sum(answers.tokens_in(text) for _, text in self.messages)

    def identity(self) -> str:
        """A short name that depends on what is asked, for ids and seeds."""
        request = json.dumps([self.seed, self.model, self.messages], ensure_ascii=False)
        return hashlib.blake2b(request.encode(errors="replace"), digest_size=12).hexdigest()


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back, whole."""

    text: str
    finish_reason: str
    completion_tokens: int


def read_request(body: bytes, headers: Message, *, seed: int, scale: float) -> ChatRequest:
    """The request, checked. ``seed`` and ``scale`` hold where the headers do not say otherwise.

    Raises:
        RequestError: it is malformed, or asks for what the stand-in does not do.

    """
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the body is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise RequestError("the body is not a JSON object")
    for name in _REFUSED_FIELDS:
        if fields.get(name):
            raise RequestError(f"the stand-in does not support {name!r}", param=name)
    if fields.get("n", 1) not in (1, None):
        raise RequestError("the stand-in gives one choice: n must be 1", param="n")
    model = fields.get("model")
    if not isinstance(model, str) or not model:
        raise RequestError("model is missing", param="model")
    options = fields.get("stream_options") or {}
    name = "max_completion_tokens" if fields.get("max_completion_tokens") is not None else "max_tokens"
    max_tokens = fields.get(name)
    if max_tokens is not None and (not isinstance(max_tokens, int) or isinstance(max_tokens, bool) or max_tokens < 1):
        raise RequestError(f"{name} must be a whole number of 1 or more", param=name)
    return ChatRequest(
        model=model,
        messages=_messages(fields.get("messages")),
        stream=_flag(fields, "stream"),
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        max_tokens=max_tokens,
        response_format=_response_format(fields.get("response_format")),
        seed=_whole(headers, "X-Makespan-Seed", seed),
        step=headers.get("X-Makespan-Step", ""),
        scale=_seconds(headers, "X-Makespan-Scale") if "X-Makespan-Scale" in headers else scale,
        expected_seconds=(
            _seconds(headers, "X-Makespan-Expected-Seconds") if "X-Makespan-Expected-Seconds" in headers else None
        ),
    )


def write_answer(request: ChatRequest, scripted: str | None = None) -> Answer:
    """What the stand-in says: what is ``scripted``, as it is, else what it makes up.

    Raises:
        RequestError: the schema of ``response_format`` cannot be met.

    """
    wanted = request.response_format or {"type": "text"}
    if scripted is not None:
        text = scripted
    elif wanted["type"] == "json_schema":
        try:
            instance = make_instance(
                wanted["json_schema"]["schema"], seed=request.identity(), topic=answers.topic_of(request.prompt)
            )
        except UnsupportedSchemaError as error:
            raise RequestError(f"the stand-in cannot answer by this schema: {error}", param="response_format") from None
        text = json.dumps(instance, ensure_ascii=False)
    else:
        text = answers.answer(request.seed, request.model, request.system, request.prompt)
        if wanted["type"] == "json_object":
            text = json.dumps({"stand_in": True, "text": text}, ensure_ascii=False)
    text, is_cut = answers.cut(text, request.max_tokens)
    return Answer(text, "length" if is_cut else "stop", answers.tokens_in(text))


def completion(request: ChatRequest, answer: Answer, created: int) -> dict[str, Any]:
    """The whole answer as JSON. ``created``: seconds since 1970."""
    message = {"role": "assistant", "content": answer.text, "refusal": None}
    return {
        **_envelope(request, "chat.completion", created),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish_reason}],
        "usage": usage(request, answer),
    }


def chunk(
    request: ChatRequest, created: int, delta: Mapping[str, Any] | None, finish_reason: str | None = None
) -> dict[str, Any]:
    """One piece of a streamed answer; without a ``delta``, the last one, which has no choice."""
    choices = [] if delta is None else [{"index": 0, "delta": dict(delta), "finish_reason": finish_reason}]
    return {**_envelope(request, "chat.completion.chunk", created), "choices": choices}


def usage(request: ChatRequest, answer: Answer) -> dict[str, int]:
    """Tokens, counted as four characters each."""
    return {
        "prompt_tokens": request.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": request.prompt_tokens + answer.completion_tokens,
    }


def models() -> dict[str, Any]:
    """The list of models: one."""
    return {"object": "list", "data": [model_card()]}


def model_card() -> dict[str, Any]:
    """The one model."""
    return {"id": MODEL, "object": "model", "created": 0, "owned_by": "makespan"}


def _envelope(request: ChatRequest, kind: str, created: int) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-standin-{request.identity()}",
        "object": kind,
        "created": created,
        "model": request.model,
        "system_fingerprint": MODEL,
    }


def _messages(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, list) or not value:
        raise RequestError("messages must be a list with at least one message", param="messages")
    messages = []
    for place, message in enumerate(value):
        param = f"messages[{place}]"
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            raise RequestError(f"{param} must have a role, one of {', '.join(_ROLES)}", param=param)
        messages.append((message["role"], _content(message.get("content"), param)))
    return tuple(messages)


def _content(content: Any, param: str) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict) and part.get("type") == "text"]
        texts = [part["text"] for part in parts if isinstance(part.get("text"), str)]
        if len(texts) == len(content):
            return "\n".join(texts)
    raise RequestError(f"{param}.content must be text: the stand-in sees and hears nothing", param=param)


def _response_format(value: Any) -> Mapping[str, Any] | None:
    if value is None:
        return None
    kind = value.get("type") if isinstance(value, dict) else None
    if kind not in ("text", "json_object", "json_schema"):
        raise RequestError("response_format.type must be text, json_object or json_schema", param="response_format")
    if kind == "json_schema":
        schema = value.get("json_schema")
        if not isinstance(schema, dict) or not isinstance(schema.get("schema"), (dict, bool)):
            raise RequestError("response_format.json_schema.schema is missing", param="response_format")
    formatted: dict[str, Any] = value
    return formatted


def _flag(fields: Mapping[str, Any], name: str) -> bool:
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise RequestError(f"{name} must be true or false", param=name)
    return bool(value)


def _whole(headers: Message, name: str, default: int) -> int:
    text = headers.get(name)
    if text is None:
        return default
    try:
        return int(text)
    except ValueError:
        raise RequestError(f"the header {name} must be a whole number", param=name) from None


def _seconds(headers: Message, name: str) -> float:
    try:
        seconds = float(headers[name])
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= _LONGEST_SECONDS:
        raise RequestError(f"the header {name} must be a number from 0 to {_LONGEST_SECONDS:g}", param=name)
    return seconds
