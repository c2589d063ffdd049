"""Pointing the model tools of a scenario at the stand-in. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from executor.model.workflow import ToolDeclaration

# What runs code that may call other tools of the run.
_CALLING_KINDS = {"node", "python"}


def with_stand_in(
    declarations: Mapping[str, ToolDeclaration], names_used: Iterable[str], base_url: str
) -> dict[str, ToolDeclaration]:
    """The same declarations, in which every tool of kind ``llm`` without a ``base_url`` uses the stand-in.

    A step that names the undeclared built-in ``llm`` gets a declaration.
    """
    found = dict(declarations)
    if "llm" in names_used and "llm" not in found:
        found["llm"] = ToolDeclaration(kind="llm")
    return {name: _pointed(declaration, base_url) for name, declaration in found.items()}


def names_called(declarations: Mapping[str, ToolDeclaration], names_used: Iterable[str]) -> set[str]:
    """The tools that a run may call: those that its steps name; where their code may call, also all that are declared
    and the built-in ``llm``.
    """
    names = set(names_used)
    kinds = {declarations[name].kind if name in declarations else name for name in names}
    return {*names, *declarations, "llm"} if kinds & _CALLING_KINDS else names


def needs_stand_in(declarations: Mapping[str, ToolDeclaration], names_used: Iterable[str]) -> bool:
    """Whether a tool that is used has to be pointed at a stand-in."""
    declared = {**declarations} if "llm" in declarations else {**declarations, "llm": ToolDeclaration(kind="llm")}
    return any(_is_open(declared[name]) for name in names_used if name in declared)


def points_at_stand_in(declarations: Mapping[str, ToolDeclaration], names_used: Iterable[str | None]) -> bool:
    """Whether a tool that is used was pointed at the stand-in: by :func:`with_stand_in`."""
    return any(name in declarations and "stand_in" in declarations[name].options for name in names_used if name)


def names_without_model(declarations: Mapping[str, ToolDeclaration], names_used: Iterable[str]) -> set[str]:
    """The tools that have to be pointed at an endpoint and name no model."""
    declared = {"llm": ToolDeclaration(kind="llm"), **declarations}
    return {
        name for name in names_used
        if name in declared and _is_open(declared[name]) and declared[name].options.get("model") is None
    }  # fmt: skip


def _is_open(declaration: ToolDeclaration) -> bool:
    return declaration.kind == "llm" and declaration.options.get("base_url") is None


def _pointed(declaration: ToolDeclaration, base_url: str) -> ToolDeclaration:
    if not _is_open(declaration):
        return declaration
    words = declaration.model_dump(exclude_unset=True)
    return ToolDeclaration.model_validate({**words, "base_url": base_url, "stand_in": True})
