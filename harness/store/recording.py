"""Keeping a run while it goes on, whatever the store does: a full disk must not cost a measured result.

Rules of this module:
- A write that fails stays in memory and is tried again with the next one, in order. ``warn`` reports the first failure
  at once, :meth:`Recording.finish` the last.
- Nothing here raises :class:`StoreError`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Literal

from harness.result.cell_key import Cell
from harness.store.run_store import Store
from harness.store.store_errors import StoreError
from harness.store.stored_run import SampleToStore


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
        self._lock = threading.RLock()
        self._held: list[Callable[[], SampleToStore]] = []
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
        with self._lock:
            self._write(
                lambda: self._store.add_sample(self.run_id, cell, repetition, sample, result, record, again=again)
            )

    @property
    def holds(self) -> bool:
        """Whether something is held back."""
        return bool(self._held)

    def add_later(self, make: Callable[[], SampleToStore]) -> None:
        """Hold a sample back, and do not even make it, until :meth:`keep_held` or the end of the run."""
        with self._lock:
            self._held.append(make)

    def keep_held(self) -> None:
        """Write what was held back, as one transaction."""
        with self._lock:
            if self._held:
                samples = [make() for make in self._held]
                self._held.clear()
                self._write(lambda: self._store.add_samples(self.run_id, samples))

    def finish(
        self, document: Mapping[str, Any], *, status: Literal["finished", "interrupted"] = "finished"
    ) -> StoreError | None:
        """As :meth:`Store.finish_run`. Answers why the run is not, or not wholly, in the store; then the caller still
        holds the document, and can write it elsewhere.
        """
        with self._lock:
            # The document holds all of them; what happened in each is needed by a run that goes on.
            if status == "interrupted":
                self.keep_held()
            self._held.clear()
            self._waiting = deque(write for write in self._waiting if write is self._begin)
            self._write(lambda: self._store.finish_run(self.run_id, document, status=status))
            return self.failure

    def interrupt(self) -> None:
        """As :meth:`Store.interrupt_run`, for a run that will not be finished; one that is stays as it is."""
        with self._lock:
            self.keep_held()
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
