"""How tools are found by kind and by name, and that nothing is imported before it is used."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from typing import Any

import pytest

from executor.model.workflow import ToolDeclaration
from executor.tools import registry
from executor.tools.command import CommandTool
from executor.tools.python import PythonTool
from executor.tools.registry import check_tools, make_tool, resolve_tool, tool_kind, tool_kind_names
from executor.tools.synthetic import NoopTool, SleepTool
from executor.tools.tool import RunContext, Tool, ToolContext, ToolOptionsError


def greet(name: str) -> str:
    return f"hello {name}"


def test_every_built_in_kind_is_found_under_its_own_name() -> None:
    kinds = {kind: tool_kind(kind) for kind in tool_kind_names()}
    assert {"python", "command", "http", "llm", "noop", "sleep", "busy", "flaky"} <= set(kinds)
    for name, kind in kinds.items():
        assert kind.kind == name
        assert kind.summary


def test_built_in_kinds_need_no_installed_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [])
    registry._foreign.cache_clear()
    try:
        assert set(tool_kind_names()) == set(registry.BUILT_IN)
    finally:
        registry._foreign.cache_clear()


def test_a_built_in_kind_needs_no_declaration() -> None:
    assert isinstance(resolve_tool("sleep", {}), SleepTool)
    assert isinstance(resolve_tool("command", {}), CommandTool)


def test_a_name_may_be_declared_in_every_form() -> None:
    class Mine(Tool):
        kind = "mine"

    ready = NoopTool("ready")
    declared: dict[str, Any] = {
        "declaration": ToolDeclaration(kind="sleep"),
        "mapping": {"kind": "command", "argv": ["true"]},
        "tool": ready,
        "class": Mine,
        "function": greet,
        "reference": "json:loads",
    }
    tools = {name: resolve_tool(name, declared) for name in [*declared, "json:dumps"]}
    assert isinstance(tools["declaration"], SleepTool)
    assert isinstance(tools["mapping"], CommandTool)
    assert tools["tool"] is ready
    assert isinstance(tools["class"], Mine)
    assert isinstance(tools["function"], PythonTool)
    assert tools["function"].call is not None
    assert tools["function"].call(ToolContext(RunContext(), "a"), "you", {}) == "hello you"
    assert isinstance(tools["reference"], PythonTool)
    assert isinstance(tools["json:dumps"], PythonTool)


def test_a_declaration_wins_over_a_built_in_kind_of_the_same_name() -> None:
    assert isinstance(resolve_tool("sleep", {"sleep": greet}), PythonTool)


def test_an_unknown_tool_suggests_the_nearest_name() -> None:
    with pytest.raises(ToolOptionsError, match="there is no tool 'slep'") as caught:
        resolve_tool("slep", {})
    assert caught.value.fix == "did you mean 'sleep'?"
    with pytest.raises(ToolOptionsError) as caught:
        resolve_tool("trnslator", {"translator": {"kind": "noop"}})
    assert caught.value.fix == "did you mean 'translator'?"


def test_an_unknown_kind_suggests_the_nearest_kind() -> None:
    with pytest.raises(ToolOptionsError, match="tool 'x': unknown kind 'comand'") as caught:
        make_tool("x", ToolDeclaration(kind="comand"))
    assert (caught.value.field, caught.value.fix) == ("kind", "did you mean 'command'?")


@pytest.mark.parametrize(
    ("declaration", "field", "word"),
    [
        ({"kind": "sleep", "seconds": 3}, "seconds", "no"),
        ({"kind": "command", "argv": "ls -l"}, "argv", "tuple"),
        ({"kind": "command", "argv": [""]}, "argv", "empty"),
        ({"kind": "command", "argv": ["ls"], "shell": True}, "shell", "unknown"),
        ({"kind": "http", "base_url": "ftp://x"}, "base_url", "http"),
        ({"kind": "http", "read_timeout_seconds": -1}, "read_timeout_seconds", "greater"),
        ({"kind": "http", "headers_from_env": {"Authorization": "KEY"}}, "headers_from_env", "base_url"),
        ({"kind": "llm", "base_url": "localhost:1"}, "base_url", "http"),
        ({"kind": "llm", "temprature": 1}, "temprature", "unknown"),
        ({"kind": "llm", "max_tokens": 1.5}, "max_tokens", "integer"),
        ({"kind": "noop", "retry": {"max_attempts": 0}}, "retry.max_attempts", "greater"),
        ({"argv": ["ls"]}, "kind", "required"),
    ],
)
def test_wrong_options_name_their_field(declaration: dict[str, Any], field: str, word: str) -> None:
    with pytest.raises(ToolOptionsError, match=word) as caught:
        resolve_tool("x", {"x": declaration})
    assert caught.value.field == field


def test_a_secret_in_a_wrong_declaration_is_not_repeated() -> None:
    declaration = {"kind": "llm", "base_url": "http://localhost:1", "api_key": "sk-secret", "max_tokens": "sk-secret"}
    with pytest.raises(ToolOptionsError) as caught:
        resolve_tool("x", {"x": declaration})
    assert "sk-secret" not in str(caught.value)
    declaration["max_tokens"] = 5
    assert "sk-secret" not in repr(resolve_tool("x", {"x": declaration}).__dict__)


def test_all_faults_of_all_declarations_are_listed_at_once() -> None:
    declared: dict[str, Any] = {
        "good": {"kind": "noop"},
        "bad": {"kind": "http", "base_url": "ftp://x"},
        "unused": {"kind": "nope"},
    }
    findings = check_tools(["good", "missing"], declared)
    assert [finding.field for finding in findings] == ["tools.bad.base_url", "tools.unused.kind", ""]
    assert [finding.code for finding in findings] == ["tool-options", "tool-options", "unknown-tool"]
    assert all(finding.severity == "error" and finding.fix for finding in findings)


def test_no_tool_is_imported_before_it_is_used_and_httpx_not_before_a_call() -> None:
    code = (
        "import sys\n"
        "from executor.tools.registry import resolve_tool, tool_kind_names\n"
        "tool_kind_names()\n"
        "resolve_tool('noop', {})\n"
        "assert not {'executor.tools.http', 'executor.tools.llm', 'executor.tools.command'} & set(sys.modules)\n"
        "[resolve_tool(name, {'python': 'json:loads'}) for name in ('http', 'llm', 'python')]\n"
        "assert not {'httpx', 'cloudpickle'} & set(sys.modules), sorted(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
