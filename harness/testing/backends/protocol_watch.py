"""Watches a backend while it drives an engine: which rule of the protocol it breaks, and the events that led there.

``run(workflow, backend=watch(MyBackend(4)))`` runs as it would without, and raises :class:`ProtocolError` where the
backend misbehaves, a standstill included.

Rules of this module:
- The engine is the one that every run has; only what passes between it and the backend is looked at.
- A breach is noted where it happens and raised where :meth:`WatchedBackend.drive` ends, so that the watched backend
  goes its way undisturbed.
"""

from __future__ import annotations

import asyncio
import threading
import time
import traceback
from typing import cast

from executor.backends import Backend, BackendError
from executor.engine.engine import Engine
from executor.record.timeline import NANOSECONDS, Attempt
from harness.testing.backends.protocol_rules import RULES, Log, ProtocolError, stacks
from harness.testing.backends.watched_engine import WatchedEngine

__all__ = ["RULES", "ProtocolError", "WatchedBackend", "stacks", "watch"]

# Shorter runs say too little about how fast a clock goes.
CLOCK_SAMPLE_SECONDS = 0.05


def watch(backend: Backend, *, patience_seconds: float = 60.0) -> WatchedBackend:
    """The same backend under watch. ``patience_seconds``: how long nothing may pass between it and the engine (no step
    may take longer) until the run is said to stand still.
    """
    return WatchedBackend(backend, patience_seconds)


class WatchedBackend(Backend):
    """A backend under watch; see :func:`watch`. ``log`` holds what passed in its last run."""

    def __init__(self, backend: Backend, patience_seconds: float) -> None:
        # No call of the base's constructor: everything is the watched backend's.
        self.backend = backend
        self.patience_seconds = patience_seconds
        self.log = Log()
        self.capacity = backend.capacity
        self.warnings = backend.warnings
        self.name = backend.name  # type: ignore[misc]  # of an instance here: it stands for any backend
        self.simulates = backend.simulates  # type: ignore[misc]  # as above
        self.stops_at_once = backend.stops_at_once
        self.clock = self._watched_clock
        self._clock_lock = threading.Lock()
        self._latest: int | None = None
        self._stuck = False
        self._watched: WatchedEngine | None = None

    def open(self, engine: Engine) -> None:
        """See :meth:`Backend.open`."""
        self._watched = WatchedEngine(engine, self.log, self.backend.notify)
        self.backend.open(cast("Engine", self._watched))

    def drive(self, engine: Engine) -> None:
        """See :meth:`Backend.drive`. Raises :class:`ProtocolError`."""
        watched = self._begin(engine)
        failures: list[BaseException] = []
        ended = threading.Event()

        def drive() -> None:
            try:
                self.backend.drive(cast("Engine", watched))
            except BaseException as error:  # noqa: BLE001  # judged below, in the caller's thread
                failures.append(error)
            finally:
                ended.set()

        began = time.perf_counter(), self.clock()
        threading.Thread(target=drive, name="drive", daemon=True).start()
        while not ended.wait(self._patience_left()):
            if self._patience_left() <= 0:
                self._stand_still(watched, began)
                break
        self._judge(engine, watched, failures, began)

    async def drive_async(self, engine: Engine) -> None:
        """See :meth:`Backend.drive_async`. Raises :class:`ProtocolError`."""
        watched = self._begin(engine)
        failures: list[BaseException] = []
        began = time.perf_counter(), self.clock()
        driving = asyncio.ensure_future(self.backend.drive_async(cast("Engine", watched)))
        try:
            while not (await asyncio.wait({driving}, timeout=self._patience_left()))[0]:
                if self._patience_left() <= 0:
                    self._stand_still(watched, began)
                    break
        except asyncio.CancelledError:
            driving.cancel()
            await asyncio.wait({driving}, timeout=self.patience_seconds)
            raise
        if driving.done() and not driving.cancelled() and (error := driving.exception()) is not None:
            failures.append(error)
        self._judge(engine, watched, failures, began)

    def cancel(self, attempt: Attempt) -> None:
        """See :meth:`Backend.cancel`."""
        self.log.note("cancel", (attempt,))
        self.backend.cancel(attempt)

    def notify(self) -> None:
        """See :meth:`Backend.notify`."""
        self.backend.notify()

    def close(self) -> None:
        """See :meth:`Backend.close`; of a backend that stands still it is not waited for."""
        if not self._stuck:
            self.backend.close()
            return
        closing = threading.Thread(target=self.backend.close, name="close", daemon=True)
        closing.start()
        closing.join(1.0)

    # ------------------------------------------------------------------ judging

    def _begin(self, engine: Engine) -> WatchedEngine:
        self.log.last = time.monotonic()
        if self._watched is None:
            self._watched = WatchedEngine(engine, self.log, self.backend.notify)
        return self._watched

    def _watched_clock(self) -> int:
        with self._clock_lock:
            now = self.backend.clock()
            latest, self._latest = self._latest, now
        if latest is not None and now < latest:
            self.log.breach("clock", f"it says {now} after it said {latest}")
        return now

    def _patience_left(self) -> float:
        return max(0.0, self.log.last + self.patience_seconds - time.monotonic())

    def _stand_still(self, watched: WatchedEngine, began: tuple[float, int]) -> None:
        self._stuck = True
        threads = stacks(__file__)
        wrong_clock = self._clock_rate(began)
        if self.log.breaches:
            return
        rule, story = ("clock", wrong_clock) if wrong_clock else watched.standstill()
        story += f"; nothing has happened for {self.patience_seconds:g} s. The threads:\n{threads}"
        watched.fatal(rule, story)

    def _judge(
        self, engine: Engine, watched: WatchedEngine, failures: list[BaseException], began: tuple[float, int]
    ) -> None:
        if self.log.breaches:
            raise self.log.breaches[0]
        if failures:
            error = failures[0]
            if isinstance(error, BackendError | KeyboardInterrupt | SystemExit):
                raise error
            told = "".join(traceback.format_exception(error)).rstrip()
            raise self.log.breach("drive", f"it raised {type(error).__name__}: {error}\n{told}") from error
        if not engine.done:
            rule, story = watched.standstill()
            raise self.log.breach(rule, f"drive() returned too early: {story}")
        if wrong_clock := self._clock_rate(began):
            raise self.log.breach("clock", wrong_clock)

    def _clock_rate(self, began: tuple[float, int]) -> str:
        """What is wrong with how fast the clock goes; nothing is the empty text."""
        seconds = time.perf_counter() - began[0]
        counted = (self.clock() - began[1]) / NANOSECONDS
        if not self.simulates and seconds > CLOCK_SAMPLE_SECONDS and not seconds / 2 < counted < seconds * 2:
            return f"it counted {counted:g} s while {seconds:.3f} s passed"
        return ""
