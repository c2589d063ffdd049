"""From a loaded file to a run: endpoints, keys, the stand-in, and the number of workers."""

from __future__ import annotations

import threading
from pathlib import Path

import pydantic
import pytest

from executor.backends import BackendError
from executor.model.workflow import ToolDeclaration
from harness.config import LanguageModel
from harness.execution import calls_a_model, document_of, execute, ready_tools, with_endpoint, workers_for
from harness.scenario.scenario_file import load
from harness.scenario.scenario_model import Loaded

KEY = "sk-very-secret"
ENDPOINT = LanguageModel(
    base_url="http://127.0.0.1:9/v1", api_key=pydantic.SecretStr(KEY), model="small", timeout_seconds=7.0
)


def loaded(folder: Path, text: str) -> Loaded:
    path = folder / "w.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path)


def test_a_model_tool_without_an_endpoint_gets_the_configured_one_with_model_and_key() -> None:
    found = with_endpoint({"writer": ToolDeclaration(kind="llm")}, {"writer"}, ENDPOINT)
    assert found["writer"].options == {
        "base_url": ENDPOINT.base_url, "api_key": KEY, "model": "small", "read_timeout_seconds": 7.0
    }  # fmt: skip


def test_the_key_goes_to_no_endpoint_but_the_configured_one() -> None:
    own = ToolDeclaration.model_validate({"kind": "llm", "base_url": "http://127.0.0.1:10/v1"})
    assert with_endpoint({"writer": own}, {"writer"}, ENDPOINT)["writer"].options == own.options


def test_what_a_tool_says_itself_counts_more_than_the_configuration() -> None:
    own = ToolDeclaration.model_validate({"kind": "llm", "model": "large", "api_key_env": "MY_KEY"})
    options = with_endpoint({"writer": own}, {"writer"}, ENDPOINT)["writer"].options
    assert (options["model"], options["api_key_env"]) == ("large", "MY_KEY")
    assert "api_key" not in options


def test_the_undeclared_kind_llm_gets_the_configured_endpoint() -> None:
    assert with_endpoint({}, {"llm"}, ENDPOINT)["llm"].options["base_url"] == ENDPOINT.base_url
    assert with_endpoint({}, {"noop"}, ENDPOINT) == {}


def test_the_stand_in_is_started_only_where_a_model_tool_has_no_endpoint(tmp_path: Path) -> None:
    asks = loaded(tmp_path, "steps: [{step_id: a, tool: llm, prompt: hello}]")
    with ready_tools(asks) as (tools, stand_in):
        assert stand_in
        assert tools["llm"].options["base_url"].startswith("http://127.0.0.1:")
    for options in ({"llm": ENDPOINT}, {"simulated": True}):
        with ready_tools(asks, **options) as (_, stand_in):  # type: ignore[arg-type]  # one option each
            assert not stand_in
    with ready_tools(loaded(tmp_path, "steps: [{step_id: a, tool: noop}]")) as (_, stand_in):
        assert not stand_in


def test_code_of_a_step_may_ask_the_model_that_nobody_declared(tmp_path: Path) -> None:
    node = loaded(tmp_path, "steps: [{step_id: a, tool: node, args: {source: 'def main(): return 1'}}]")
    assert calls_a_model(node)
    with ready_tools(node) as (tools, stand_in):
        assert stand_in
        assert tools["llm"].options["base_url"]
    assert not calls_a_model(loaded(tmp_path, "steps: [{step_id: a, tool: noop}]"))


@pytest.mark.parametrize("asks", [False, True])
def test_a_stand_in_that_code_might_have_asked_and_did_not_is_not_said_to_have_answered(
    asks: bool, tmp_path: Path
) -> None:
    source = "from node_runtime import call_llm; print(repr(call_llm('hello'))[:0] + '1')" if asks else "print(1)"
    node = loaded(tmp_path, f'{{scale: 0.001, steps: [{{step_id: a, tool: node, args: {{source: "{source}"}}}}]}}')
    done = execute(node)
    assert done.run.outputs["a"] == 1
    assert done.stand_in == asks


@pytest.mark.parametrize("executor", ["threads", "asyncio", "virtual"])
def test_nothing_is_left_running_after_a_run(executor: str, tmp_path: Path) -> None:
    before = set(threading.enumerate())
    text = "{scale: 0.001, steps: [{step_id: a, tool: llm, prompt: hello, expected_seconds: 1}]}"
    done = execute(loaded(tmp_path, text), executor=executor)
    assert done.run.ok
    assert done.simulated == (executor == "virtual")
    assert done.stand_in == (executor != "virtual")
    assert [thread for thread in threading.enumerate() if thread not in before and not thread.daemon] == []
    assert not any(thread.name.startswith("stand-in") for thread in threading.enumerate())


def test_the_document_names_scenario_machine_and_what_was_set(tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text("{scenario: mine, inputs: {n: 1}, steps: [{step_id: a, tool: noop}]}", encoding="utf-8")
    document = document_of(execute(load(path, settings={"n": "3"})))
    assert document["scenario"] == "mine"
    assert document["results"][0]["parameters"] == {"n": 3}
    assert document["environment"]["stand_in"] is False
    assert document["run_id"] != document_of(execute(load(path)))["run_id"]


def test_an_executor_that_is_not_there_is_a_backend_error(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="thread"):
        execute(loaded(tmp_path, "steps: [{step_id: a, tool: noop}]"), executor="thread")


def test_serial_takes_no_number_of_workers_from_the_configuration() -> None:
    assert workers_for("serial", None, 4) is None
    assert workers_for("serial", 2, 4) == 2
    assert workers_for("threads", None, 4) == 4
    assert workers_for("threads", 2, 4) == 2
    assert workers_for("threads", None, None) is None
