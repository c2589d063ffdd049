"""Keeping a run while it goes on, whatever the store does: a full disk must not cost a measured result.

Rules of this module:
- A write that fails stays in memory and is tried again with the next one, in order. ``warn`` reports the first failure
  at once, :meth:`Recording.finish` the last.
- Nothing here raises :class:`StoreError`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Literal

from harness.result.cell_key import Cell
from harness.store.run_store import Store
from harness.store.store_errors import StoreError


class Recording:
    """One run on its way into a store. ``head`` is its document without ``results`` and has a ``run_id``.
    ``started_as``: as in :meth:`Store.begin_run`. ``resumes``: the store has that run already, and it goes on.
    """

    def __init__(
        self,
        store: Store,
        head: Mapping[str, Any],
        *,
        warn: Callable[[str], None],
        started_as: Mapping[str, Any] | None = None,
        resumes: bool = False,
    ) -> None:
        self.run_id = str(head["run_id"])
        self._store = store
        self._warn = warn
        self._waiting: deque[Callable[[], object]] = deque()
        self._failure: StoreError | None = None
        self._begin: Callable[[], object] = (
            (lambda: store.resume_run(self.run_id)) if resumes else (lambda: store.begin_run(head, started_as))
        )
        self._write(self._begin)

    @property
    def failure(self) -> StoreError | None:
        """Why what was given last is not in the store; None if all is."""
        return self._failure if self._waiting else None

    def add_sample(
        self,
        cell: Cell,
        repetition: int,
        sample: Mapping[str, Any],
        result: Mapping[str, Any] | None = None,
        record: Mapping[str, Any] | None = None,
        *,
        again: bool = False,
    ) -> None:
        """As :meth:`Store.add_sample`."""
        self._write(lambda: self._store.add_sample(self.run_id, cell, repetition, sample, result, record, again=again))

    def finish(
        self, document: Mapping[str, Any], *, status: Literal["finished", "interrupted"] = "finished"
    ) -> StoreError | None:
        """As :meth:`Store.finish_run`. Answers why the run is not, or not wholly, in the store; then the caller still
        holds the document, and can write it elsewhere.
        """
        # The document holds all of them.
        self._waiting = deque(write for write in self._waiting if write is self._begin)
        self._write(lambda: self._store.finish_run(self.run_id, document, status=status))
        return self.failure

    def interrupt(self) -> None:
        """As :meth:`Store.interrupt_run`, for a run that will not be finished; one that is stays as it is."""
        self._write(lambda: self._store.interrupt_run(self.run_id))

    def _write(self, write: Callable[[], object]) -> None:
        self._waiting.append(write)
        while self._waiting:
            try:
                self._waiting[0]()
            except StoreError as error:
                if self._failure is None:
                    self._warn(f"{error}. Results are kept in memory, and writing them is tried again.")
                self._failure = error
                return
            self._waiting.popleft()
