"""What has to be the same for a benchmark to go on in another session, and what is not the same.

It reads nothing but files that steps name: what is in them counts.

Rules of this module:
- Everything that a figure may depend on: files, code, cells, seeds, settings of the session, revision, machine, Python.
- Budgets, judgements and where results go may differ: they say when to stop and what to do with figures.
- Only digests of files and code are kept, and no value that is a secret by its name or shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from executor.model.findings import WorkflowError
from executor.tools.identity import digest_of, tool_identity
from executor.tools.registry import resolve_tool
from executor.tools.tool import Tool
from harness.benchmark.matrix import Case, Matrix
from harness.plain_text import some_of
from harness.result.cell_key import machine_differences
from harness.scenario.scenario_model import Loaded
from harness.store.secrets import cell_without_secrets

# Facts of `environment` that speed depends on beside those of the machine's class.
_FACTS: Final = {"revision": "revision", "python_version": "Python", "makespan_version": "makespan"}
_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class SessionWords:
    """What the command line says of a session, as far as figures depend on it."""

    until_width: str | None
    cache: str
    replay: str | None
    base_url: str | None
    model: str | None


def identity_of(matrix: Matrix, seed: int, session: SessionWords) -> dict[str, Any]:
    """What is kept of a benchmark to be compared by :func:`differences`: JSON values."""
    digests: dict[str, str | None] = {}
    for case in matrix.cases:
        digests |= _digests(case)
    return {
        "digests": digests,
        "cells": [str(cell_without_secrets(cell.key)) for cell in matrix.cells],
        "values": {
            "seed": seed,
            **{f"repetitions of {case.scenario!r}": case.repetitions for case in matrix.cases},
            **{f"warm-up runs of {case.scenario!r}": case.warmup for case in matrix.cases},
            "--until-width": session.until_width,
            "--cache": session.cache,
            "--replay": session.replay,
            "model endpoint": session.base_url,
            "model": session.model,
            **_orders(matrix),
        },
    }


def _orders(matrix: Matrix) -> dict[str, str]:
    """By cell, the order of starts that was found for it."""
    return {
        f"order of starts of {cell.label}": f"{cell.order.rule} {digest_of([one.priority for one in cell.graph.steps])}"
        for cell in matrix.cells
        if cell.order is not None
    }


def differences(
    then: Mapping[str, Any],
    now: Mapping[str, Any],
    environment_then: Mapping[str, Any],
    environment_now: Mapping[str, Any],
) -> list[str]:
    """What differs, as a person says it; empty where the benchmark may go on."""
    return list(_differences(then, now, environment_then, environment_now))


def _differences(
    then: Mapping[str, Any], now: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[str]:
    known, found = then.get("digests", {}), now["digests"]
    if known.keys() == found.keys():
        yield from (f"{words} has changed" for words, digest in found.items() if known[words] != digest)
    else:
        yield from _sets("", list(known), list(found), "was measured", "is asked for")
    yield from _sets("the cell ", then.get("cells", []), now["cells"], "was measured", "is asked for")
    for words, value in now["values"].items():
        was = then.get("values", {}).get(words)
        if was != value:
            yield f"{words}: {_said(was)} then, {_said(value)} now"
    for name, words in _FACTS.items():
        if before.get(name) != after.get(name):
            yield f"{words}: {_said(before.get(name))} then, {_said(after.get(name))} now"
    yield from (f"another machine ({words})" for words in machine_differences(before, after))


def _sets(what: str, then: Sequence[str], now: Sequence[str], was: str, asked: str) -> Iterator[str]:
    gone, new = [one for one in then if one not in now], [one for one in now if one not in then]
    if gone:
        yield f"{what}{some_of(gone, _NAMED)} {was} and is not any more"
    if new:
        yield f"{what}{some_of(new, _NAMED)} {asked} and was not before"


def _digests(case: Case) -> dict[str, str | None]:
    loaded, name = case.loaded, repr(case.scenario)
    tools = dict(_tools(loaded))
    return {
        f"the file of {name}": digest_of(loaded.document.data),
        f"what the steps of {name} read from files": digest_of(list(_files(loaded, tools))),
        f"a limit that {name} uses": digest_of(
            {resource: words.model_dump(mode="json") for resource, words in loaded.resources.items()}
        ),
        **{
            f"the declaration or code of tool {tool!r} of {name}": digest_of(tool_identity(found))
            for tool, found in tools.items()
        },
    }


def _tools(loaded: Loaded) -> Iterator[tuple[str, Tool]]:
    for name in dict.fromkeys(step.tool for step in loaded.graph.steps if step.tool is not None):
        try:
            yield name, resolve_tool(name, loaded.tools)
        except WorkflowError:
            # The run will say so.
            continue


def _files(loaded: Loaded, tools: Mapping[str, Tool]) -> Iterator[Any]:
    for step in loaded.graph.steps:
        tool = tools.get(step.tool or "")
        if tool is not None and step.args:
            yield tool.files_read(step.args)


def _said(value: Any) -> str:
    return "none" if value is None else str(value)
