"""What makes two calls the same: code, as deep as it goes in its module, and what shapes an output."""

from __future__ import annotations

import ast
import gc
import importlib
import inspect
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from executor.model.workflow import ToolDeclaration
from executor.tools.identity import call_identity, tool_identity
from executor.tools.python import PythonTool
from executor.tools.registry import make_tool
from executor.tools.source_code import _assignments_in

MODULE = """
import json
LIMIT = 3
WORDS = {"a": 1}
MADE = []

def helper(value):
    return value + LIMIT

def unused(value):
    return value

class Part:
    def get(self):
        return helper(1)

def step(value):
    MADE.append(value)
    return json.dumps([helper(value), Part().get(), WORDS])
"""

Changed = Callable[[str, str], str | None]


@pytest.fixture
def code_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Changed:
    """The digest of `step` with one text of its module replaced by another."""
    monkeypatch.syspath_prepend(str(tmp_path))
    numbers = iter(range(100))

    def digest(old: str, new: str) -> str | None:
        name = f"identity_module_{next(numbers)}"
        assert old in MODULE
        (tmp_path / f"{name}.py").write_text(MODULE.replace(old, new), encoding="utf-8")
        importlib.invalidate_caches()
        module = importlib.import_module(name)
        found = tool_identity(PythonTool("t", module.step)).code
        module.step(4)
        assert tool_identity(PythonTool("t", module.step)).code == found, "a call has changed it"
        del sys.modules[name]
        return found

    return digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("json.dumps([", "json.dumps([0, "),
        ("return value + LIMIT", "return value - LIMIT"),
        ("LIMIT = 3", "LIMIT = 4"),
        ('{"a": 1}', '{"a": 2}'),
        ("return helper(1)", "return helper(2)"),
    ],
)
def test_what_a_function_uses_of_its_module_is_its_code(code_after: Changed, old: str, new: str) -> None:
    assert code_after(old, new) != code_after("LIMIT = 3", "LIMIT = 3")


def test_what_it_does_not_use_is_not(code_after: Changed) -> None:
    assert code_after("def unused(value):\n    return value", "def unused(value):\n    return 2") == code_after(
        "3", "3"
    )


@pytest.mark.parametrize(
    ("module", "name", "error"),
    [
        (inspect, "getsource", SystemError("AST constructor recursion depth mismatch (before=15, after=9)")),
        (inspect, "getsource", KeyError("a file whose lines were dropped")),
        (inspect, "getsource", OSError("could not get source code")),
        (ast, "parse", SystemError("AST constructor recursion depth mismatch (before=15, after=9)")),
    ],
)
def test_code_is_the_same_where_other_threads_are_in_the_way(
    code_after: Changed, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, error: Exception
) -> None:
    undisturbed = code_after("3", "3")
    real, calls = getattr(module, name), []

    def disturbed(*arguments: Any, **options: Any) -> Any:
        calls.append(name)
        if len(calls) % 3:
            raise error
        return real(*arguments, **options)

    _assignments_in.cache_clear()
    monkeypatch.setattr(module, name, disturbed)
    assert code_after("3", "3") == undisturbed
    assert len(calls) >= 3


@pytest.mark.slow
def test_code_is_the_same_whatever_threads_read_sources_and_collect_garbage() -> None:
    def with_list() -> Any:
        return [LOST, Lost]

    class Junk:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            for _ in range(50):
                pass

    over = threading.Event()

    def litter() -> None:
        # A pause, so that a busy machine leaves time to the threads that are waited for.
        while not over.wait(0.001):
            for _ in range(300):
                Junk()

    def parse() -> None:
        while not over.wait(0.001):
            # What a user's own threads may do; before CPython 3.11.8 it may fail.
            with suppress(SystemError):
                ast.parse(Path(__file__).read_text(encoding="utf-8"))

    found: set[str | None] = set()

    def identify() -> None:
        for _ in range(10):
            _assignments_in.cache_clear()
            found.add(tool_identity(PythonTool("t", with_list)).code)

    threads = [threading.Thread(target=one) for one in (litter, parse, identify, identify, identify)]
    before = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(50)
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads[2:]:
            thread.join()
    finally:
        over.set()
        gc.set_threshold(*before[0])
        sys.setswitchinterval(before[1])
    assert len(found) == 1


LOST = [1, 2]


class Lost:
    """What a function of this module uses."""


def test_closures_are_told_apart_by_the_functions_and_constants_in_them() -> None:
    def make(factor: Any) -> Callable[[int], int]:
        return lambda value: value * factor

    codes = [tool_identity(PythonTool("t", make(factor))).code for factor in (2, 3, 2)]
    assert codes[0] != codes[1]
    assert codes[0] == codes[2]


@pytest.mark.parametrize(
    ("kind", "words", "same"),
    [
        ("llm", {"model": "a", "timeout": 3.0, "max_connections": 5, "api_key": "one"}, True),
        ("llm", {"model": "b"}, False),
        ("llm", {"model": "a", "temperature": 0.5}, False),
        ("llm", {"model": "a", "base_url": "https://elsewhere.example/v1"}, False),
        ("llm", {"model": "a", "base_url": "https://models.example/v1", "read_timeout_seconds": 9.0}, True),
    ],
)
def test_a_declaration_counts_as_far_as_it_shapes_outputs(kind: str, words: dict[str, Any], same: bool) -> None:
    def identity(**options: Any) -> Any:
        options = {"base_url": "https://models.example/v1", **options}
        return tool_identity(make_tool("t", ToolDeclaration.model_validate({"kind": kind, **options})))

    assert (identity(model="a") == identity(**words)) is same


def test_servers_on_this_machine_may_get_another_port() -> None:
    found = [
        tool_identity(
            make_tool("t", ToolDeclaration.model_validate({"kind": "llm", "base_url": url, "stand_in": True}))
        )
        for url in ("http://127.0.0.1:4001/v1", "http://127.0.0.1:5002/v1")
    ]
    assert found[0] == found[1]


def test_the_code_of_a_node_is_what_its_file_holds(tmp_path: Path) -> None:
    file = tmp_path / "node.py"
    file.write_text("def main(): return 1", encoding="utf-8")
    declared = make_tool("t", ToolDeclaration.model_validate({"kind": "node", "file": str(file)}))
    named = make_tool("t", ToolDeclaration(kind="node"))
    before = tool_identity(declared), call_identity(named, None, {"file": str(file)})
    file.write_text("def main(): return 2", encoding="utf-8")
    after = tool_identity(declared), call_identity(named, None, {"file": str(file)})
    assert before[0].code != after[0].code
    assert before[1].args != after[1].args


def test_arguments_that_json_cannot_hold_are_like_no_others() -> None:
    tool = make_tool("t", ToolDeclaration(kind="noop"))
    assert call_identity(tool, None, {"a": object()}).args is None
    assert call_identity(tool, "x", {}) != call_identity(tool, None, {})
