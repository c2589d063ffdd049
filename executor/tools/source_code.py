"""The code of a step's tool as text: what has to be the same if an earlier output is to be used.

Rules of this module:
- The code of a Python function is its source, and the source of what it uses of its own module, as deep as that goes:
  functions, classes, numbers and texts; of lists and mappings how they are made. Other modules and installed packages
  are not looked at.
- One thread at a time reads and parses sources: in CPython before 3.11.8 and 3.12.2, threads that parse at once disturb
  each other (`SystemError: AST constructor recursion depth mismatch`, gh-106905). Code of the user may do so all the
  same, and lines are cached for all threads: what fails is tried again before it is taken to have no source.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any, TypeVar

T = TypeVar("T")

_OWN_PACKAGE = "executor."
_TRIES = 12
_TRIES_WITHOUT_SOURCE = 2
_PAUSE_SECONDS = 0.001
# Held by one that parses; what a garbage collection calls meanwhile may come here again.
_PARSING = threading.RLock()
_UNCHANGING = (str, bytes, int, float, complex, type(None))


def code_of(function: Any) -> list[str]:
    """The source of a callable, and of what it uses of its own module."""
    with _PARSING:
        return list(_sources(function, set()))


def class_code(tool_class: type) -> list[str]:
    """The source of a tool's class; nothing for those that come with makespan."""
    if tool_class.__module__.startswith(_OWN_PACKAGE):
        return []
    with _PARSING:
        return [_source(tool_class)]


def _sources(found: Any, seen: set[int]) -> Iterator[str]:
    if isinstance(found, functools.partial):
        yield repr((found.args, sorted(found.keywords.items())))
        found = found.func
    found = inspect.unwrap(getattr(found, "__func__", found))
    if id(found) in seen:
        return
    seen.add(id(found))
    if isinstance(found, FunctionType):
        yield _source(found)
        yield from _closed_over(found, seen)
        yield from _used(found.__code__, found.__globals__, found.__module__, seen)
    elif inspect.isclass(found):
        yield _source(found)
        for member in vars(found).values():
            inner = getattr(member, "__func__", member)
            if isinstance(inner, FunctionType):
                yield from _used(inner.__code__, inner.__globals__, found.__module__, seen)
    elif inspect.isbuiltin(found):
        yield f"{found.__module__}.{found.__qualname__}"
    else:
        yield from _sources(type(found), seen)


def _closed_over(function: FunctionType, seen: set[int]) -> Iterator[str]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:
            continue
        yield from _value(name, value, function.__module__, seen)


def _used(code: CodeType, variables: Mapping[str, Any], module: str, seen: set[int]) -> Iterator[str]:
    """What a piece of code uses of its module: functions and classes by their source, plain values as they are."""
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _used(inner, variables, module, seen)
    for name in code.co_names:
        if name in variables:
            yield from _value(name, variables[name], module, seen)


def _value(name: str, value: Any, module: str, seen: set[int]) -> Iterator[str]:
    if isinstance(value, FunctionType) or inspect.isclass(value):
        if value.__module__ == module:
            yield from _sources(value, seen)
    elif isinstance(value, _UNCHANGING):
        yield f"{name}={value!r}"
    elif isinstance(value, dict | list | set | tuple | frozenset):
        # What it holds may change while the run goes on; how it is made does not.
        yield _assignments(module).get(name, "")


def _assignments(module: str) -> Mapping[str, str]:
    """How the variables of a module are made: their assignments at its top."""
    found = sys.modules.get(module)
    if found is None:
        return {}
    return _tried(lambda: _assignments_in(_source(found)), final=(SyntaxError, ValueError)) or {}


@functools.lru_cache(maxsize=32)
def _assignments_in(source: str) -> Mapping[str, str]:
    made: dict[str, str] = {}
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            if isinstance(target, ast.Name):
                made[target.id] = made.get(target.id, "") + ast.unparse(node)
    return made


def _source(found: Callable[..., Any] | type | ModuleType) -> str:
    source = _tried(lambda: inspect.getsource(found), final=(TypeError,))
    if source is not None:
        return source
    code = getattr(found, "__code__", None)
    return getattr(found, "__qualname__", "") if code is None else f"{sys.version_info[:2]} {_compiled(code)}"


def _tried(read: Callable[[], T], final: tuple[type[Exception], ...]) -> T | None:
    """What ``read`` gives, None if it cannot: after a ``final`` error at once, after others when it was tried often."""
    for number in range(_TRIES):
        try:
            return read()
        except final:
            return None
        except OSError:
            # There is none (it was typed at a prompt), or its lines were dropped a moment ago.
            if number >= _TRIES_WITHOUT_SOURCE:
                return None
        except Exception:  # noqa: BLE001  # another thread that formats an error, or parses, is in the way
            time.sleep(_PAUSE_SECONDS * number)
    return None


def _compiled(code: CodeType) -> str:
    """Code without a source (typed at a prompt): what it was compiled to."""
    constants = [_compiled(one) if isinstance(one, CodeType) else repr(one) for one in code.co_consts]
    return repr((code.co_code.hex(), code.co_names, code.co_varnames, constants))
