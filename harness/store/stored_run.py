"""A line of the history, and what a history of runs can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

Status = Literal["unfinished", "interrupted", "finished"]
Verdict = Literal["accepted", "rejected"]


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A line of the history. ``verdict`` is what a person, or the benchmark, thought of it; None: nobody said.

    An ``unfinished`` run goes on at this moment or was killed.
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


class RunHistory(Protocol):
    """What references are looked up in: a store."""

    path: Path

    def document(self, run_id: str) -> dict[str, Any]:
        """The document of the run with exactly this id."""

    def history(self, *, limit: int | None = None) -> list[StoredRun]:
        """The runs with results, newest first."""

    def matching(self, condition: Literal["id", "revision"], text: str) -> list[StoredRun]:
        """The runs whose id or revision begins with the text, newest first."""
