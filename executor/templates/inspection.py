"""What a template says about itself before it runs: the steps it refers to, and its faults.

Imports Jinja2: only :mod:`executor.templates.template` imports this module, and only when a template is really needed.

Rules of this module:
- References are read from the parsed template, so those in loops, branches, filters and macros count.
- A reference that only a run could know is a fault: the graph could not be planned.
- A trial rendering reports only what fails whatever the steps put out; it stops where an unknown value decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jinja2 import TemplateSyntaxError, meta, nodes
from jinja2.exceptions import SecurityError

from executor.model.findings import Finding, did_you_mean
from executor.templates.compilation import Compiled, parse
from executor.templates.render_budget import STUB, TemplateLimitError, UnknownValueError, budget
from executor.templates.sandbox import sandbox

_BANNED: dict[type[nodes.Node], str] = {
    nodes.Include: "include",
    nodes.Import: "import",
    nodes.FromImport: "from",
    nodes.Extends: "extends",
    nodes.Block: "block",
}
# The code generator recurses, and Python nests blocks no deeper than about this.
DEPTH_LIMIT = 90
_VIEWS = frozenset({"inputs", "steps"})
# What a step with `for_each`, or with devices, has beside them; the caller knows whether the step has.
_OF_ITEMS = frozenset({"item", "index", "devices"})
_OF_TEMPLATES = frozenset({"self", "super"})
_BUFFERS = (nodes.Macro, nodes.CallBlock, nodes.AssignBlock, nodes.FilterBlock)
_BY_ATTRIBUTE = frozenset({
    "attr", "map", "select", "selectattr", "reject", "rejectattr", "groupby", "sort", "sum", "unique", "min", "max",
    "join",
})  # fmt: skip
_CAN_COST_MUCH = frozenset({nodes.For, nodes.Macro, nodes.Mul, nodes.Pow, nodes.Mod, nodes.Call})


@dataclass(slots=True)
class Analysis:
    """``references``: ids of steps. ``inputs``: names of inputs. ``single_expression``: the template is exactly one
    ``{{ expression }}``. ``kinds``: the kinds of nodes that it is made of. ``of_items``: which of ``item`` and
    ``index`` it takes from outside.
    """

    references: set[str] = field(default_factory=set)
    inputs: set[str] = field(default_factory=set)
    of_items: set[str] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)
    single_expression: bool = False
    kinds: set[type[nodes.Node]] = field(default_factory=set)
    can_cost_much: bool = False
    # Names of variables, filters and tests with the line that has them.
    names: dict[str, int] = field(default_factory=dict)
    filters: dict[str, int] = field(default_factory=dict)
    tests: dict[str, int] = field(default_factory=dict)

    def fault(self, code: str, message: str, fix: str, line: int | None = None) -> None:
        """Add an error; the line is the template's own."""
        place = f"line {line} of the template: " if line is not None and line > 1 else ""
        self.findings.append(Finding("error", code, f"{place}{message}", fix))


def analyse(source: str, *, expression: bool) -> Analysis:
    """Read a template (or a bare expression) without running it; run it on trial if it holds a loop or the like."""
    analysis = Analysis()
    try:
        parsed = parse(source, expression=expression)
    except TemplateSyntaxError as error:
        analysis.fault("template-syntax", str(error.message).rstrip("."), "correct the template", error.lineno)
        return analysis
    except RecursionError:
        analysis.fault("template-syntax", "the template is nested too deeply", "write it flatter")
        return analysis
    analysis.single_expression = _is_single_expression(parsed)
    _walk(parsed, analysis)
    _check_names(parsed, analysis)
    if analysis.can_cost_much and not analysis.findings:
        _try(source, analysis, expression=expression)
    return analysis


def _is_single_expression(parsed: nodes.Template) -> bool:
    if len(parsed.body) != 1 or not isinstance(parsed.body[0], nodes.Output):
        return False
    parts = parsed.body[0].nodes
    return len(parts) == 1 and not isinstance(parts[0], nodes.TemplateData)


def _walk(parsed: nodes.Template, analysis: Analysis) -> None:
    # Each node with its depth and those that contain it, innermost first: (parent, (grandparent, …)).
    stack: list[tuple[nodes.Node, int, tuple[Any, Any] | None]] = [(parsed, 0, None)]
    while stack:
        node, depth, above = stack.pop()
        if depth > DEPTH_LIMIT:
            analysis.fault("template-syntax", "the template is nested too deeply", "write it flatter", node.lineno)
            return
        _note(node, analysis)
        if isinstance(node, nodes.Name):
            _check_name(node, above, analysis)
        else:
            _check_private(node, analysis)
        stack.extend((child, depth + 1, (node, above)) for child in reversed(list(node.iter_child_nodes())))


def _note(node: nodes.Node, analysis: Analysis) -> None:
    analysis.kinds.add(type(node))
    if type(node) in _BANNED:
        name = _BANNED[type(node)]
        analysis.fault("template-statement", f"`{name}` is not available here", "write the text itself", node.lineno)
    elif isinstance(node, nodes.Name):
        analysis.names.setdefault(node.name, node.lineno)
    elif isinstance(node, nodes.Filter):
        analysis.filters.setdefault(node.name, node.lineno)
        analysis.can_cost_much |= bool(node.args or node.kwargs)
    elif isinstance(node, nodes.Test):
        analysis.tests.setdefault(node.name, node.lineno)
    analysis.can_cost_much |= type(node) in _CAN_COST_MUCH


