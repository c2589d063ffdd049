"""Sees whether a result document is whole: what the schema says of it, and what a schema cannot say.

Rules of this module:
- Who reads a document of a file or of the history has it checked here, once: everything behind that may rely on it.
- The first fault is named with its place, such as ``results[0].steps[3].stated``.
- What newer versions may have added is let pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

from executor.model.findings import Path
from executor.model.validation_messages import usable_id
from harness.files.packaged import schema
from harness.files.schema_check import SchemaChecker, SchemaFault, place_text
from harness.result.result_reading import DocumentError, resource_from_document, results_of
from harness.result.result_writing import SCHEMA

_OF_RECORD: Final = ("workers", "policy", "startup_seconds", "backend", "resources", "steps")


def check_document(document: Mapping[str, Any]) -> None:
    """See that a document is a whole result.

    Raises:
        DocumentError: it is of another kind or version, or a field of it is missing or wrong.

    """
    results = results_of(document)
    whole, step_checker = _checkers()
    try:
        whole.check(document)
        for place, result in enumerate(results):
            _check_steps(result, step_checker, ("results", place))
    except SchemaFault as fault:
        raise DocumentError(f"this is no whole {SCHEMA} document: {fault}") from None


def check_record(record: Any, at: Path) -> None:
    """See that what happened in one run is whole: the fields of a result from which its timeline is made.

    Raises:
        SchemaFault: it is not.

    """
    _record_checker().check(record, at)
    _check_steps(record, _checkers()[1], at)


def check_sample(sample: Any, at: Path) -> None:
    """See that an entry of ``samples`` is whole.

    Raises:
        SchemaFault: it is not.

    """
    _sample_checker().check(sample, at)


@cache
def _record_checker() -> SchemaChecker:
    root = schema("run")
    of_record = {**root["$defs"]["result"], "required": list(_OF_RECORD)}
    return SchemaChecker(of_record, root, unread=frozenset({"step"}))


@cache
def _sample_checker() -> SchemaChecker:
    root = schema("run")
    return SchemaChecker(root["$defs"]["sample"], root)


@cache
def _checkers() -> tuple[SchemaChecker, SchemaChecker]:
    """For the document without its steps, and for a step: the steps of a large run are not all copied at once."""
    root = schema("run")
    return SchemaChecker(root, root, unread=frozenset({"step"})), SchemaChecker(root["$defs"]["step"], root)


def _check_steps(result: Mapping[str, Any], checker: SchemaChecker, at: Path) -> None:
    steps = result["steps"]
    for name, words in result["resources"].items():
        try:
            resource_from_document(name, words)
        except ValueError as error:
            raise SchemaFault(f"{place_text(at)}.{error}") from None
    for place, step in enumerate(steps):
        checker.check(step, (*at, "steps", place))
        if not usable_id(step["step_id"]):
            raise SchemaFault(f"{place_text((*at, 'steps', place, 'step_id'))} has a control character")
    index = {step["step_id"]: place for place, step in enumerate(steps)}
    if len(index) < len(steps):
        twice = next(place for place, step in enumerate(steps) if index[step["step_id"]] != place)
        raise SchemaFault(f"{place_text((*at, 'steps', twice, 'step_id'))} is the id of another step, too")
    parents: list[Sequence[int]] = []
    for place, step in enumerate(steps):
        here = (*at, "steps", place)
        callers = [] if step["nested_in"] is None else [step["nested_in"]]
        for name, named in (("depends_on", step["depends_on"]), ("order_after", step["order_after"]),
                            ("nested_in", callers)):  # fmt: skip
            if not index.keys() >= set(named):
                raise SchemaFault(f"{place_text((*here, name))} names a step that is not there")
        parents.append([index[one] for one in (*step["depends_on"], *step["order_after"])])
        for number, attempt in enumerate(step["attempts"]):
            _check_attempt(attempt, step["step_id"], (*here, "attempts", number))
    _refuse_circle(parents, (*at, "steps"))
    _refuse_circle([[] if one["nested_in"] is None else [index[one["nested_in"]]] for one in steps], (*at, "steps"))


def _check_attempt(attempt: Mapping[str, Any], step_id: str, at: Path) -> None:
    if attempt["step_id"] != step_id:
        raise SchemaFault(f"{place_text((*at, 'step_id'))} is not the step that the attempt is of")
    before, name = attempt["ready"], "ready"
    # `known` is not held against `ended`: the clocks of two machines may differ.
    for later in ("granted", "started", "ended"):
        moment = attempt[later]
        if moment is not None:
            if moment < before:
                raise SchemaFault(f"{place_text((*at, later))} is earlier than `{name}`")
            before, name = moment, later
    for kind in ("waits", "blocked"):
        for number, one in enumerate(attempt[kind]):
            if one["to"] < one["from"]:
                raise SchemaFault(f"{place_text((*at, kind, number, 'to'))} is earlier than `from`")


def _refuse_circle(parents: Sequence[Sequence[int]], at: Path) -> None:
    """Steps that wait for each other: no run has them, and what follows chains would never end."""
    left = [len(those) for those in parents]
    children: list[list[int]] = [[] for _ in parents]
    for child, those in enumerate(parents):
        for parent in those:
            children[parent].append(child)
    free = [place for place, count in enumerate(left) if not count]
    for place in free:  # it grows as it is read
        for child in children[place]:
            left[child] -= 1
            if not left[child]:
                free.append(child)
    if len(free) < len(parents):
        stuck = next(place for place, count in enumerate(left) if count)
        raise SchemaFault(f"{place_text((*at, stuck))} depends on itself, directly or through others")
