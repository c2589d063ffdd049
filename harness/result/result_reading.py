"""What a result document says, read again: its results, and their timelines.

Rules of this module:
- The timeline of a result is that of the run, exactly; what is missing or of another kind is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import itemgetter
from typing import Any

from pydantic import ValidationError

from executor.model.workflow import Resource
from executor.record.timeline import (
    NANOSECONDS,
    Attempt,
    AttemptFailure,
    ClockReading,
    DeviceAttempt,
    Interval,
    Timeline,
    Wait,
)
from harness.files.packaged import schema
from harness.result.result_writing import SCHEMA, Document


class DocumentError(ValueError):
    """A document that is not a ``makespan.run/1`` result; the message says what is wrong with it."""


def timeline_from_document(result: Mapping[str, Any]) -> Timeline:
    """The timeline of a result: one entry of ``results``.

    Raises:
        DocumentError: a field is missing, or is not what the schema says.

    """
    try:
        return _timeline(result)
    except KeyError as error:
        raise DocumentError(f"not a {SCHEMA} result: {error.args[0]!r} is missing or names no step") from error
    except (TypeError, AttributeError, ValueError, OverflowError) as error:
        raise DocumentError(f"not a {SCHEMA} result: {error}") from error


def resource_from_document(name: str, words: Any) -> Resource:
    """A resource of a result.

    Raises:
        ValueError: a field of it is wrong, or unknown to this version: a limit that is not known would change figures.

    """
    try:
        return Resource.model_validate(words)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, ("resources", name, *first["loc"])))
        if first["type"] == "extra_forbidden":
            raise ValueError(f"{place} is unknown to this version of makespan") from error
        raise ValueError(f"{place}: {first['msg']}") from error


def attempts_before(result: Mapping[str, Any]) -> tuple[list[Attempt], int]:
    """The attempts of the run that was resumed, as far as their steps are in this one, and how many nanoseconds it
    took; nothing for a run that resumed none.

    Raises:
        DocumentError: a field is missing, or is not what the schema says.

    """
    resumed = result.get("resumed")
    if resumed is None:
        return [], 0
    index = {step["step_id"]: place for place, step in enumerate(result["steps"])}
    try:
        attempts = [
            _attempt_from(words, index[words["step_id"]])
            for words in resumed["attempts"]
            if words["step_id"] in index
        ]  # fmt: skip
        return attempts, _nanoseconds(resumed["seconds"])
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise DocumentError(f"not a {SCHEMA} result: resumed: {error}") from error


def results_of(document: Mapping[str, Any]) -> list[Document]:
    """The results of a document.

    Raises:
        DocumentError: the document is of another kind or version.

    """
    name = document.get("schema")
    if name != SCHEMA:
        raise DocumentError(f"this is no {SCHEMA} document: its 'schema' is {name!r}")
    results = document.get("results")
    if not isinstance(results, list):
        raise DocumentError(f"not a {SCHEMA} document: 'results' has to be a list")
    return results


def run_schema() -> Document:
    """The JSON Schema (2020-12) of the document."""
    return schema("run")


def _timeline(result: Mapping[str, Any]) -> Timeline:
    steps = result["steps"]
    step_ids = [step["step_id"] for step in steps]
    index = {step_id: place for place, step_id in enumerate(step_ids)}
    placed: list[tuple[int, Attempt]] = []
    data_parents: list[tuple[int, ...]] = []
    order_parents: list[tuple[int, ...]] = []
    statuses, nested_in, needs, tools = [], [], [], []
    reused, cached = set(), set()
    # Once through the steps of a large run: they are in no cache.
    for place, step in enumerate(steps):
        data_parents.append(tuple([index[parent] for parent in step["depends_on"]]))
        order_parents.append(tuple([index[parent] for parent in step["order_after"]]))
        statuses.append(step["status"])
        caller = step["nested_in"]
        nested_in.append(-1 if caller is None else index[caller])
        needs.append(step["needs"])
        tools.append(step.get("tool"))
        if "reused_from" in step:
            reused.add(place)
        if step.get("cached"):
            cached.add(place)
        placed += [(attempt["grant_order"], _attempt_from(attempt, place)) for attempt in step["attempts"]]
    placed.sort(key=itemgetter(0))
    return Timeline(
        step_ids=step_ids,
        data_parents=data_parents,
        order_parents=order_parents,
        statuses=statuses,
        attempts=[attempt for _, attempt in placed],
        workers=result["workers"],
        nested_in=nested_in,
        needs=needs,
        resources={name: resource_from_document(name, words) for name, words in result["resources"].items()},
        policy=result["policy"],
        backend=result["backend"],
        startup_seconds=result["startup_seconds"],
        capacity_changes={
            name: [(_nanoseconds(time), capacity) for time, capacity in changes]
            for name, changes in result.get("capacity_changes", {}).items()
        },
        worker_changes=[(_nanoseconds(time), count) for time, count in result.get("worker_changes", ())],
        clocks={
            worker: ClockReading(
                _nanoseconds(words["offset_seconds"]),
                _nanoseconds(words["error_seconds"]),
                words["drift_ratio"],
                words["round_trips"],
                words["resets"],
            )
            for worker, words in result.get("clocks", {}).items()
        },
        reused=frozenset(reused),
        cached=frozenset(cached),
        tools=tools,
    )


def _attempt_from(words: Mapping[str, Any], index: int) -> Attempt:
    waits = [Wait(one["reason"], _nanoseconds(one["from"]), _nanoseconds(one["to"])) for one in words["waits"]]
    attempt = (Attempt if words.get("devices") is None else DeviceAttempt)(
        index,
        words["step_id"],
        words["attempt"],
        _nanoseconds(words["ready"]),
        _nanoseconds(words["granted"]),
        words["released_by"],
        words["parent"],
        waits or None,
    )
    if isinstance(attempt, DeviceAttempt):
        attempt.held_devices = {kind: tuple(ids) for kind, ids in words["devices"].items()}
    started, ended, known = words["started"], words["ended"], words["known"]
    attempt.started = None if started is None else _nanoseconds(started)
    attempt.ended = None if ended is None else _nanoseconds(ended)
    attempt.known = None if known is None else _nanoseconds(known)
    blocked = [Interval(_nanoseconds(one["from"]), _nanoseconds(one["to"])) for one in words["blocked"]]
    if blocked:
        attempt.blocked = tuple(blocked)
    attempt.worker = words["worker"]
    attempt.cpu_seconds = words["cpu_seconds"]
    attempt.tokens_reserved = words["tokens_reserved"]
    attempt.tokens_used = words["tokens_used"]
    attempt.outcome = words["outcome"]
    if words.get("failure") is not None:
        attempt.failure = AttemptFailure(**words["failure"])
    return attempt


def _nanoseconds(seconds: float) -> int:
    # The division and this product are each off by at most 2⁻⁵³; together less than half a nanosecond for 26 days.
    return round(float(seconds) * NANOSECONDS)
