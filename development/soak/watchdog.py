"""A watchdog: a run in which nothing happens any more becomes stacks and a saved state, and ends the program.

Rules of this module:
- It is a thread, and looks at a counter. A step that takes longer than its patience is a hang to it.
- It reads the run without its lock, which the hang may hold.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from executor import Instrument
from executor.engine.instruments import WatchedRun

HUNG_STATUS: Final = 3
_STEPS_SAVED: Final = 200


class Watchdog(Instrument):
    """Watches the runs that it is an instrument of, while it is entered. ``about``: saved, to play a run again."""

    def __init__(self, folder: Path, patience_seconds: float) -> None:
        self.about: Mapping[str, Any] = {}
        self._folder = folder
        self._patience_seconds = patience_seconds
        self._engine: WatchedRun | None = None
        self._happened = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="soak-watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def run_started(self, engine: WatchedRun) -> None:
        """Watch this one from now on."""
        self._engine = engine
        self._happened += 1

    def attempt_finished(self, *_: Any) -> None:
        """Something has happened."""
        self._happened += 1

    def _watch(self) -> None:
        seen = -1
        while not self._over.wait(self._patience_seconds):
            if seen == self._happened:
                self._save()
                os._exit(HUNG_STATUS)
            seen = self._happened

    def _save(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "stacks.txt").open("w", encoding="utf-8") as file:
            faulthandler.dump_traceback(file, all_threads=True)
        state = {**self.about, **({} if self._engine is None else state_of(self._engine))}
        (self._folder / "state.json").write_text(json.dumps(state, indent=1, default=str), encoding="utf-8")
        sys.stderr.write(
            f"hung: nothing has happened for {self._patience_seconds:g} s; stacks and state: {self._folder}\n"
        )
        sys.stderr.flush()


def state_of(engine: WatchedRun) -> dict[str, Any]:
    """Where a run is: how many steps have which status, and which are not final."""
    statuses = engine.scheduler.statuses()
    steps = engine.scheduler.steps
    pending = [
        (steps[index].step_id, status)
        for index, status in enumerate(statuses)
        if status not in ("succeeded", "failed", "skipped", "cancelled")
    ]
    return {
        "backend": engine.backend_name,
        "seed": engine.context.seed,
        "now_seconds": engine.now() / 1e9,
        "statuses": Counter(statuses),
        "not_final": pending[:_STEPS_SAVED],
        "errors": {step_id: str(error) for step_id, error in list(engine.errors.items())[:_STEPS_SAVED]},
    }
