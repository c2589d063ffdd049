"""A line of the history, and what a history of runs can be asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from harness.result.cell_key import Cell

Status = Literal["unfinished", "killed", "interrupted", "finished"]
Verdict = Literal["accepted", "rejected"]


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A line of the history. ``verdict`` is what a person, or the benchmark, thought of it, if any.
    ``cached_steps``: how many steps took their output from the cache.

    An ``unfinished`` run goes on at this moment or was killed; ``killed`` is said by those who looked whether it does.
    """

    run_id: str
    scenario: str
    started_at: str
    revision: str | None
    machine: str | None
    machine_class: str
    status: Status
    verdict: Verdict | None
    cells: int
    repetitions: int
    cached_steps: int = 0


@dataclass(frozen=True, slots=True)
class StoredRepetition:
    """A repetition of a benchmark that goes on: its entry of ``samples``, and what happened in it."""

    sample: Mapping[str, Any]
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SampleToStore:
    """A repetition on its way into the store: the arguments of :meth:`harness.store.run_store.Store.add_sample`."""

    cell: Cell
    repetition: int
    sample: Mapping[str, Any]
    result: Mapping[str, Any] | None = None
    record: Mapping[str, Any] | None = None
    again: bool = False


@dataclass(frozen=True, slots=True)
class StoredBench:
    """A benchmark of which repetitions may be missing. ``started_as``: how, and what has to be the same to go on."""

    run_id: str
    status: Status
    head: Mapping[str, Any]
    started_as: Mapping[str, Any]


class RunHistory(Protocol):
    """What references are looked up in: a store."""

    path: Path

    def document(self, run_id: str) -> dict[str, Any]:
        """The document of the run with exactly this id."""

    def history(self, *, limit: int | None = None) -> list[StoredRun]:
        """The runs with results, newest first."""

    def matching(self, condition: Literal["id", "revision"], text: str) -> list[StoredRun]:
        """The runs whose id or revision begins with the text, newest first."""
