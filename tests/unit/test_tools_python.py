"""Python callables as tools: how they are found, called and sent to other processes."""

from __future__ import annotations

import asyncio
import functools
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from executor.model.workflow import ToolDeclaration
from executor.tools.python import PythonTool, import_callable, importable_reference, is_reference
from executor.tools.registry import make_tool
from executor.tools.tool import RunContext, ToolContext, ToolError, ToolOptionsError, ToolTimeoutError

CONTEXT = ToolContext(RunContext(), "a")


def declared(reference: Any, **options: Any) -> ToolDeclaration:
    return ToolDeclaration.model_validate({"kind": "python", "callable": reference, **options})


def shout(text: str = "", *, mark: str = "!") -> str:
    return text.upper() + mark


async def shout_later(text: str = "", *, mark: str = "!") -> str:
    await asyncio.sleep(0)
    return text.upper() + mark


class Shouter:
    async def __call__(self, text: str) -> str:
        return text.upper()


def test_args_are_keywords_and_the_prompt_comes_first() -> None:
    tool = PythonTool("shout", shout)
    assert tool.call is not None
    assert tool.call(CONTEXT, "hi", {"mark": "?"}) == "HI?"
    assert tool.call(CONTEXT, None, {"text": "hi"}) == "HI!"
    assert tool.call_async is None


def test_a_coroutine_function_has_only_the_async_form() -> None:
    for function in (shout_later, functools.partial(shout_later), Shouter()):
        tool = PythonTool("later", function)
        assert tool.call is None
        assert tool.call_async is not None

        async def ask(tool: PythonTool = tool) -> Any:
            assert tool.call_async is not None
            return await tool.call_async(CONTEXT, "hi", {})

        assert asyncio.run(ask()).startswith("HI")


def test_a_declaration_names_any_importable_callable() -> None:
    tool = make_tool("parse", declared("json:loads"))
    assert tool.call is not None
    assert tool.call(CONTEXT, "[1]", {}) == [1]
    nested = make_tool("decode", declared("json.decoder:JSONDecoder.decode", cpu_bound=True))
    assert nested.cpu_bound


@pytest.mark.parametrize(
    ("reference", "message", "fix"),
    [
        ("json", "not of the form", "package.module:function"),
        ("json:", "not of the form", "package.module:function"),
        ("json:load s", "not of the form", "package.module:function"),
        ("no_such_module_here:f", "no module 'no_such_module_here'", "Python path"),
        ("json:load_", "has no 'load_'", "load"),
        ("json:__doc__", "cannot be called", "name a function"),
    ],
)
def test_a_wrong_reference_is_explained(reference: str, message: str, fix: str) -> None:
    with pytest.raises(ToolOptionsError, match=message) as caught:
        make_tool("x", declared(reference))
    assert caught.value.field == "callable"
    assert fix in caught.value.fix


def test_a_module_that_fails_while_it_is_imported_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_tool_module.py").write_text("raise RuntimeError('no licence')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ToolOptionsError, match="RuntimeError: no licence"):
        import_callable("x", "broken_tool_module:f")


def test_wrong_options_name_the_field_and_the_nearest_one() -> None:
    with pytest.raises(ToolOptionsError, match="calable: unknown name") as caught:
        make_tool("x", ToolDeclaration.model_validate({"kind": "python", "callable": "json:loads", "calable": "y"}))
    assert caught.value.field == "calable"
    assert "'callable'" in caught.value.fix
    with pytest.raises(ToolOptionsError, match="callable: is missing"):
        make_tool("x", ToolDeclaration(kind="python"))
    with pytest.raises(ToolOptionsError, match="callable: input should be a valid string"):
        make_tool("x", declared(3))


def test_what_looks_like_a_reference() -> None:
    assert is_reference("package.module:Class.method")
    assert not any(is_reference(text) for text in ("sleep", "http://x", "a:b:c", "a-b:c", ":f", "a:"))


def test_an_importable_function_travels_by_name() -> None:
    tool = PythonTool("loads", json.loads, cpu_bound=True)
    assert importable_reference(json.loads) == "json:loads"
    again = pickle.loads(pickle.dumps(tool))
    assert again.function is json.loads
    assert again.cpu_bound
    assert again.name == "loads"


def test_functions_that_cannot_be_imported_reach_another_process() -> None:
    greeting = "hello "

    def closure(name: str) -> str:
        return greeting + name

    tools = [PythonTool("closure", closure), PythonTool("lambda", lambda name: greeting + name)]
    # This module has no name under which a fresh interpreter could import it.
    tools.append(PythonTool("shout", functools.partial(shout, mark=" there")))
    code = (
        "import pickle, sys\n"
        "from executor.tools.tool import RunContext, ToolContext\n"
        "tools = pickle.load(sys.stdin.buffer)\n"
        "print([tool.call(ToolContext(RunContext(), 'a'), 'you', {}) for tool in tools])"
    )
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(tools), capture_output=True, check=False)
    assert done.stderr == b""
    assert done.stdout.decode().strip() == "['hello you', 'hello you', 'YOU there']"


def test_what_cannot_travel_is_named() -> None:
    import threading

    lock = threading.Lock()

    def locked() -> None:
        lock.acquire()

    with pytest.raises(pickle.PicklingError, match=r"tool 'guard': .*locked.* cannot be sent"):
        pickle.dumps(PythonTool("guard", locked))


def test_errors_of_tools_survive_the_way_home() -> None:
    error = pickle.loads(pickle.dumps(ToolError("busy", retryable=False, retry_after_seconds=2.5)))
    assert (str(error), error.retryable, error.retry_after_seconds) == ("busy", False, 2.5)
    late = pickle.loads(pickle.dumps(ToolTimeoutError("too late")))
    assert isinstance(late, ToolTimeoutError)
    assert str(late) == "too late"
    wrong = pickle.loads(pickle.dumps(ToolOptionsError("wrong", field="argv", fix="write it")))
    assert (str(wrong), wrong.field, wrong.fix) == ("wrong", "argv", "write it")
