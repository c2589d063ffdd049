"""The tools that speak HTTP against real sockets: what they send, what they accept, and every way a server can fail."""

from __future__ import annotations

import asyncio
import json
import pickle
import socket
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest

from executor.model.workflow import ToolDeclaration
from executor.tools.chat import ReplyReader
from executor.tools.connections import retry_after_seconds, safe_url
from executor.tools.registry import make_tool
from executor.tools.tool import RunContext, Tool, ToolContext, ToolError, ToolTimeoutError


class ScriptedServer:
    """Answers each request with the next entry of a script: bytes to send, seconds to wait, or None to break off."""

    def __init__(self, *script: list[bytes | float | None]) -> None:
        self.script = list(script)
        self.requests: list[bytes] = []
        self.connections = 0
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._over.is_set():
                connection.close()
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(0.05)
            while (request := self._read(connection)) is not None:
                self.requests.append(request)
                for act in self.script.pop(0):
                    if act is None:
                        return
                    if isinstance(act, bytes):
                        try:
                            connection.sendall(act)
                        except OSError:
                            return
                    elif self._over.wait(act):
                        return

    def _read(self, connection: socket.socket) -> bytes | None:
        data = b""
        while not self._over.is_set():
            head, blank, body = data.partition(b"\r\n\r\n")
            if blank:
                lengths = [line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                if len(body) >= int(lengths[0] if lengths else 0):
                    return data
            try:
                more = connection.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                return None
            if not more:
                return None
            data += more
        return None

    def __enter__(self) -> ScriptedServer:
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        socket.create_connection(self._listener.getsockname()).close()
        for thread in self._threads:
            thread.join()
        self._listener.close()


def answer(body: bytes | str, status: str = "200 OK", kind: str = "application/json", **headers: str) -> bytes:
    body = body.encode() if isinstance(body, str) else body
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


def context(**given: Any) -> ToolContext:
    run = RunContext(scale=given.pop("scale", 1.0), seed=given.pop("seed", 0))
    return ToolContext(run, given.pop("step_id", "a"), **given)


def tool_of(kind: str, **options: Any) -> Tool:
    return make_tool("web", ToolDeclaration.model_validate({"kind": kind, **options}))


def call_sync(tool: Tool, tool_context: ToolContext, prompt: str | None, args: dict[str, Any]) -> Any:
    assert tool.call is not None
    try:
        return tool.call(tool_context, prompt, args)
    finally:
        tool.close()


def call_async(tool: Tool, tool_context: ToolContext, prompt: str | None, args: dict[str, Any]) -> Any:
    async def awaited() -> Any:
        assert tool.call_async is not None
        try:
            return await tool.call_async(tool_context, prompt, args)
        finally:
            await tool.close_async()

    return asyncio.run(awaited())


Caller = Callable[[Tool, ToolContext, str | None, dict[str, Any]], Any]


@pytest.fixture(params=[call_sync, call_async], ids=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Caller:
    form: Caller = request.param
    return form


# -- http ----------------------------------------------------------------------------------------------------------


def test_json_is_read_where_the_server_says_so_and_text_elsewhere(call: Caller) -> None:
    with ScriptedServer([answer('{"a": [1]}')], [answer("{}", kind="text/plain")], [answer("7", kind="x/y")]) as server:
        assert call(tool_of("http"), context(), None, {"url": server.url + "/a", "params": {"q": "ä b"}}) == {"a": [1]}
        assert call(tool_of("http"), context(), None, {"url": server.url}) == "{}"
        assert call(tool_of("http"), context(), None, {"url": server.url, "expect": "json"}) == 7
    assert server.requests[0].startswith(b"GET /a?q=%C3%A4+b HTTP/1.1\r\n") or b"%C3%A4%20b" in server.requests[0]


def test_a_body_makes_it_a_post(call: Caller) -> None:
    with ScriptedServer(*([answer("{}")] for _ in range(4))) as server:
        call(tool_of("http"), context(), None, {"url": server.url, "json": None})
        call(tool_of("http"), context(), None, {"url": server.url, "body": "ä"})
        call(tool_of("http"), context(), "the prompt", {"url": server.url, "method": "PUT"})
        call(tool_of("http", headers={"X-A": "1"}), context(), None, {"url": server.url, "headers": {"X-B": "2"}})
    assert server.requests[0].startswith(b"POST")
    assert server.requests[0].endswith(b"\r\n\r\nnull")
    assert b"Content-Type: application/json\r\n" in server.requests[0]
    assert server.requests[1].endswith("\r\n\r\nä".encode())
    assert server.requests[2].startswith(b"PUT")
    assert server.requests[2].endswith(b"the prompt")
    assert b"X-A: 1\r\n" in server.requests[3]
    assert b"X-B: 2\r\n" in server.requests[3]


def test_one_connection_serves_many_calls_in_both_forms() -> None:
    with ScriptedServer(*([answer(str(number))] for number in range(6))) as server:
        tool = tool_of("http", base_url=server.url)
        assert tool.call is not None
        assert [tool.call(context(), None, {"url": "x"}) for _ in range(3)] == [0, 1, 2]
        assert server.connections == 1

        async def three() -> list[Any]:
            assert tool.call_async is not None
            found = [await tool.call_async(context(), None, {"url": "/x"}) for _ in range(3)]
            await tool.close_async()
            return found

        assert asyncio.run(three()) == [3, 4, 5]
        assert server.connections == 2
        tool.close()


def test_a_tool_works_again_after_it_was_closed_and_after_a_journey() -> None:
    with ScriptedServer([answer("1")], [answer("2")]) as server:
        tool = tool_of("http", base_url=server.url)
        tool.prepare()
        assert call_sync(tool, context(), None, {"url": "x"}) == 1
        assert call_sync(pickle.loads(pickle.dumps(tool)), context(), None, {"url": "x"}) == 2


@pytest.mark.parametrize(
    ("status", "retryable"),
    [("429 Slow", True), ("500 Oops", True), ("503 Busy", True), ("408 Late", True), ("404 None", False),
     ("401 No", False), ("422 Bad", False), ("302 Gone", False)],
)  # fmt: skip
def test_a_status_says_whether_to_try_again(call: Caller, status: str, retryable: bool) -> None:
    with (
        ScriptedServer([answer("what went wrong", status, Retry_After="7", Location="/b")]) as server,
        pytest.raises(ToolError, match=status[:3]) as caught,
    ):
        call(tool_of("http"), context(), None, {"url": server.url + "/path?key=secret"})
    assert caught.value.retryable is retryable
    assert caught.value.retry_after_seconds == (7.0 if retryable else None)
    assert "secret" not in str(caught.value)
    if status[0] != "3":
        assert "what went wrong" in str(caught.value)


def test_retry_after_is_read_in_both_its_forms() -> None:
    assert retry_after_seconds({"retry-after": "2"}) == 2.0
    assert retry_after_seconds({"retry-after": "1", "retry-after-ms": "250"}) == 0.25
    later = retry_after_seconds({"retry-after": formatdate(time.time() + 100, usegmt=True)})
    assert later is not None
    assert 90 < later <= 100
    assert retry_after_seconds({"retry-after": formatdate(time.time() - 100, usegmt=True)}) == 0.0
    for nonsense in ("", "soon", "-3", "nan", "inf", "99999999999999999999999999999999 GMT"):
        assert retry_after_seconds({"retry-after": nonsense}) is None or nonsense[0] == "9"
    assert retry_after_seconds({}) is None


def test_a_server_that_asks_for_more_than_an_hour_has_refused(call: Caller) -> None:
    with (
        ScriptedServer([answer("no", "429 Slow", Retry_After="86400")]) as server,
        pytest.raises(ToolError, match="asks to come back in 86,400 s; no more than 3600 s are waited") as caught,
    ):
        call(tool_of("http"), context(), None, {"url": server.url})
    assert (caught.value.retryable, caught.value.retry_after_seconds) == (False, 86_400.0)


def test_a_redirect_is_followed_only_where_that_is_declared(call: Caller) -> None:
    script = [[answer("", "302 Found", Location="/b")], [answer("3")]]
    with ScriptedServer(*script) as server:
        assert call(tool_of("http", follow_redirects=True), context(), None, {"url": server.url + "/a"}) == 3
    assert server.requests[1].startswith(b"GET /b ")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ([None], "broke off"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", None], "broke off"),
        ([b"this is not HTTP\r\n\r\n", None], "broke off"),
        ([answer("{broken")], "is not JSON"),
        ([answer("NaN")], "is not JSON"),
        ([answer("[" * 100_000)], "nested too deeply"),
        ([answer(b"not gzip", Content_Encoding="gzip")], "Content-Encoding"),
    ],
)
def test_a_server_that_fails_may_be_asked_again(call: Caller, script: list[Any], message: str) -> None:
    with ScriptedServer(script) as server, pytest.raises(ToolError, match=message) as caught:
        call(tool_of("http"), context(), None, {"url": server.url, "expect": "json"})
    assert caught.value.retryable


def in_a_row(call: Caller, tool: Tool, times: int) -> list[Any]:
    """Several calls over the connections of one client."""
    assert tool.call is not None
    if call is call_sync:
        try:
            return [tool.call(context(), "hello", {}) for _ in range(times)]
        finally:
            tool.close()

    async def awaited() -> list[Any]:
        assert tool.call_async is not None
        try:
            return [await tool.call_async(context(), "hello", {}) for _ in range(times)]
        finally:
            await tool.close_async()

    return asyncio.run(awaited())


def test_a_kept_connection_that_the_server_just_closed_costs_no_attempt(call: Caller) -> None:
    # A server may close a kept connection while the next request is on its way.
    with ScriptedServer([completion("one")], [None], [completion("two")]) as server:
        assert in_a_row(call, tool_of("llm", base_url=server.url, model="m"), 2) == ["one", "two"]
    assert len(server.requests) == 3
    assert server.connections == 2


def test_a_server_that_breaks_off_on_a_new_connection_is_not_asked_again_at_once(call: Caller) -> None:
    with ScriptedServer([None]) as server, pytest.raises(ToolError, match="broke off") as caught:
        in_a_row(call, tool_of("llm", base_url=server.url, model="m"), 1)
    assert caught.value.retryable
    assert len(server.requests) == 1


def test_an_answer_that_had_begun_is_not_asked_for_again_at_once(call: Caller) -> None:
    cut_off = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
    with ScriptedServer([completion("one")], [cut_off, None]) as server, pytest.raises(ToolError, match="broke off"):
        in_a_row(call, tool_of("llm", base_url=server.url, model="m"), 2)
    assert len(server.requests) == 2


def test_a_server_that_is_not_there_may_be_asked_again(call: Caller) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ToolError, match=f"cannot connect to http://127.0.0.1:{port}/x") as caught:
        call(tool_of("http"), context(), None, {"url": f"http://user:secret@127.0.0.1:{port}/x?token=secret"})
    assert caught.value.retryable
    assert "secret" not in str(caught.value)


