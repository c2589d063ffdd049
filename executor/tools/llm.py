"""A language model as a tool: any endpoint that speaks OpenAI's chat completions.

Rules of this module:
- The prompt is the user's message; the output is the text, or with ``response_format`` the JSON value.
- The scheduler learns the token usage (its limits count tokens); the tracer, too, with the time of the first token.
- 429, 5xx and broken answers may be tried again, after what ``Retry-After`` asks for.
- The key is never in a message, and is sent to ``base_url`` alone.
- Only an endpoint that the harness marked as its stand-in receives how long the answer should take.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote, urlsplit

from pydantic import Field, JsonValue, SecretStr

from executor.model.workflow import Names, Retry, StrictModel, ToolDeclaration
from executor.tools.chat import Reply, ReplyReader, messages_json
from executor.tools.connections import (
    ERROR_BODY_LIMIT_BYTES,
    RESPONSE_LIMIT_BYTES,
    Connections,
    Deadline,
    answered,
    answered_async,
    read_json,
    record_server,
    speaking_errors,
    status_error,
)
from executor.tools.options import read_args, read_options
from executor.tools.tool import Simulation, Tool, ToolContext, ToolError, ToolOptionsError

if TYPE_CHECKING:
    import httpx

STAND_IN_MODEL = "makespan-stand-in"
_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


class LlmOptions(StrictModel):
    """``base_url`` ends where ``/chat/completions`` begins. ``api_key_env`` names the variable that holds the key.
    ``read_timeout_seconds`` is the longest silence of the server. ``include_usage: false`` is for servers that refuse
    ``stream_options``. ``ignored_args`` names arguments that callers give and this tool has no use for.
    ``stand_in`` is set by the harness alone.
    """

    base_url: str | None = None
    api_key: SecretStr | None = None
    api_key_env: str | None = None
    model: str | None = None
    system: str | None = None
    temperature: float | None = Field(None, ge=0)
    max_tokens: int | None = Field(None, ge=1)
    response_format: dict[str, JsonValue] | None = None
    stream: bool = True
    include_usage: bool = True
    ignored_args: Names = ()
    stand_in: bool = False
    max_connections: int = Field(100, ge=1)
    read_timeout_seconds: float = Field(120.0, gt=0)


class LlmArgs(StrictModel):
    """What a step may say beside its prompt; each overrules the declaration."""

    model: str | None = None
    system: str | None = None
    messages: list[dict[str, JsonValue]] | None = None
    temperature: float | None = Field(None, ge=0, strict=False)
    max_tokens: int | None = Field(None, ge=1, strict=False)
    response_format: dict[str, JsonValue] | None = None


@dataclass(slots=True)
class _Exchange:
    """One request, ready to be sent."""

    url: str
    body: dict[str, Any]
    headers: dict[str, str]
    deadline: Deadline
    begin: float


class LlmTool(Tool):
    """Asks a language model."""

    kind = "llm"
    summary = "asks a language model over an OpenAI-compatible endpoint (without one: the labelled stand-in)"
    argument_names = tuple(LlmArgs.model_fields)
    default_retry = Retry(max_attempts=5, backoff_seconds=0.5, max_backoff_seconds=30.0)

    def __init__(self, name: str, options: LlmOptions | None = None) -> None:
        super().__init__(name)
        self.options = options or LlmOptions()
        self._ignored = frozenset(self.options.ignored_args)
        # Called with each piece of an answer as it comes, by those who read it while it is written.
        self.on_text: Callable[[str], None] | None = None
        self._connections = Connections(
            base_url=self.options.base_url,
            max_connections=self.options.max_connections,
            read_timeout_seconds=self.options.read_timeout_seconds,
        )

    @classmethod
    def from_declaration(cls, name: str, declaration: ToolDeclaration) -> Tool:
        """Make the tool; see :meth:`Tool.from_declaration`."""
        options = read_options(LlmOptions, name, declaration)
        faults = {
            "base_url": options.base_url is not None and not options.base_url.startswith(("http://", "https://")),
            "api_key_env": options.api_key is not None and options.api_key_env is not None,
        }
        if faults["base_url"]:
            raise ToolOptionsError(
                f"tool {name!r}: base_url: must begin with http:// or https://",
                field="base_url",
                fix="write the scheme",
            )
        if faults["api_key_env"]:
            raise ToolOptionsError(
                f"tool {name!r}: api_key_env: there is an api_key already", field="api_key_env", fix="keep one of them"
            )
        return cls(name, options)

    def prepare(self) -> None:
        """Import httpx and load the certificates."""
        self._connections.prepare()

    def call_faults(self, prompt: str | None, args: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """No question, two of them, or arguments that the tool does not know."""
        yield from super().call_faults(prompt, {name: args[name] for name in args if name not in self._ignored})
        if prompt is None and args.get("messages") is None:
            yield "tool", f"asks nothing of its tool {self.name!r}", "add `prompt`, or `args: {messages: […]}`"
        elif prompt is not None and args.get("messages") is not None:
            yield "args.messages", "has both a prompt and args.messages", "keep one of them"

    def declared_words(self) -> Any:
        """Who is asked, and with what. Servers on this machine get other ports each time; the stand-in is none."""
        base_url = self.options.base_url
        parts = None if base_url is None else urlsplit(base_url)
        if parts is not None and parts.hostname in _THIS_MACHINE:
            base_url = f"{parts.hostname}{parts.path}"
        words = ("model", "system", "temperature", "max_tokens", "response_format", "stand_in")
        return [base_url, self.options.model_dump(mode="json", include=set(words))]

    def call(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Any:
        """Ask, in this thread."""
        exchange = self._exchange(context, prompt, args)
        client = self._connections.client()
        with (
            speaking_errors(self.name, exchange.url, exchange.deadline),
            answered(client, self._request(client, exchange)) as response,
        ):
            reader = self._reader(exchange, response.headers)
            refusal = bytearray()
            for chunk in response.iter_bytes():
                if not self._take(context, exchange, reader, refusal if response.is_error else None, chunk):
                    break
            return self._result(context, exchange, reader, response.status_code, response.headers, refusal)

    async def call_async(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Any:
        """Ask, without a thread."""
        exchange = self._exchange(context, prompt, args)
        client = self._connections.async_client()
        with speaking_errors(self.name, exchange.url, exchange.deadline):
            async with answered_async(client, self._request(client, exchange)) as response:
                reader = self._reader(exchange, response.headers)
                refusal = bytearray()
                async for chunk in response.aiter_bytes():
                    if not self._take(context, exchange, reader, refusal if response.is_error else None, chunk):
                        break
                return self._result(context, exchange, reader, response.status_code, response.headers, refusal)

    def simulate(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Simulation | None:
        """The step's stated time; without one it is unknown."""
        if context.expected_seconds is None:
            return None
        if self.options.response_format is not None or "response_format" in args:
            return Simulation(context.expected_seconds * context.run.scale, made_up=True)
        text = f"[simulated {self.name}] {prompt or ''}"
        return Simulation(context.expected_seconds * context.run.scale, text[:500].rstrip(), made_up=True)

    def close(self) -> None:
        """Close the connections of this process."""
        self._connections.close()

    async def close_async(self) -> None:
        """Close the connections of this event loop."""
        await self._connections.close_async()

    def _exchange(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> _Exchange:
        options = self.options
        if options.base_url is None:
            self._refuse("no endpoint: give the declaration a base_url, or run it where the stand-in is started")
        wanted = self._wanted(args)
        body = self._body(prompt, wanted)
        url = f"{options.base_url.rstrip('/')}/chat/completions"
        record_server(context, url)
        context.record("gen_ai.operation.name", "chat")
        context.record("gen_ai.request.model", body["model"])
        if context.run.capture_content:
            context.record("gen_ai.input.messages", messages_json(body["messages"]))
        return _Exchange(url, body, self._headers(context), Deadline(self.name, context), time.perf_counter())

    def _wanted(self, args: Mapping[str, Any]) -> LlmArgs:
        own = {name: args[name] for name in args if name not in self._ignored}
        try:
            return read_args(LlmArgs, self.name, own)
        except ToolError as error:
            unknown = [name for name in own if name not in LlmArgs.model_fields]
            if not unknown:
                raise
            self._refuse(
                f"{str(error).removeprefix(f'tool {self.name!r}: ')}; "
                f"where callers give more than it needs, let its declaration say `ignored_args: [{', '.join(unknown)}]`"
            )

    def _request(self, client: httpx.Client | httpx.AsyncClient, exchange: _Exchange) -> httpx.Request:
        timeout = self._connections.timeout(exchange.deadline)
        return client.build_request("POST", exchange.url, json=exchange.body, headers=exchange.headers, timeout=timeout)

    def _body(self, prompt: str | None, wanted: LlmArgs) -> dict[str, Any]:
        options = self.options
        if (prompt is None) == (wanted.messages is None):
            self._refuse("give the step either a prompt or args.messages")
        system = options.system if wanted.system is None else wanted.system
        messages: list[dict[str, JsonValue]] = [] if system is None else [{"role": "system", "content": system}]
        messages += [{"role": "user", "content": prompt}] if wanted.messages is None else wanted.messages
        model = wanted.model or options.model or (STAND_IN_MODEL if options.stand_in else None)
        if model is None:
            self._refuse("no model: name one in the declaration or in the step's args")
        body: dict[str, Any] = {"model": model, "messages": messages}
        for name in ("temperature", "max_tokens", "response_format"):
            value = getattr(wanted, name) if getattr(wanted, name) is not None else getattr(options, name)
            if value is not None:
                body[name] = value
        if options.stream:
            body["stream"] = True
            if options.include_usage:
                body["stream_options"] = {"include_usage": True}
        return body

    def _headers(self, context: ToolContext) -> dict[str, str]:
        options = self.options
        headers = {"Accept": "text/event-stream" if options.stream else "application/json"}
        key = options.api_key.get_secret_value() if options.api_key is not None else None
        if options.api_key_env is not None:
            key = os.environ.get(options.api_key_env)
            if not key:
                self._refuse(f"the environment variable {options.api_key_env!r} (api_key_env) is not set")
        if key is not None:
            key = key.strip()
            if not key.isascii() or not key.isprintable():
                self._refuse("the API key holds a character that HTTP does not allow")
            headers["Authorization"] = f"Bearer {key}"
        if options.stand_in:
            headers["X-Makespan-Step"] = quote(context.step_id, safe="/")
            headers["X-Makespan-Seed"] = str(context.run.seed)
            headers["X-Makespan-Scale"] = repr(context.run.scale)
            if context.expected_seconds is not None:
                headers["X-Makespan-Expected-Seconds"] = repr(context.expected_seconds * context.run.scale)
        return headers

    def _reader(self, exchange: _Exchange, headers: Mapping[str, str]) -> ReplyReader:
        streamed = headers.get("content-type", "").startswith("text/event-stream")
        return ReplyReader(
            self.name, exchange.url, streamed=streamed, limit_bytes=RESPONSE_LIMIT_BYTES, on_text=self.on_text
        )

    def _take(
        self, context: ToolContext, exchange: _Exchange, reader: ReplyReader, refusal: bytearray | None, chunk: bytes
    ) -> bool:
        """Keep a piece of the answer; False when there is no need for more."""
        exchange.deadline.check()
        if refusal is not None:
            refusal += chunk
            return len(refusal) < ERROR_BODY_LIMIT_BYTES
        had_text = reader.has_text
        reader.feed(chunk)
        if reader.has_text and not had_text:
            context.record("makespan.first_token_seconds", time.perf_counter() - exchange.begin)
        return True

    def _result(
        self,
        context: ToolContext,
        exchange: _Exchange,
        reader: ReplyReader,
        status: int,
        headers: Mapping[str, str],
        refusal: bytearray,
    ) -> Any:
        if not 200 <= status < 300:
            raise status_error(self.name, exchange.url, status, headers, bytes(refusal), exchange.headers)
        reply = reader.reply("\n".join(str(message.get("content")) for message in exchange.body["messages"]))
        self._record(context, reply)
        if "response_format" not in exchange.body or exchange.body["response_format"].get("type") == "text":
            return reply.text
        if reply.finish_reason == "length":
            raise ToolError(
                f"tool {self.name!r}: the JSON answer was cut off at max_tokens; allow more", retryable=False
            )
        return read_json(self.name, exchange.url, reply.text.encode())

    def _record(self, context: ToolContext, reply: Reply) -> None:
        context.record_tokens(reply.input_tokens + reply.output_tokens)
        context.record("gen_ai.usage.input_tokens", reply.input_tokens)
        context.record("gen_ai.usage.output_tokens", reply.output_tokens)
        if context.run.capture_content:
            said = {"role": "assistant", "content": reply.text}
            context.record("gen_ai.output.messages", messages_json([said], reply.finish_reason))
        if reply.usage_estimated:
            context.record("makespan.usage_estimated", value=True)
        if reply.model is not None:
            context.record("gen_ai.response.model", reply.model)
        if reply.finish_reason is not None:
            context.record("gen_ai.response.finish_reasons", [reply.finish_reason])

    def _refuse(self, message: str) -> NoReturn:
        raise ToolError(f"tool {self.name!r}: {message}", retryable=False)
