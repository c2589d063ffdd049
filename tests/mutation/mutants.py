"""Mutants: a function of the core with one small change, as a code object.

Left alone are docstrings, annotations, defaults of arguments, and whatever only words the message of an error.
"""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
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

    def __str__(self) -> str:
        return f"{self.target} line {self.line}: `{self.before}` → `{self.after}`"


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
    found = []
    for number, (node, changed) in enumerate(_changes(_tree(function))):
        line = first + getattr(node, "lineno", 1) - 1
        found.append(Mutant(target, number, line, _text(node), _text(changed)))
    return found


def code_of(mutant: Mutant) -> CodeType:
    """The mutant's code."""
    function = function_of(mutant.target)
    tree = _tree(function)
    for number, (node, changed) in enumerate(_changes(tree)):
        if number == mutant.number:
            changed_tree = _Replacing(node, changed).visit(tree)
            return compiled(function, ast.unparse(ast.fix_missing_locations(changed_tree)))
    raise ValueError(f"there is no such mutant: {mutant}")


def all_mutants(modules: list[str]) -> list[Mutant]:
    """The mutants of all functions in these modules."""
    targets = [target for name in modules for target in functions_of(importlib.import_module(name))]
    return [mutant for target in targets for mutant in mutants_of(target)]


def _tree(function: FunctionType) -> ast.Module:
    return ast.parse(textwrap.dedent(inspect.getsource(function)))


def _text(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())[:80]


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
        case ast.Continue():
            yield ast.Break()
