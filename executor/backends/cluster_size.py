"""The number of workers of a run, as the cluster that it is on grows and shrinks."""

from __future__ import annotations

from executor.engine.engine import Engine


def resize(engine: Engine, workers: int, now: int) -> None:
    """There are ``workers`` from now on; none is possible. For a request (:meth:`.Engine.ask`): under its lock."""
    scheduler = engine.scheduler
    before = scheduler.slots
    scheduler.resize(now, workers)
    # Without workers nothing can move the run on, and yet it is not stuck.
    if before and not scheduler.slots:
        scheduler.hold()
    elif scheduler.slots and not before:
        scheduler.release()