def test_a_silent_server_is_given_up_after_the_read_timeout(call: Caller) -> None:
    with ScriptedServer([60.0]) as server, pytest.raises(ToolError, match="silent for too long") as caught:
        call(tool_of("http", read_timeout_seconds=0.1), context(), None, {"url": server.url})
    assert caught.value.retryable
    assert not isinstance(caught.value, ToolTimeoutError)


@pytest.mark.parametrize("kind", ["http", "llm"])
def test_a_slow_server_meets_the_step_s_timeout(call: Caller, kind: str) -> None:
    drip: list[bytes | float | None] = [b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"]
    drip += [b": still here\n", 0.1] * 600
    for script in ([60.0], drip):
        with ScriptedServer(script) as server:
            tool = tool_of(kind, base_url=server.url, **({"model": "m"} if kind == "llm" else {}))
            prompt, args = ("hello", {}) if kind == "llm" else (None, {"url": "x"})
            with pytest.raises(ToolTimeoutError, match=r"within 0\.3 s"):
                call(tool, context(timeout_seconds=0.3), prompt, args)


def test_a_cancelled_call_ends_at_the_next_piece() -> None:
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    with ScriptedServer([head, *([b"x", 0.05] * 1000)]) as server:
        tool_context = context()
        timer = threading.Timer(0.2, tool_context.cancel)
        timer.start()
        with pytest.raises(ToolError, match="cancelled") as caught:
            call_sync(tool_of("http"), tool_context, None, {"url": server.url})
        timer.join()
    assert not caught.value.retryable


def test_an_answer_beyond_the_limit_is_refused_for_good(call: Caller) -> None:
    with ScriptedServer([answer("x" * 2000)]) as server, pytest.raises(ToolError, match="1,000 bytes") as caught:
        call(tool_of("http", response_limit_bytes=1000), context(), None, {"url": server.url})
    assert not caught.value.retryable


def test_an_answer_that_is_no_text_is_refused(call: Caller) -> None:
    with ScriptedServer(
        [answer(b"\xff\xfe", kind="image/png")], [answer(b"\xe4", kind="text/plain; charset=latin-1")]
    ) as server:
        with pytest.raises(ToolError, match="not text"):
            call(tool_of("http"), context(), None, {"url": server.url})
        assert call(tool_of("http"), context(), None, {"url": server.url}) == "ä"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({}, "args.url is missing"),
        ({"url": "ftp://host/x"}, "not an http or https address"),
        ({"url": "/x"}, "not an http or https address"),
        ({"url": "http://host:port"}, "not an http or https address"),
        ({"url": "http://host", "json": 1, "body": "x"}, "give one"),
        ({"url": "http://host", "method": "BREW"}, "args.method"),
        ({"url": "http://host", "header": {}}, r"args.header: unknown name \(did you mean 'headers'\?\)"),
        ({"url": "http://host", "headers": {"Authorization": "Bearer se\ncret"}}, "printable ASCII"),
        ({"url": "http://host", "headers": {"Author ization": "Bearer secret"}}, "printable ASCII"),
    ],
)
def test_a_call_that_can_never_work_is_refused_for_good(call: Caller, args: dict[str, Any], message: str) -> None:
    with pytest.raises(ToolError, match=message) as caught:
        call(tool_of("http"), context(), None, args)
    assert not caught.value.retryable
    assert "cret" not in str(caught.value)


