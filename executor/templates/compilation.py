"""From the text of a template to something that renders: parse, build the meters in, compile.

Imports Jinja2: only :mod:`executor.templates.template` and :mod:`executor.templates.inspection` import this module, and
only when a template is really needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import nodes
from jinja2.parser import Parser
from jinja2.runtime import Undefined
from jinja2.visitor import NodeTransformer

from executor.templates.render_budget import refuse_size
from executor.templates.sandbox import sandbox


class _Meters(NodeTransformer):
    """Builds the meters into a parsed template. Goes no deeper than the parser, which recurses, too."""

    def get_visitor(self, node: nodes.Node) -> Callable[..., Any] | None:
        """The method that rebuilds a kind of node."""
        visitors: dict[type, Callable[..., Any]] = {
            nodes.For: self._loop,
            nodes.Macro: self._macro,
            nodes.Concat: self._concat,
            nodes.Compare: self._compare,
            nodes.Getitem: self._item,
            nodes.List: self._built,
            nodes.Dict: self._built,
            nodes.Tuple: self._built,
        }
        return visitors.get(type(node))

    def _loop(self, node: nodes.For) -> nodes.Node:
        work = 3 + sum(1 for part in node.body for _ in part.find_all(nodes.Node))
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(_meter("tick", nodes.Const(work)), lineno=node.lineno))
        if node.test is not None:
            node.test = nodes.And(_meter("tick", nodes.Const(4)), node.test, lineno=node.lineno)
        return node

    def _macro(self, node: nodes.Macro) -> nodes.Node:
        work = 4 + sum(1 for part in node.body for _ in part.find_all(nodes.Node))
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(_meter("tick", nodes.Const(work)), lineno=node.lineno))
        return node

    def _concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _meter("concatenated", *node.nodes, lineno=node.lineno)

    def _compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        for operand in node.ops:
            if operand.op in {"in", "notin"} and len(node.ops) == 1 and isinstance(node.expr, nodes.Const | nodes.Name):
                operand.expr = _meter("searched", operand.expr, node.expr, lineno=node.lineno)
            elif operand.op in {"in", "notin"}:
                operand.expr = _meter("searched_whole", operand.expr, lineno=node.lineno)
            elif not isinstance(operand.expr, nodes.Const):
                operand.expr = _meter("weighed", operand.expr, lineno=node.lineno)
        return node

    def _item(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        is_slice = isinstance(node.arg, nodes.Slice) and node.ctx == "load"
        return _meter("cut", node, lineno=node.lineno) if is_slice else node

    def _built(self, node: nodes.List | nodes.Dict | nodes.Tuple) -> nodes.Node:
        self.generic_visit(node)
        writes = isinstance(node, nodes.Tuple) and node.ctx != "load"
        return node if writes or not node.items else _meter("built", node, lineno=node.lineno)


def _meter(name: str, *args: nodes.Expr, lineno: int = 1) -> nodes.Call:
    return nodes.Call(nodes.EnvironmentAttribute(name), list(args), [], None, None, lineno=lineno)


def parse(source: str, *, expression: bool) -> nodes.Template:
    """The template as parsed, without meters; an expression as a template that puts out its value.

    Raises:
        jinja2.TemplateSyntaxError, RecursionError: it does not parse.

    """
    environment = sandbox()
    if not expression:
        return environment.parse(source)
    parser = Parser(environment, source, state="variable")
    value = parser.parse_expression()
    if not parser.stream.eos:
        parser.fail("there is something behind the expression", parser.stream.current.lineno)
    template = nodes.Template([nodes.Output([value], lineno=1)], lineno=1)
    template.set_environment(environment)
    return template


class Compiled:
    """A template with its meters, ready to be rendered any number of times, from any thread."""

    __slots__ = ("_native", "_template")

    def __init__(self, parsed: nodes.Template, *, native: bool) -> None:
        """``native``: the template is a single expression, and its value is wanted, not its text."""
        environment = sandbox()
        if native:
            output = parsed.body[0]
            assert isinstance(output, nodes.Output)
            target = nodes.Name("result", "store", lineno=1)
            parsed = nodes.Template([nodes.Assign(target, output.nodes[0], lineno=1)], lineno=1)
        metered = _Meters().visit(parsed)
        metered.set_environment(environment)
        self._native = native
        self._template = environment.from_string(metered)

    def run(self, variables: Mapping[str, Any]) -> Any:
        """Render inside the current budget: the text, or the native value."""
        context = self._template.new_context(dict(variables))
        size = 0
        chunks: list[str] = []
        for chunk in self._template.root_render_func(context):
            size += len(chunk)
            refuse_size("the text", size)
            chunks.append(chunk)
        if not self._native:
            return "".join(chunks)
        value = context.vars["result"]
        if isinstance(value, Undefined):
            str(value)
        return value

    def line_of(self, error: BaseException) -> int | None:
        """The line of the template in which an error was raised, if it was raised in the template itself."""
        line = None
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == "<template>":
                line = self._template.get_corresponding_lineno(trace.tb_lineno)
            trace = trace.tb_next
        return line
