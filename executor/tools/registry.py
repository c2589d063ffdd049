"""Finding tools: by kind (built in, or an entry point of the group ``makespan.tools``) and by a workflow's names.

Rules of this module:
- A kind's module is imported when a tool of that kind is made, not before.
- Built-in kinds need no declaration and no installed package; they cannot be replaced.
- A name that is neither declared nor a kind may be ``module:function``.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from pydantic import ValidationError

from executor.model.findings import Finding, did_you_mean
from executor.model.workflow import Step, ToolDeclaration
from executor.tools.tool import Tool, ToolOptionsError

GROUP = "makespan.tools"
BUILT_IN = {
    "python": "executor.tools.python:PythonTool",
    "node": "executor.tools.node:NodeTool",
    "command": "executor.tools.command:CommandTool",
    "http": "executor.tools.http:HttpTool",
    "llm": "executor.tools.llm:LlmTool",
    "noop": "executor.tools.synthetic:NoopTool",
    "sleep": "executor.tools.synthetic:SleepTool",
    "busy": "executor.tools.synthetic:BusyTool",
    "flaky": "executor.tools.synthetic:FlakyTool",
}

Declared: TypeAlias = ToolDeclaration | Tool | type[Tool] | Callable[..., Any] | Mapping[str, Any] | str


def tool_kind_names() -> list[str]:
    """All kinds, built-in ones first. Imports none of them."""
    return [*BUILT_IN, *sorted(_foreign())]


def tool_kind(kind: str) -> type[Tool]:
    """The class of a kind.

    Raises:
        ToolOptionsError: there is none, or it cannot be imported.

    """
    if kind in BUILT_IN:
        module, _, name = BUILT_IN[kind].partition(":")
        found: Any = getattr(importlib.import_module(module), name)
    else:
        entry = _foreign().get(kind)
        if entry is None:
            known = tool_kind_names()
            raise ToolOptionsError(f"unknown kind {kind!r}", field="kind", fix=did_you_mean(kind, known))
        try:
            found = entry.load()
        except Exception as error:  # another package's code may raise anything while it is imported
            raise ToolOptionsError(
                f"kind {kind!r} ({entry.value}) cannot be imported: {error}", field="kind", fix="repair or remove it"
            ) from error
    if not (inspect.isclass(found) and issubclass(found, Tool)):
        raise ToolOptionsError(
            f"kind {kind!r} ({found!r}) is not a subclass of Tool", field="kind", fix="repair or remove it"
        )
    return found


def make_tool(name: str, declaration: ToolDeclaration) -> Tool:
    """The tool that a declaration describes.

    Raises:
        ToolOptionsError: the kind is unknown, or one of its options is wrong.

    """
    try:
        kind = tool_kind(declaration.kind)
    except ToolOptionsError as error:
        raise ToolOptionsError(f"tool {name!r}: {error}", field=error.field, fix=error.fix) from error
    try:
        return kind.from_declaration(name, declaration)
    except ToolOptionsError:
        raise
    except (ValueError, NotImplementedError) as error:  # how another package's tool may refuse its options
        raise ToolOptionsError(f"tool {name!r} (kind {declaration.kind!r}): {error}") from error


def resolve_tool(name: str, declared: Mapping[str, Declared]) -> Tool:
    """The tool of one name: as declared, else the built-in kind of that name, else ``module:function``.

    Raises:
        ToolOptionsError: the name means nothing, or its declaration is wrong. :func:`check_tools` finds all.

    """
    if name in declared:
        return _as_tool(name, declared[name])
    if name in BUILT_IN or name in _foreign():
        return make_tool(name, ToolDeclaration(kind=name))
    if _is_reference(name):
        return make_tool(name, ToolDeclaration.model_validate({"kind": "python", "callable": name}))
    known = [*declared, *tool_kind_names()]
    fix = did_you_mean(name, known, f"declare it under tools, or use one of: {', '.join(known)}")
    raise ToolOptionsError(f"there is no tool {name!r}", field="tool", fix=fix)


def check_tools(names_used: Iterable[str], declared: Mapping[str, Declared]) -> list[Finding]:
    """Everything that is wrong with the tools that are used and those that are declared, used or not."""
    findings = []
    for name in dict.fromkeys([*declared, *names_used]):
        try:
            resolve_tool(name, declared)
        except ToolOptionsError as error:
            findings.append(finding_of(name, error, declared))
    return findings


def check_calls(steps: Iterable[Step], tool_of: Callable[[str], Tool | None]) -> list[Finding]:
    """What is wrong with how steps call their tools, as far as their fields show. ``tool_of``: the tool of a name, None
    where it is not to be looked at.
    """
    findings = []
    checking: dict[str, Tool | None] = {}
    for place, step in enumerate(steps):
        if step.tool is None:
            continue
        if step.tool not in checking:
            tool = tool_of(step.tool)
            checking[step.tool] = None if tool is None or not _checks(tool) else tool
        checker = checking[step.tool]
        if checker is None or (not step.args and not _looks_at_more(checker)):
            continue
        for field, message, fix in checker.step_faults(step):
            path: tuple[str | int, ...] = ("steps", place, *field.split(".", 1))
            findings.append(Finding("error", "tool-call", message, fix, step.step_id, path))
    return findings


def _checks(tool: Tool) -> bool:
    return tool.argument_names is not None or _looks_at_more(tool)


def _looks_at_more(tool: Tool) -> bool:
    """Than the names of arguments."""
    kind = type(tool)
    return kind.call_faults is not Tool.call_faults or kind.step_faults is not Tool.step_faults


def finding_of(name: str, error: ToolOptionsError, declared: Mapping[str, Declared]) -> Finding:
    """What is wrong with a tool, at its place in the file if it is declared there."""
    place = ("tools", name) if name in declared else ()
    path = (*place, *error.field.split(".")) if place and error.field else place
    code = "unknown-tool" if error.field == "tool" else "tool-options"
    return Finding("error", code, str(error), error.fix, path=path)


def _as_tool(name: str, value: Declared) -> Tool:
    if isinstance(value, Tool):
        return value
    if isinstance(value, ToolDeclaration):
        return make_tool(name, value)
    if inspect.isclass(value) and issubclass(value, Tool):
        return value(name)
    if isinstance(value, str):
        return make_tool(name, ToolDeclaration.model_validate({"kind": "python", "callable": value}))
    if isinstance(value, Mapping):
        return make_tool(name, _declaration(name, value))
    if callable(value):
        from executor.tools.python import PythonTool  # noqa: PLC0415 - a kind's module is imported when it is used

        return PythonTool(name, value)
    raise ToolOptionsError(
        f"tool {name!r}: {type(value).__name__} is neither a declaration, a Tool nor a callable",
        field=None,
        fix="write {'kind': …}, or pass a function",
    )


def _declaration(name: str, value: Mapping[str, Any]) -> ToolDeclaration:
    try:
        return ToolDeclaration.model_validate(dict(value))
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(part) for part in fault["loc"])
        message = fault["msg"][:1].lower() + fault["msg"][1:]
        raise ToolOptionsError(
            f"tool {name!r}: {field}: {message}", field=field, fix=f"write it as the field {field!r} wants it"
        ) from None


def _is_reference(name: str) -> bool:
    if ":" not in name:
        return False
    from executor.tools.python import is_reference  # noqa: PLC0415 - a kind's module is imported when it is used

    return is_reference(name)


@functools.lru_cache(maxsize=1)
def _foreign() -> dict[str, Any]:
    """The entry points of the kinds of other packages, by name."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - heavy, and few look for one

    return {entry.name: entry for entry in entry_points(group=GROUP) if entry.name not in BUILT_IN}