def test_a_secret_header_goes_to_its_own_server_alone(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"headers_from_env": {"Authorization": "SERVICE_TOKEN"}}
    with ScriptedServer([answer("your Bearer sk-secret is wrong, sk-secret", "401 No")]) as server:
        tool = tool_of("http", base_url=server.url, **options)
        with pytest.raises(ToolError, match=r"'SERVICE_TOKEN'.*is not set"):
            call(tool, context(), None, {"url": "x"})
        monkeypatch.setenv("SERVICE_TOKEN", "Bearer sk-secret")
        for elsewhere in ("http://127.0.0.1:9/x", "//127.0.0.1:9/x", "https" + server.url[4:]):
            with pytest.raises(ToolError, match="leads away"):
                call(tool, context(), None, {"url": elsewhere})
        with pytest.raises(ToolError, match="answered 401") as caught:
            call(tool, context(), None, {"url": "x"})
    assert b"Authorization: Bearer sk-secret\r\n" in server.requests[0]
    assert "sk-secret" not in str(caught.value)


def test_loopback_is_never_reached_through_a_proxy(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with ScriptedServer([answer("1")]) as server:
        assert call(tool_of("http"), context(), None, {"url": server.url}) == 1


def test_a_message_shows_no_user_and_no_query() -> None:
    assert safe_url("https://user:secret@host:8080/a/b?key=secret#x") == "https://host:8080/a/b"
    assert safe_url("http://[::broken") == "the address"


# -- llm -----------------------------------------------------------------------------------------------------------


def completion(text: str | None = "hello", **more: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop", **more}
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    return answer(json.dumps({"model": "m-1", "choices": [choice], "usage": usage}))


def stream(*events: Any, done: bool = True) -> list[bytes | float | None]:
    lines = [
        f"data: {event if isinstance(event, str) else json.dumps(event, ensure_ascii=False)}\n\n" for event in events
    ]
    text = "".join([": a comment\n\n", *lines, "data: [DONE]\n\n" if done else ""])
    return [b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n", text.encode(), None]


def piece(text: str | None, finish_reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}]}


def llm(server: ScriptedServer, **options: Any) -> Tool:
    return tool_of("llm", **{"base_url": server.url + "/v1", "model": "m", **options})


def test_a_stream_is_put_together_and_its_usage_recorded(call: Caller) -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 6}}
    with ScriptedServer(stream(piece("a\u2028"), piece(None), piece("ä", "stop"), usage)) as server:
        tool_context = context()
        assert (
            call(llm(server, system="Be brief.", temperature=0), tool_context, "hi", {"max_tokens": "9"}) == "a\u2028ä"
        )
    assert tool_context.tokens_used == 11
    assert tool_context.facts is not None
    assert tool_context.facts["gen_ai.usage.input_tokens"] == 5
    assert tool_context.facts["gen_ai.usage.output_tokens"] == 6
    assert tool_context.facts["makespan.first_token_seconds"] > 0
    sent = json.loads(server.requests[0].partition(b"\r\n\r\n")[2])
    assert server.requests[0].startswith(b"POST /v1/chat/completions ")
    assert sent == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
        "temperature": 0,
        "max_tokens": 9,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_a_whole_answer_is_read_even_where_a_stream_was_asked_for(call: Caller) -> None:
    with ScriptedServer([completion()], [completion()]) as server:
        tool_context = context()
        assert call(llm(server), tool_context, "hi", {}) == "hello"
        assert tool_context.tokens_used == 7
        assert (
            call(llm(server, stream=False), context(), None, {"messages": [{"role": "user", "content": "x"}]})
            == "hello"
        )
    assert b'"stream"' not in server.requests[1]


