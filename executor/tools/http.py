"""An HTTP request as a tool.

Rules of this module:
- Headers whose value comes from the environment go to the declared ``base_url`` alone.
- The output is the body: JSON where it is expected or declared by its Content-Type, else text.
- An answer has a largest size, and a call has a deadline, whatever the server does.
- Secrets stay out of messages: no header, no query, and no echo of a header's value.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

from pydantic import Field, JsonValue

from executor.model.workflow import Retry, StrictModel, ToolDeclaration
from executor.tools.connections import (
    ERROR_BODY_LIMIT_BYTES,
    RESPONSE_LIMIT_BYTES,
    Connections,
    Deadline,
    read_json,
    record_server,
    speaking_errors,
    status_error,
    too_large,
)
from executor.tools.options import read_args, read_options
from executor.tools.tool import Tool, ToolContext, ToolError, ToolOptionsError

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
Expect = Literal["json", "text"]
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class HttpOptions(StrictModel):
    """``base_url``: what a step's url is relative to. ``headers_from_env``: header → name of an environment variable.
    ``read_timeout_seconds``: the longest silence of the server.
    """

    base_url: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    headers_from_env: dict[str, str] = Field(default_factory=dict)
    expect: Expect | None = None
    follow_redirects: bool = False
    max_connections: int = Field(100, ge=1)
    read_timeout_seconds: float = Field(60.0, gt=0)
    response_limit_bytes: int = Field(RESPONSE_LIMIT_BYTES, ge=1)


class HttpArgs(StrictModel):
    """What a step says. ``method`` defaults to POST with a body, else GET."""

    url: str = ""
    method: Method | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    params: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    json_body: JsonValue = Field(None, alias="json")
    body: str | None = None
    expect: Expect | None = None


@dataclass(slots=True)
class _Exchange:
    """One request, and what has come back so far."""

    url: str
    request: dict[str, Any]
    expect: Expect | None
    deadline: Deadline
    body: bytearray = field(default_factory=bytearray)


class HttpTool(Tool):
    """Sends a request."""

    kind = "http"
    argument_names = tuple(field.alias or name for name, field in HttpArgs.model_fields.items())
    summary = "sends an HTTP request; the output is the body, JSON or text"
    default_retry = Retry(max_attempts=3, backoff_seconds=0.5, max_backoff_seconds=30.0)

    def __init__(self, name: str, options: HttpOptions | None = None) -> None:
        super().__init__(name)
        self.options = options or HttpOptions()
        self._connections = Connections(
            base_url=self.options.base_url,
            max_connections=self.options.max_connections,
            read_timeout_seconds=self.options.read_timeout_seconds,
            follow_redirects=self.options.follow_redirects,
        )

    @classmethod
    def from_declaration(cls, name: str, declaration: ToolDeclaration) -> Tool:
        """Make the tool; see :meth:`Tool.from_declaration`."""
        options = read_options(HttpOptions, name, declaration)
        if options.base_url is not None and not options.base_url.startswith(("http://", "https://")):
            raise ToolOptionsError(
                f"tool {name!r}: base_url: must begin with http:// or https://",
                field="base_url",
                fix="write the scheme",
            )
        if options.headers_from_env and options.base_url is None:
            raise ToolOptionsError(
                f"tool {name!r}: headers_from_env: needs a base_url, so that the values go nowhere else",
                field="headers_from_env",
                fix="add 'base_url'",
            )
        if options.headers_from_env and options.follow_redirects:
            raise ToolOptionsError(
                f"tool {name!r}: follow_redirects: would carry headers_from_env to wherever the server points",
                field="follow_redirects",
                fix="declare the final address as base_url",
            )
        return cls(name, options)

    def prepare(self) -> None:
        """Import httpx and load the certificates."""
        self._connections.prepare()

    def call_faults(self, prompt: str | None, args: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Arguments that the tool does not know, or no address."""
        unknown = list(super().call_faults(prompt, args))
        yield from unknown
        url = args.get("url", "")
        is_whole = not isinstance(url, str) or "{" in url or url.lower().startswith(("http://", "https://"))
        if self.options.base_url is None and not is_whole and not unknown:
            fix = "write args.url with http:// or https://, or declare a base_url"
            yield "args.url" if url else "tool", f"gives its tool {self.name!r} no whole address", fix

    def declared_words(self) -> Any:
        """Who is asked, and how; limits shape no output."""
        words = {"base_url", "headers", "headers_from_env", "expect", "follow_redirects"}
        return self.options.model_dump(mode="json", include=words)

    def call(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Any:
        """Send the request in this thread."""
        exchange = self._exchange(context, prompt, args)
        client = self._connections.client()
        with (
            speaking_errors(self.name, exchange.url, exchange.deadline),
            client.stream(**exchange.request, timeout=self._connections.timeout(exchange.deadline)) as response,
        ):
            for chunk in response.iter_bytes():
                if not self._take(exchange, response.is_success, chunk):
                    break
            return self._result(exchange, response.status_code, response.headers)

    async def call_async(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Any:
        """Send the request without a thread."""
        exchange = self._exchange(context, prompt, args)
        client = self._connections.async_client()
        with speaking_errors(self.name, exchange.url, exchange.deadline):
            async with client.stream(
                **exchange.request, timeout=self._connections.timeout(exchange.deadline)
            ) as response:
                async for chunk in response.aiter_bytes():
                    if not self._take(exchange, response.is_success, chunk):
                        break
                return self._result(exchange, response.status_code, response.headers)

    def close(self) -> None:
        """Close the connections of this process."""
        self._connections.close()

    async def close_async(self) -> None:
        """Close the connections of this event loop."""
        await self._connections.close_async()

    def _exchange(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> _Exchange:
        wanted = read_args(HttpArgs, self.name, args)
        bodies = [name for name, given in (("json", "json" in args), ("body", wanted.body is not None)) if given]
        if prompt is not None:
            bodies.append("the prompt")
        if len(bodies) > 1:
            self._refuse(f"{' and '.join(bodies)} are both a body; give one")
        url = self._url(wanted.url)
        headers = {**self.options.headers, **self._headers_from_env(), **wanted.headers}
        for header, value in headers.items():
            if not _HEADER_NAME.fullmatch(header) or not value.isascii() or not value.isprintable():
                self._refuse(
                    f"header {header!r}: HTTP allows letters and hyphens in a name, printable ASCII in a value"
                )
        request: dict[str, Any] = {
            "method": wanted.method or ("POST" if bodies else "GET"),
            "url": wanted.url,
            "headers": headers,
        }
        if wanted.params:
            request["params"] = wanted.params
        if "json" in args:
            # Not httpx's own `json`, which takes a null for no body at all.
            request["content"] = json.dumps(wanted.json_body, ensure_ascii=False, separators=(",", ":")).encode()
            headers.setdefault("Content-Type", "application/json")
        elif bodies:
            request["content"] = (wanted.body if prompt is None else prompt or "") or ""
        record_server(context, url, path=True)
        return _Exchange(url, request, wanted.expect or self.options.expect, Deadline(self.name, context))

    def _url(self, url: str) -> str:
        """The whole address, for messages; refuses one that would carry declared headers to another host."""
        import httpx  # noqa: PLC0415 - see connections.py

        base = self.options.base_url
        if base is None:
            if not url:
                self._refuse("args.url is missing")
            return url
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL:
            self._refuse("args.url is not an address")
        if parsed.is_relative_url and not parsed.host:
            return f"{base.rstrip('/')}/{url.lstrip('/')}"
        home = httpx.URL(base)
        if (parsed.scheme, parsed.host, parsed.port) != (home.scheme, home.host, home.port):
            self._refuse("args.url leads away from the declared base_url; write a path, or declare another tool")
        return url

    def _headers_from_env(self) -> dict[str, str]:
        headers = {}
        for header, variable in self.options.headers_from_env.items():
            value = os.environ.get(variable)
            if not value:
                self._refuse(f"the environment variable {variable!r} for header {header!r} is not set")
            headers[header] = value
        return headers

    def _take(self, exchange: _Exchange, success: bool, chunk: bytes) -> bool:
        """Keep a piece of the answer; False when there is no need for more."""
        exchange.deadline.check()
        exchange.body += chunk
        if not success:
            return len(exchange.body) < ERROR_BODY_LIMIT_BYTES
        if len(exchange.body) > self.options.response_limit_bytes:
            raise too_large(self.name, exchange.url, self.options.response_limit_bytes)
        return True

    def _result(self, exchange: _Exchange, status: int, headers: Mapping[str, str]) -> Any:
        body = bytes(exchange.body)
        if not 200 <= status < 300:
            raise status_error(self.name, exchange.url, status, headers, body, exchange.request["headers"])
        content_type = headers.get("content-type", "").partition(";")
        media = content_type[0].strip().lower()
        if exchange.expect == "json" or (exchange.expect is None and (media == "application/json" or "+json" in media)):
            return read_json(self.name, exchange.url, body) if body or exchange.expect == "json" else None
        charset = content_type[2].partition("charset=")[2].partition(";")[0].strip(' "') or "utf-8"
        try:
            return body.decode(charset)
        except (LookupError, UnicodeDecodeError):
            self._refuse(f"the answer is not text in {charset[:40]!r}; this tool's outputs are JSON and text")

    def _refuse(self, message: str) -> NoReturn:
        raise ToolError(f"tool {self.name!r}: {message}", retryable=False)