def _check_private(node: nodes.Node, analysis: Analysis) -> None:
    """No way into Python's own attributes, whether by dot, brackets or filter."""
    names: Iterable[Any] = ()
    if isinstance(node, nodes.Getattr):
        names = (node.attr,)
    elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        names = (node.arg.value,)
    elif isinstance(node, nodes.Filter) and node.name in _BY_ATTRIBUTE:
        given = (*node.args, *(keyword.value for keyword in node.kwargs))
        names = [part for value in given if isinstance(value, nodes.Const) for part in str(value.value).split(".")]
    elif isinstance(node, nodes.Macro) and node.name in _VIEWS:
        _reserved(node.name, node, analysis)
    for name in names:
        if isinstance(name, str) and name.startswith("__"):
            message = f"{name!r} is private: templates cannot reach into Python"
            analysis.fault("template-private", message, "use the values of `inputs` and `steps` only", node.lineno)


def _reserved(name: str, node: nodes.Node, analysis: Analysis) -> None:
    analysis.fault("template-reserved-name", f"`{name}` is given another meaning", "use another name", node.lineno)


def _check_name(node: nodes.Name, above: tuple[Any, Any] | None, analysis: Analysis) -> None:
    if node.name in _OF_TEMPLATES:
        analysis.fault("template-unknown-name", f"`{node.name}` is not available here", "leave it out", node.lineno)
    if node.name not in _VIEWS:
        return
    if node.ctx != "load":
        _reserved(node.name, node, analysis)
        return
    parent, rest = above if above is not None else (None, None)
    key = _key(parent, node)
    holder = rest[0] if rest is not None else None
    if node.name == "inputs":
        called = isinstance(holder, nodes.Call) and key in {"items", "keys", "values", "get"}
        if isinstance(key, str) and not called:
            analysis.inputs.add(key)
        return
    if not isinstance(key, str):
        message = "which step is meant is only known in a run, so the graph cannot be planned"
        analysis.fault("dynamic-reference", message, "name the step: steps['its id'].output", node.lineno)
        return
    analysis.references.add(key)
    if isinstance(holder, nodes.Output):
        message = f"the step {key!r} itself has no text"
        analysis.fault("template-unknown-field", message, f"write {_spelled(key)}.output", node.lineno)
    attribute = _key(holder, parent)
    if attribute is not None and attribute != "output":
        fix = did_you_mean(str(attribute), ["output"], f"write {_spelled(key)}.output")
        message = f"a step has no {attribute!r}, only its output"
        analysis.fault("template-unknown-field", message, fix, node.lineno)


def _spelled(identifier: str) -> str:
    return f"steps.{identifier}" if identifier.isidentifier() else f"steps[{identifier!r}]"


def _key(holder: object, node: object) -> object:
    """The constant by which ``holder`` looks into ``node``; None if it does not, or by something else."""
    if isinstance(holder, nodes.Getattr) and holder.node is node:
        return holder.attr
    if isinstance(holder, nodes.Getitem) and holder.node is node and isinstance(holder.arg, nodes.Const):
        value: object = holder.arg.value
        return value
    return None


def _check_names(parsed: nodes.Template, analysis: Analysis) -> None:
    environment = sandbox()
    _check_known("filter", analysis.filters, environment.filters, analysis)
    _check_known("test", analysis.tests, environment.tests, analysis)
    if analysis.findings or all(name in _VIEWS or name in environment.globals for name in analysis.names):
        # The code generator below, which knows the scopes, would stop at a fault. It costs much and finds nothing new
        # where every name is one of ours.
        return
    known_names = sorted(_VIEWS | environment.globals.keys())
    try:
        unknown = meta.find_undeclared_variables(parsed) - _VIEWS
    except (TemplateSyntaxError, RecursionError) as error:
        analysis.fault("template-syntax", str(error).rstrip("."), "correct the template")
        return
    analysis.of_items = unknown & _OF_ITEMS
    for name in sorted(unknown - _OF_ITEMS):
        fix = did_you_mean(name, known_names, f"known names: {', '.join(known_names)}")
        fix = f"{fix}; an input is written inputs.{name}, an output steps.{name}.output"
        analysis.fault("template-unknown-name", f"`{name}` is not defined", fix, analysis.names.get(name))


def _check_known(what: str, used: Mapping[str, int], known: Mapping[str, object], analysis: Analysis) -> None:
    for name, line in used.items():
        if name not in known:
            fix = did_you_mean(name, known, f"known {what}s: {', '.join(sorted(known))}")
            analysis.fault("template-unknown-name", f"there is no {what} {name!r}", fix, line)


def _try(source: str, analysis: Analysis, *, expression: bool) -> None:
    """Render once with unknown values in place of inputs and outputs."""
    buffered = bool(analysis.kinds.intersection(_BUFFERS))
    try:
        compiled = Compiled(parse(source, expression=expression), native=False)
    except (TemplateSyntaxError, SyntaxError, RecursionError, MemoryError, ValueError) as error:
        analysis.fault("template-syntax", f"the template does not compile: {error}", "write it flatter")
        return
    try:
        with budget(stub_prints=not buffered):
            compiled.run(dict.fromkeys(("inputs", "steps", *analysis.of_items), STUB))
    except TemplateLimitError as error:
        analysis.fault("template-limit", str(error), "bound the loop or the size", compiled.line_of(error))
    except RecursionError as error:
        message = "the template calls itself without an end"
        analysis.fault("template-limit", message, "bound the recursion", compiled.line_of(error))
    except SecurityError as error:
        analysis.fault("template-private", str(error), "use the values of `inputs` and `steps` only")
    except UnknownValueError:
        return
    except Exception:  # noqa: BLE001  # whatever else fails is reported by the run, which knows the values
        return
