"""A case for a user's scheduler in a file: what ``makespan fuzz --target`` writes, and ``--replay`` plays again.

Rules of this module:
- JSON, whole: the case, the target and what it supports. What is missing or wrong is named.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from harness.testing.schedulers.graph_case import Case

SCHEMA: Final = "makespan.target-case/1"


class CaseError(ValueError):
    """A file that holds no case; the message says what is wrong with it."""


class TargetCase(NamedTuple):
    """A case of a target, ``module:name``, and what was taken to be supported."""

    target: str
    case: Case
    supports: tuple[str, ...] = ()


def case_data(target: str, case: Case, supports: Collection[str] = ()) -> dict[str, Any]:
    """As it is in the file."""
    return {"schema": SCHEMA, "target": target, "supports": sorted(supports), "case": asdict(case)}


def is_case_file(path: str | Path) -> bool:
    """Whether a file says that it is one."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(data, dict) and data.get("schema") == SCHEMA


def read_case(path: str | Path) -> TargetCase:
    """The case of a file.

    Raises:
        CaseError: there is no such file, or it holds something else.

    """
    from harness.testing.schedulers.graph_case import Case  # noqa: PLC0415  # needs the extra testing

    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CaseError(f"{path}: {error}") from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise CaseError(f"{path}: this is no case of a scheduler: its `schema` is not {SCHEMA!r}")
    try:
        words = data["case"]
        unknown = sorted(set(words) - {one.name for one in fields(Case)})
        if unknown:
            raise CaseError(f"{path}: a case has no {', '.join(unknown)}")
        steps = tuple((str(step), tuple(map(str, before))) for step, before in words["steps"])
        order = tuple(tuple(map(int, picks)) for picks in words.get("order", ()))
        case = Case(**{**words, "steps": steps, "order": order})
        return TargetCase(str(data["target"]), case, tuple(map(str, data.get("supports", ()))))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, CaseError):
            raise
        raise CaseError(f"{path}: its case cannot be read: {type(error).__name__}: {error}") from error
