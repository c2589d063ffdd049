"""The cache of one run: what its steps take from earlier runs, and what it leaves for later ones.

Rules of this module:
- Only steps that succeeded are stored, and only with an output that JSON gives back as it is.
- A step may build upon another without reading its output (``depends_on`` alone). It runs where that one ran: in this
  run, or in those that it goes on from.
- A look is one row by its key, under the engine's lock. Storing is done by a thread of its own, and what is left of it
  at the end of the run.
- An output that is too old or was altered is a miss, and is said.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Final

from executor.engine.engine import Engine
from executor.engine.keeping import Asked, EarlierResults, Found
from executor.model.workflow import Step
from executor.output_cache.cache_file import CacheError, CacheFile, NewOutput
from executor.output_cache.call_key import CallKeys
from executor.record.timeline import Attempt
from executor.tools.tool import RunContext

PERIOD_SECONDS: Final = 0.1
_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Cache:
    """A file with outputs of steps that say ``cache: inputs``, made where there is none; large ones are in a folder
    beside it. ``reads``: whether outputs are taken from it; they are stored in any case. ``run_id``: who made them.
    """

    path: str | PathLike[str]
    reads: bool = True
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)


class CachedOutputs:
    """The cache of one run: an :class:`executor.engine.keeping.EarlierResults`. ``first`` is asked before it; the steps
    ``again``, and all below them, are taken from neither. ``ran``: the steps that ran in the runs that this one goes on
    from.
    """

    def __init__(
        self,
        cache: Cache,
        context: RunContext,
        *,
        first: EarlierResults | None = None,
        again: Collection[str] = (),
        ran: Collection[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        # With each step that was taken from it, the run that made its output.
        self.hits: dict[str, str] = {}
        self._cache = cache
        self._first = first
        self._again = set(again)
        self._ran = ran
        self._below_again = tuple(f"{step_id}/" for step_id in again)
        self._clock = clock
        self._keys = CallKeys(context)
        # By step: the key of the call that runs.
        self._running: dict[str, str] = {}
        self._ended: deque[str] = deque()
        self._outputs: Mapping[str, Any] = {}
        self._said: dict[str, list[str]] = {}
        self._broken: str | None = None
        self._file: CacheFile | None = None
        self._stored: CacheFile | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="makespan-cache", daemon=True)

    # ------------------------------------------------------------------ its life

    def attach(self, engine: Engine) -> None:
        """Hear of the ends of the engine's run."""
        self._outputs = engine.outputs
        engine.note_ends(self._note_end)

    def begin(self) -> None:
        """The run begins."""
        try:
            self._file = CacheFile.open(Path(self._cache.path).expanduser())
            self._stored = CacheFile.open(self._file.path)
            self._thread.start()
        except (CacheError, RuntimeError) as error:
            self._broken = str(error)

    def end(self) -> list[str]:
        """Store what is left and close the file. Answers what is to be said."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._store()
        for file in (self._file, self._stored):
            if file is not None:
                file.close()
        self._file = self._stored = None
        said = [f"{_steps(steps)}: {why}" for why, steps in self._said.items()]
        return said if self._broken is None else [*said, f"steps were not cached: {self._broken}"]

    # ------------------------------------------------------------------ what the engine asks

    def may_know(self, step: Step, step_id: str, parent: str | None) -> bool:
        """See :class:`.EarlierResults`."""
        known = self._first is not None and self._first.may_know(step, step_id, parent)
        return known or step.cache is not None

    def find(self, asked: Asked) -> Found | None:
        """See :class:`.EarlierResults`."""
        if self._first is not None and self._first.may_know(asked.step, asked.step_id, asked.parent):
            found = self._first.find(asked)
            if found is not None:
                return found
        return self._find(asked)

    def _find(self, asked: Asked) -> Found | None:
        step, step_id = asked.step, asked.step_id
        if step.cache is None or self._file is None or self._broken is not None:
            return None
        key = self._keys.key(step.tool, asked.tool, asked.prompt, asked.args)
        if key is None:
            self._say(step_id, "not cached: what it is given cannot be compared, since JSON cannot hold it")
            return None
        self._running[step_id] = key
        if not self._cache.reads or self._is_again(step_id) or self._comes_after_what_ran(asked):
            return None
        least = None if step.ttl is None else self._clock() - step.ttl
        try:
            found = self._file.find(key, least)
        except CacheError as error:
            self._say(step_id, f"not taken from the cache: {error}")
            return None
        if found is None:
            return None
        if least is not None and found.stored_at < least:
            self._say(step_id, f"not taken from the cache: older than its `ttl` of {step.ttl:g} s")
            return None
        del self._running[step_id]
        self.hits[step_id] = found.run_id
        return Found("cached", found.output)

    def _comes_after_what_ran(self, asked: Asked) -> bool:
        return bool(asked.ran_before) or any(step_id in self._ran for step_id in asked.builds_upon)

    def _is_again(self, step_id: str) -> bool:
        return step_id in self._again or step_id.startswith(self._below_again)

    def _note_end(self, attempt: Attempt) -> None:
        if attempt.outcome == "succeeded" and attempt.step_id in self._running:
            self._ended.append(attempt.step_id)

    # ------------------------------------------------------------------ the disk

    def _work(self) -> None:
        while not self._stop.wait(PERIOD_SECONDS):
            self._store()

    def _store(self) -> None:
        if self._stored is None or self._broken is not None:
            return
        rows: list[NewOutput] = []
        while self._ended:
            step_id = self._ended.popleft()
            try:
                words = self._stored.outputs.kept(self._outputs.get(step_id))
            except OSError as error:
                words = {"lost": f"its file could not be written: {error.strerror or error}"}
            if "lost" in words:
                self._say(step_id, f"not cached: {words['lost']}")
                continue
            rows.append(NewOutput(self._running.pop(step_id), self._cache.run_id, step_id, self._clock(), words))
        try:
            if rows:
                self._stored.put(rows)
        except CacheError as error:
            self._broken = str(error)

    def _say(self, step_id: str, why: str) -> None:
        self._said.setdefault(why, []).append(step_id)


def _steps(step_ids: list[str]) -> str:
    shown = ", ".join(map(repr, step_ids[:_NAMED]))
    more = f" and {len(step_ids) - _NAMED:,} more" if len(step_ids) > _NAMED else ""
    return f"{'steps' if len(step_ids) > 1 else 'step'} {shown}{more}"


__all__ = ["Cache", "CachedOutputs"]
