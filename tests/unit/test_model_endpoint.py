"""Which model an endpoint is asked for: named, the only one there, or an error before the run."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from harness.config import LanguageModel
from harness.doctor import diagnose
from harness.model_endpoint import ModelEndpointError, with_model


@contextmanager
def endpoint(models: Any, status: int = 200) -> Iterator[tuple[str, list[str]]]:
    """A model service that lists ``models``; its address, and the models that it was asked for."""
    asked: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(status, models)

        def do_POST(self) -> None:
            words = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(words["model"])
            said = {"role": "assistant", "content": "hello"}
            self._answer(200, {"choices": [{"message": said, "finish_reason": "stop"}]})

        def _answer(self, code: int, words: Any) -> None:
            body = json.dumps(words).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def listing(*names: str) -> dict[str, Any]:
    return {"object": "list", "data": [{"id": name} for name in names]}


def test_the_only_model_that_is_listed_is_taken() -> None:
    with endpoint(listing("small")) as (url, _):
        assert with_model(LanguageModel(base_url=url)).model == "small"


def test_a_model_that_is_named_needs_no_list() -> None:
    llm = LanguageModel(base_url="http://127.0.0.1:9/v1", model="mine")
    assert with_model(llm) is llm


@pytest.mark.parametrize(
    ("models", "status", "words"),
    [
        (listing("small", "large"), 200, "it lists 2: small, large"),
        (listing(), 200, "it lists none"),
        ({"data": "no list"}, 200, "it lists none"),
        ([], 404, "it lists none"),
        ([], 401, "refuses the key (401)"),
        ([], 502, "answers 502"),
    ],
)
def test_without_one_model_the_error_says_what_to_set(models: Any, status: int, words: str) -> None:
    with endpoint(models, status) as (url, _), pytest.raises(ModelEndpointError) as caught:
        with_model(LanguageModel(base_url=url))
    assert words in str(caught.value)
    assert "MAKESPAN_LLM__MODEL" in caught.value.fix or status in (401, 502)


@pytest.fixture
def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """One question, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ask.yaml").write_text(
        "scenario: ask\ntools: {llm: {kind: llm, stream: false, retry: {max_attempts: 1}}}\n"
        "steps: [{step_id: a, tool: llm, prompt: hello}]\n"
    )
    return "ask.yaml"


def called(*arguments: str) -> tuple[int, str]:
    """A command in this process."""
    result = CliRunner().invoke(app, [*arguments])
    return result.exit_code, result.output


def test_a_run_takes_the_only_model_or_the_one_of_the_option(scenario: str) -> None:
    with endpoint(listing("small")) as (url, asked):
        for option in ([], ["--model", "named"]):
            code, text = called("run", scenario, "--llm", url, "--no-store", "--no-progress", *option)
            assert code == 0, text
        assert asked == ["small", "named"]


def test_a_run_without_a_model_ends_before_it_begins(scenario: str) -> None:
    with endpoint(listing("small", "large")) as (url, asked):
        code, text = called("run", scenario, "--llm", url, "--no-store", "--no-progress")
        assert (code, asked) == (2, [])
    assert "no model is named for http://127.0.0.1" in text
    assert "--model NAME, MAKESPAN_LLM__MODEL" in text


@pytest.mark.parametrize(
    ("model", "state", "words"),
    [
        (None, "broken", "it lists 2: small, large"),
        ("small", "ok", "answers; model small"),
        ("other", "missing", "does not list model other"),
    ],
)
def test_doctor_asks_which_models_there_are(
    model: str | None, state: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with endpoint(listing("small", "large")) as (url, _):
        Path("config.yaml").write_text(json.dumps({"llm": {"base_url": url, "model": model}}))
        check = next(one for one in diagnose("config.yaml") if one.name == "model endpoint")
    assert check.state == state
    assert words in check.detail
