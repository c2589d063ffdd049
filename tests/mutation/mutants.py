"""Mutants: a function of the core with one small change, as a code object.

Left alone are docstrings, annotations, defaults of arguments, assertions, and whatever only words the message of an
error.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import importlib
import inspect
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

from tests.properties.planted.planting import compiled, function_of

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr, ast.LShift: ast.RShift, ast.Pow: ast.Mult,
}  # fmt: skip
NAMES = {"min": "max", "max": "min"}


@dataclass(frozen=True)
class Mutant:
    """One change. `line` counts in the file."""

    target: str
    number: int
    line: int
    before: str
    after: str
    # Which it is of several places in the function with this change, from 1.
    place: int = 1
    # Of the function's text and the change.
    digest: str = ""

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What names it as long as the changed place stays as it is."""
        return (self.target, self.before, self.after, self.place)

    def __str__(self) -> str:
        again = f" ({self.place})" if self.place > 1 else ""
        return f"{self.target} line {self.line}: `{self.before}` → `{self.after}`{again}"


def functions_of(module: ModuleType) -> Iterator[str]:
    """The targets of all functions and methods that are written in the module."""
    for name, value in vars(module).items():
        if inspect.isfunction(value) and value.__module__ == module.__name__:
            yield f"{module.__name__}:{name}"
        elif inspect.isclass(value) and value.__module__ == module.__name__:
            for method, attribute in vars(value).items():
                found = attribute.fget if isinstance(attribute, property) else attribute
                found = found.__func__ if isinstance(found, classmethod | staticmethod) else found
                written = inspect.isfunction(found) and found.__module__ == module.__name__
                if written and found.__code__.co_filename == module.__file__:
                    yield f"{module.__name__}:{name}.{method}"


def mutants_of(target: str) -> list[Mutant]:
    """All mutants of one function."""
    function = function_of(target)
    first = function.__code__.co_firstlineno
    source = _source(function)
    places: Counter[tuple[str, str]] = Counter()
    found = []
    for number, (node, changed) in enumerate(_changes(_tree(function))):
        line = first + getattr(node, "lineno", 1) - 1
        before, after = _text(node), _text(changed)
        places[before, after] += 1
        digest = hashlib.sha256(f"{target} {number} {after} {source}".encode()).hexdigest()
        found.append(Mutant(target, number, line, before, after, places[before, after], digest))
    return found


def code_of(mutant: Mutant) -> CodeType:
    """The mutant's code."""
    function = function_of(mutant.target)
    tree = _tree(function)
    for number, (node, changed) in enumerate(_changes(tree)):
        if number == mutant.number:
            changed_tree = _Replacing(node, changed).visit(tree)
            # A mutant that reads one of the names around it no more has to be a function that knows them all.
            written = changed_tree.body[0]
            written.body += ast.parse("".join(f"if False: {name}\n" for name in function.__code__.co_freevars)).body
            return compiled(function, ast.unparse(ast.fix_missing_locations(changed_tree)))
    raise ValueError(f"there is no such mutant: {mutant}")


def code_that_says(target: str, statement: str) -> CodeType:
    """The function's code with this statement before all else."""
    function = function_of(target)
    tree = _tree(function)
    written = tree.body[0]
    assert isinstance(written, ast.FunctionDef)
    written.body[:0] = ast.parse(statement).body
    return compiled(function, ast.unparse(tree))


def all_mutants(modules: Sequence[str]) -> list[Mutant]:
    """The mutants of all functions in these modules."""
    targets = [target for name in modules for target in functions_of(importlib.import_module(name))]
    return [mutant for target in targets for mutant in mutants_of(target)]


@cache
def _source(function: FunctionType) -> str:
    # Kept: the file may change meanwhile.
    return inspect.getsource(function)


def _tree(function: FunctionType) -> ast.Module:
    return ast.parse(textwrap.dedent(_source(function)))


def _text(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())[:80]


def _asserts(node: ast.Raise) -> bool:
    """Whether it only says that this place is never reached."""
    error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    return isinstance(error, ast.Name) and error.id in ("AssertionError", "NotImplementedError")


class _Replacing(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._old, self._new = old, new

    def visit(self, node: ast.AST) -> Any:
        return self._new if node is self._old else self.generic_visit(node)


def _changes(tree: ast.Module) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Each place of the function's body with what it may become, in order."""
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    body = function.body
    if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]
    open_nodes: list[ast.AST] = list(reversed(body))
    while open_nodes:
        node = open_nodes.pop()
        if isinstance(node, ast.Raise) and not _asserts(node):
            yield node, ast.Pass()
        if isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr):
            continue
        for changed in _changed(node):
            yield node, changed
        children = [
            child
            for name, child in ast.iter_fields(node)
            if name not in ("annotation", "returns", "decorator_list", "args") or isinstance(node, ast.Call)
        ]
        flat = [one for child in children for one in (child if isinstance(child, list) else [child])]
        open_nodes += [one for one in reversed(flat) if isinstance(one, ast.AST)]


def _changed(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(ops=ops):
            for place, op in enumerate(ops):
                other = COMPARISONS.get(type(op))
                if other is not None:
                    changed = copy.deepcopy(node)
                    changed.ops[place] = other()
                    yield changed
        case ast.BoolOp():
            changed = copy.deepcopy(node)
            changed.op = ast.And() if isinstance(node.op, ast.Or) else ast.Or()
            yield changed
        case ast.BinOp() | ast.AugAssign() if type(node.op) in OPERATORS:
            changed = copy.deepcopy(node)
            changed.op = OPERATORS[type(node.op)]()
            yield changed
        case ast.UnaryOp(op=ast.Not()):
            yield copy.deepcopy(node.operand)
        case ast.If() | ast.While() | ast.IfExp() if not isinstance(node.test, ast.Compare | ast.UnaryOp):
            changed = copy.deepcopy(node)
            changed.test = ast.UnaryOp(ast.Not(), changed.test)
            yield changed
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield ast.Constant(value + 1)
        case ast.Constant(value=str(value)):
            yield ast.Constant(f"{value}X")
        case ast.Call(func=ast.Name(id=name)) if name in NAMES:
            changed = copy.deepcopy(node)
            changed.func = ast.Name(NAMES[name], ast.Load())
            yield changed
        case ast.Expr(value=ast.Call()):
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]) | ast.Delete():
            yield ast.Pass()
        case ast.Return(value=value) if value is not None and not (
            isinstance(value, ast.Constant) and value.value is None
        ):
            yield ast.Return(ast.Constant(None))
        case ast.Assign(targets=[ast.Name()], value=value) if not (
            isinstance(value, ast.Constant) and value.value is None
        ):
            changed = copy.deepcopy(node)
            changed.value = ast.Constant(None)
            yield changed
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()
