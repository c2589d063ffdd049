"""Plants a fault in a function of the production code, and takes it out again.

A fault is a change of the function's text: `old` becomes `new`. Only the code object of the function is exchanged, for
the time of a `with` block, so that every reference to the function has the fault and nothing has it afterwards.
"""

from __future__ import annotations
import __future__

import importlib
import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any


@dataclass(frozen=True)
class Fault:
    """`target` is `module:Class.method` or `module:function`; `old` is in its text exactly once.

    `focus`, `size`: the features and the most steps of the runs, where a fault concerns few of all runs. `by_calls`: no
    run shows it, since the engine makes no such call; the machine of random calls has to find it. `crashes`: it
    concerns runs that die and are resumed, and all that are drawn do.
    """

    name: str
    sentence: str
    target: str
    old: str
    new: str
    focus: tuple[str, ...] = ()
    size: int = 12
    by_calls: bool = False
    crashes: bool = False


def function_of(target: str) -> FunctionType:
    """The function behind a target, a property's getter included."""
    module_name, _, path = target.partition(":")
    found: Any = importlib.import_module(module_name)
    for name in path.split("."):
        found = inspect.getattr_static(found, name)
    if isinstance(found, property):
        found = found.fget
    if isinstance(found, classmethod | staticmethod):
        found = found.__func__
    assert isinstance(found, FunctionType), f"{target} is no function"
    return found


def code_with(function: FunctionType, old: str, new: str) -> CodeType:
    """The code of the function with this change of its text."""
    source = textwrap.dedent(inspect.getsource(function))
    old, new = textwrap.dedent(old).strip("\n"), textwrap.dedent(new).strip("\n")
    assert source.count(old) == 1, f"{function.__qualname__} has {source.count(old)} times the text:\n{old}"
    return compiled(function, source.replace(old, new))


def compiled(function: FunctionType, source: str) -> CodeType:
    """The code object of the function, from another text of it."""
    flags = __future__.annotations.compiler_flag
    free = function.__code__.co_freevars
    if free:
        # Such as `__class__`, which `super()` reads: a function around it has to have the name.
        names = "".join(f"    {name} = None\n" for name in free)
        source = f"def around():\n{names}{textwrap.indent(source, '    ')}"
    around = compile(source, f"<planted in {function.__qualname__}>", "exec", flags=flags, dont_inherit=True)
    if free:
        around = next(one for one in around.co_consts if isinstance(one, CodeType))
    made = [constant for constant in around.co_consts if isinstance(constant, CodeType)]
    code = next(one for one in made if one.co_name == function.__name__)
    assert code.co_freevars == function.__code__.co_freevars, f"{function.__qualname__} closes over other names"
    return code


@contextmanager
def planted(fault: Fault) -> Iterator[None]:
    """The fault is there inside this block."""
    function = function_of(fault.target)
    healthy = function.__code__
    function.__code__ = code_with(function, fault.old, fault.new)
    try:
        yield
    finally:
        function.__code__ = healthy
