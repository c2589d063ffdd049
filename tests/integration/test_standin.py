"""The stand-in model service over real sockets, and the `llm` tool that speaks with it."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import jsonschema
import pytest

from executor.tools.registry import make_tool
from executor.tools.tool import RunContext, Tool, ToolContext, ToolError
from harness.standin import StandIn, with_stand_in

CHAT = "/chat/completions"


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Any:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def body(prompt: str = "Write a joke about cats", **more: Any) -> dict[str, Any]:
    return {"model": "makespan-stand-in", "messages": [{"role": "user", "content": prompt}], **more}


def ask(standin: StandIn, request: Any = None, seconds: float | None = 0.0, **headers: str) -> httpx.Response:
    if seconds is not None:
        headers["X-Makespan-Expected-Seconds"] = str(seconds)
    return httpx.post(standin.base_url + CHAT, json=body() if request is None else request, headers=headers)


def llm(standin: StandIn) -> Tool:
    return make_tool("llm", with_stand_in({}, ["llm"], standin.base_url)["llm"])


def context(expected_seconds: float | None = 0.0, scale: float = 1.0, seed: int = 0) -> ToolContext:
    return ToolContext(RunContext(scale=scale, seed=seed), "a", expected_seconds=expected_seconds)


def test_an_answer_has_openai_s_shape_and_says_what_it_is() -> None:
    with StandIn(seed=1) as standin:
        answer = ask(standin).json()
        assert answer["object"] == "chat.completion"
        assert answer["model"] == "makespan-stand-in"
        choice = answer["choices"][0]
        assert choice["finish_reason"] == "stop"
        assert choice["message"]["content"].startswith("[stand-in] ")
        assert "cats" in choice["message"]["content"]
        usage = answer["usage"]
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
        assert standin.faults == []


def test_it_listens_on_loopback_alone() -> None:
    with StandIn() as standin:
        assert standin.base_url.startswith("http://127.0.0.1:")


def test_the_same_seed_gives_the_same_answers_and_another_seed_others() -> None:
    def texts(seed: int, **headers: str) -> list[str]:
        with StandIn(seed=seed) as standin:
            prompts = ["Write an article about cats", "Write an article about dogs"]
            return [
                ask(standin, body(prompt), **headers).json()["choices"][0]["message"]["content"] for prompt in prompts
            ]

    assert texts(1) == texts(1)
    assert texts(1) != texts(2)
    assert texts(1) == texts(2, **{"X-Makespan-Seed": "1"})


def test_a_stream_gives_the_text_of_the_whole_answer_and_its_usage() -> None:
    with StandIn(seed=1) as standin:
        whole = ask(standin, body("Write an article about cats")).json()
        asked = body("Write an article about cats", stream=True, stream_options={"include_usage": True})
        answer = ask(standin, asked)
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in answer.text.split("\n\n") if line]
        assert lines[-1] == "data: [DONE]"
        events = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
        assert events[-1]["choices"] == []
        assert events[-1]["usage"] == whole["usage"]
        deltas = [event["choices"][0] for event in events[:-1]]
        assert len(deltas) > 3
        assert deltas[0]["delta"]["role"] == "assistant"
        assert "".join(delta["delta"]["content"] for delta in deltas) == whole["choices"][0]["message"]["content"]
        assert [delta["finish_reason"] for delta in deltas] == [None] * (len(deltas) - 1) + ["stop"]
        assert "usage" not in ask(standin, body(stream=True)).text


def test_max_tokens_cuts_the_answer_and_says_so() -> None:
    with StandIn() as standin:
        answer = ask(standin, body("Write an article about cats", max_tokens=5)).json()
        assert answer["choices"][0]["finish_reason"] == "length"
        assert answer["usage"]["completion_tokens"] == 5


def test_a_schema_is_answered_with_a_valid_instance() -> None:
    schema = {
        "type": "object",
        "properties": {"title": {"type": "string"}, "score": {"type": "integer", "minimum": 1, "maximum": 5}},
        "required": ["title", "score"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "review", "schema": schema, "strict": True}}
    with StandIn(seed=1) as standin:
        tool = llm(standin)
        assert tool.call is not None
        output = tool.call(context(), "Review a film about cats", {"response_format": wanted})
        assert output == tool.call(context(), "Review a film about cats", {"response_format": wanted})
        jsonschema.validate(output, schema)
        assert output["title"].startswith("[stand-in]")
        assert tool.call(context(), "x", {"response_format": {"type": "json_object"}})["stand_in"] is True
        wanted["json_schema"]["schema"] = {"type": "string", "pattern": "^a"}
        with pytest.raises(ToolError, match="'pattern'") as caught:
            tool.call(context(), "x", {"response_format": wanted})
        assert not caught.value.retryable
        tool.close()


def test_the_models_are_listed() -> None:
    with StandIn() as standin:
        listed = httpx.get(standin.base_url + "/models").json()
        assert [model["id"] for model in listed["data"]] == ["makespan-stand-in"]
        assert httpx.get(standin.base_url + "/models/makespan-stand-in").json()["object"] == "model"
        assert httpx.get(standin.base_url + "/models/other").status_code == 404


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_takes_at_least_the_stated_time(stream: bool) -> None:
    with StandIn() as standin:
        begin = time.perf_counter()
        ask(standin, body(stream=stream), seconds=0.15)
        assert time.perf_counter() - begin >= 0.15


def test_a_stream_is_spread_over_the_stated_time() -> None:
    with StandIn() as standin:
        headers = {"X-Makespan-Expected-Seconds": "0.4"}
        url = standin.base_url + CHAT
        asked = body("Write an article about cats", stream=True)
        with httpx.stream("POST", url, json=asked, headers=headers) as answer:
            arrivals = [time.perf_counter() for line in answer.iter_lines() if line.startswith("data: {")]
        assert len(arrivals) > 3
        assert arrivals[-1] - arrivals[0] > 0.2


def test_a_step_without_a_stated_time_takes_a_modelled_time_that_scales() -> None:
    with StandIn(scale=0.0) as standin:
        assert ask(standin, seconds=None).status_code == 200
        begin = time.perf_counter()
        assert ask(standin, seconds=None, **{"X-Makespan-Scale": "0.2"}).status_code == 200
        assert time.perf_counter() - begin > 0.01


def test_too_many_at_once_are_told_when_to_come_back() -> None:
    with StandIn(concurrency=1) as standin, ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: ask(standin, seconds=0.4), range(4)))
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses[0] == 200
        assert statuses[-1] == 429
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert int(refused.headers["retry-after"]) == 1
        assert 0 < int(refused.headers["retry-after-ms"]) <= 401
        assert refused.json()["error"]["code"] == "concurrency_limit_exceeded"
        assert standin.limits.most_at_once == 1


def test_a_place_is_free_as_soon_as_its_answer_was_read() -> None:
    with StandIn(concurrency=1) as standin:
        tool = llm(standin)
        assert tool.call is not None
        for stream in (True, False):
            for _ in range(30):
                assert tool.call(context(), f"hello {stream}", {}).startswith("[stand-in]")
        tool.close()


def test_the_llm_tool_turns_a_429_into_a_retry_after_the_stated_wait() -> None:
    with StandIn(tokens_per_minute=45) as standin:
        tool = llm(standin)
        assert tool.call is not None
        tool.call(context(), "hello", {})
        with pytest.raises(ToolError, match="answered 429") as caught:
            tool.call(context(), "hello", {})
        assert caught.value.retryable
        assert caught.value.retry_after_seconds is not None
        assert 0 < caught.value.retry_after_seconds <= 60
        with pytest.raises(ToolError, match="more than the 45 of a whole minute") as caught:
            tool.call(context(), "hello " * 100, {})
        assert not caught.value.retryable, "no wait can help"
        tool.close()


def test_a_client_that_goes_away_frees_its_place() -> None:
    with StandIn(concurrency=1) as standin:
        host, port = standin.base_url.removeprefix("http://").removesuffix("/v1").split(":")
        data = json.dumps(body()).encode()
        head = (
            f"POST /v1{CHAT} HTTP/1.1\r\nHost: x\r\nX-Makespan-Expected-Seconds: 600\r\n"
            f"Content-Length: {len(data)}\r\n\r\n"
        )
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(head.encode() + data)
            while standin.limits.most_at_once == 0:
                time.sleep(0.01)
            assert ask(standin).status_code == 429
        end = time.monotonic() + 30
        while ask(standin).status_code != 200:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert standin.faults == []


def test_closing_in_the_middle_breaks_off_and_the_tool_may_try_again() -> None:
    standin = StandIn()
    standin.start()
    standin.start()
    tool = llm(standin)
    assert tool.call is not None
    closer = threading.Thread(
        target=lambda: [time.sleep(0.01) for _ in iter(lambda: standin.limits.most_at_once, 1)] and standin.close()
    )
    closer.start()
    with pytest.raises(ToolError) as caught:
        tool.call(context(expected_seconds=600.0), "hello", {})
    closer.join()
    assert caught.value.retryable
    with pytest.raises(ToolError, match=r"cannot connect|broke off") as caught:
        tool.call(context(), "hello", {})
    assert caught.value.retryable
    tool.close()
    standin.close()
    with pytest.raises(RuntimeError, match="not running"):
        _ = standin.base_url
    assert standin.faults == []


@pytest.mark.parametrize(
    ("request_body", "param"),
    [
        ([], None),
        ({}, "model"),
        ({"model": "m"}, "messages"),
        (body() | {"model": 3}, "model"),
        (body() | {"messages": []}, "messages"),
        (body() | {"messages": ["hi"]}, "messages[0]"),
        (body() | {"messages": [{"role": "king", "content": "hi"}]}, "messages[0]"),
        (body() | {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0]"),
        (body() | {"n": 2}, "n"),
        (body() | {"stream": "yes"}, "stream"),
        (body() | {"max_tokens": 0}, "max_tokens"),
        (body() | {"tools": [{}]}, "tools"),
        (body() | {"response_format": {"type": "xml"}}, "response_format"),
        (body() | {"response_format": {"type": "json_schema"}}, "response_format"),
    ],
    ids=lambda value: str(value)[-40:],
)
def test_a_malformed_request_gets_400_with_the_parameter(request_body: Any, param: str | None) -> None:
    with StandIn() as standin:
        answer = ask(standin, request_body)
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert error["type"] == "invalid_request_error"
        assert error["param"] == param
        assert error["message"]
        assert standin.faults == []


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b'{"model": NaN'])
def test_a_body_that_is_not_json_gets_400(content: bytes) -> None:
    with StandIn() as standin:
        answer = httpx.post(standin.base_url + CHAT, content=content)
        assert answer.status_code == 400
        assert "not JSON" in answer.json()["error"]["message"]
        assert standin.faults == []


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf", "soon", "1e9"])
def test_an_impossible_duration_gets_400(seconds: str) -> None:
    with StandIn() as standin:
        answer = ask(standin, seconds=None, **{"X-Makespan-Expected-Seconds": seconds})
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "X-Makespan-Expected-Seconds"


def test_wrong_paths_methods_and_lengths_are_answered_in_json() -> None:
    with StandIn() as standin:
        root = standin.base_url.removesuffix("/v1")
        for method, path, status in (
            ("GET", "/", 404), ("POST", "/v1/x", 404), ("GET", "/v1" + CHAT, 405), ("DELETE", "/v1/models", 501),
        ):  # fmt: skip
            answer = httpx.request(method, root + path)
            assert answer.status_code == status
            assert answer.json()["error"]["message"]
        host, port = root.removeprefix("http://").split(":")
        for head, status in (
            (f"POST /v1{CHAT} HTTP/1.1\r\n\r\n", 411),
            (f"POST /v1{CHAT} HTTP/1.1\r\nContent-Length: -5\r\n\r\n", 400),
            (f"POST /v1{CHAT} HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
            ("this is not HTTP at all\r\n\r\n", 400),
            ("GET /" + "x" * 70_000 + " HTTP/1.1\r\n\r\n", 414),
        ):
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(head.encode())
                received = connection.makefile("rb").read().decode()
            assert f" {status} " in received.partition("\r\n")[0] or received.startswith("{"), received
            assert '"error"' in received
        assert standin.faults == []


def test_http_1_0_clients_get_a_stream_that_ends_with_the_connection() -> None:
    with StandIn() as standin:
        host, port = standin.base_url.removeprefix("http://").removesuffix("/v1").split(":")
        data = json.dumps(body(stream=True)).encode()
        head = f"POST /v1{CHAT} HTTP/1.0\r\nX-Makespan-Expected-Seconds: 0\r\nContent-Length: {len(data)}\r\n\r\n"
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(head.encode() + data)
            received = connection.makefile("rb").read()
        assert b"Transfer-Encoding" not in received
        assert received.endswith(b"data: [DONE]\n\n")


def test_many_clients_are_served_side_by_side_in_threads_and_coroutines() -> None:
    with StandIn() as standin:
        tool = llm(standin)
        assert tool.call is not None
        begin = time.perf_counter()
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda _: tool.call and tool.call(context(0.5), "hello", {}), range(16)))

        async def together() -> None:
            assert tool.call_async is not None
            await asyncio.gather(*(tool.call_async(context(0.5), "hello", {}) for _ in range(16)))
            await tool.close_async()

        asyncio.run(together())
        assert time.perf_counter() - begin < 16 * 2 * 0.5, "one after the other would have taken longer"
        assert standin.limits.most_at_once > 1
        tool.close()


def test_limits_that_make_no_sense_are_refused() -> None:
    for wrong in ({"concurrency": 0}, {"tokens_per_minute": 0}, {"scale": -1}, {"scale": float("nan")}):
        with pytest.raises(ValueError, match="must be"):
            StandIn(**wrong)