def test_tokens_are_estimated_where_the_server_does_not_count_them(call: Caller) -> None:
    with ScriptedServer(stream(piece("12345678", "stop"))) as server:
        tool_context = context()
        call(llm(server), tool_context, "1234", {})
    assert tool_context.tokens_used == 3
    assert tool_context.facts is not None
    assert tool_context.facts["makespan.usage_estimated"] is True


def test_a_json_answer_is_an_output_with_fields(call: Caller) -> None:
    wanted = {"response_format": {"type": "json_object"}}
    with ScriptedServer(
        [completion('{"a": 1}')], [completion("no JSON")], [completion('{"a', finish_reason="length")]
    ) as server:
        assert call(llm(server, **wanted), context(), "hi", {}) == {"a": 1}
        with pytest.raises(ToolError, match="is not JSON") as caught:
            call(llm(server), context(), "hi", wanted)
        assert caught.value.retryable
        with pytest.raises(ToolError, match="cut off at max_tokens") as caught:
            call(llm(server), context(), "hi", wanted)
        assert not caught.value.retryable


@pytest.mark.parametrize(
    "script",
    [
        stream(piece("a"), done=False),
        stream(piece("a"), "{broken"),
        stream(piece("a"), {"error": {"message": "overloaded"}}),
        stream("[1]"),
        stream(),
        [answer("{broken")],
        [answer("[]")],
        [answer('{"choices": []}')],
        [answer('{"choices": [{"message": 3}]}')],
        [completion(None)],
        [b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ndata:", None],
    ],
)
def test_a_broken_answer_is_never_a_shorter_answer_and_may_be_asked_for_again(call: Caller, script: list[Any]) -> None:
    with ScriptedServer(script) as server, pytest.raises(ToolError) as caught:
        call(llm(server), context(), "hi", {})
    assert caught.value.retryable


def test_a_refusal_of_the_model_is_final(call: Caller) -> None:
    with (
        ScriptedServer([completion(None, message={"content": None, "refusal": "I would rather not."})]) as server,
        pytest.raises(ToolError, match="refused: I would rather not") as caught,
    ):
        call(llm(server), context(), "hi", {})
    assert not caught.value.retryable


def test_a_full_server_says_when_to_come_back(call: Caller) -> None:
    body = json.dumps({"error": {"message": "Rate limit reached", "type": "rate_limit_exceeded"}})
    with (
        ScriptedServer([answer(body, "429 Too Many Requests", Retry_After="3")]) as server,
        pytest.raises(ToolError, match="answered 429: Rate limit reached") as caught,
    ):
        call(llm(server), context(), "hi", {})
    assert (caught.value.retryable, caught.value.retry_after_seconds) == (True, 3.0)


def test_the_key_is_sent_and_never_repeated(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer([answer('{"error": {"message": "bad key sk-secret"}}', "401 No")], [completion()]) as server:
        with pytest.raises(ToolError, match=r"bad key \*\*\*") as caught:
            call(llm(server, api_key="sk-secret"), context(), "hi", {})
        assert not caught.value.retryable
        with pytest.raises(ToolError, match=r"'MY_KEY'.*is not set"):
            call(llm(server, api_key_env="MY_KEY"), context(), "hi", {})
        monkeypatch.setenv("MY_KEY", "sk-ä")
        with pytest.raises(ToolError, match="does not allow") as caught:
            call(llm(server, api_key_env="MY_KEY"), context(), "hi", {})
        assert "sk-" not in str(caught.value)
        monkeypatch.setenv("MY_KEY", "sk-other\n")
        call(llm(server, api_key_env="MY_KEY"), context(), "hi", {})
    assert b"Authorization: Bearer sk-secret\r\n" in server.requests[0]
    assert b"Authorization: Bearer sk-other\r\n" in server.requests[1]


@pytest.mark.parametrize(
    ("options", "prompt", "args", "message"),
    [
        ({}, "hi", {}, "no endpoint"),
        ({"base_url": "http://127.0.0.1:9"}, "hi", {}, "no model"),
        ({"base_url": "http://127.0.0.1:9", "model": "m"}, None, {}, "either a prompt or args.messages"),
        ({"base_url": "http://127.0.0.1:9", "model": "m"}, "hi", {"messages": []}, "either a prompt or args.messages"),
        ({"base_url": "http://127.0.0.1:9", "model": "m"}, "hi", {"temperature": "hot"}, "args.temperature"),
        (
            {"base_url": "http://127.0.0.1:9", "model": "m"},
            "hi",
            {"sytem": "x"},
            r"unknown name \(did you mean 'system'\?\)",
        ),
        ({"base_url": "http://127.0.0.1:9", "model": "m"}, "hi", {"lang": "x"}, r"say `ignored_args: \[lang\]`"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused_for_good(
    call: Caller, options: dict[str, Any], prompt: str | None, args: dict[str, Any], message: str
) -> None:
    with pytest.raises(ToolError, match=message) as caught:
        call(tool_of("llm", **options), context(), prompt, args)
    assert not caught.value.retryable


def test_only_the_stand_in_is_told_how_long_to_take(call: Caller) -> None:
    settings = {"expected_seconds": 5.0, "scale": 0.1, "seed": 4, "step_id": "schön/1"}
    with ScriptedServer([completion()], [completion()]) as server:
        call(llm(server), context(**settings), "hi", {})
        call(llm(server, stand_in=True), context(**settings), "hi", {})
    assert b"X-Makespan" not in server.requests[0]
    assert b"X-Makespan-Expected-Seconds: 0.5\r\n" in server.requests[1]
    assert b"X-Makespan-Seed: 4\r\n" in server.requests[1]
    assert b"X-Makespan-Step: sch%C3%B6n/1\r\n" in server.requests[1]


def test_simulation_takes_the_stated_time_or_cannot_say() -> None:
    tool = tool_of("llm")
    simulated = tool.simulate(context(expected_seconds=5.0, scale=0.1), "hi", {})
    assert simulated is not None
    assert simulated.duration_seconds == 0.5
    assert "simulated" in simulated.output
    assert tool.simulate(context(), "hi", {}) is None


def test_a_stream_means_the_same_however_its_bytes_are_cut() -> None:
    data = b"".join(act for act in stream(piece("hé"), piece("llo", "stop"))[1:] if isinstance(act, bytes))
    for size in (1, 2, 7, len(data)):
        reader = ReplyReader("web", "http://x", streamed=True, limit_bytes=10_000)
        for begin in range(0, len(data), size):
            reader.feed(data[begin : begin + size])
        assert reader.reply("hi").text == "héllo"
    with pytest.raises(ToolError, match="larger than 10 bytes"):
        ReplyReader("web", "http://x", streamed=True, limit_bytes=10).feed(data)
