"""How often Python's cyclic garbage collector looks while records pile up in which it can find nothing.

Rules of this module:
- Where a run's own code may go on, it stays on: what a tool or a template leaves in circles is still found, only later.
- The settings of the program are put back by the last who asked for rare collections, unless the program has changed
  them meanwhile. A collector that is off stays off.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# By itself it looks after each 700 new objects, which is after each 50 steps.
COLLECT_AFTER_OBJECTS = 100_000


class _Settings:
    """Who wants rare collections now, and what there was before them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.before = gc.get_threshold()
        self.ours = self.before


_settings = _Settings()


@contextmanager
def rare_collections() -> Iterator[None]:
    """Within the block, for all threads, the collector looks after :data:`COLLECT_AFTER_OBJECTS` new objects."""
    settings = _settings
    with settings.lock:
        settings.users += 1
        if settings.users == 1:
            settings.before = before = gc.get_threshold()
            # 0 means never.
            settings.ours = (before[0] and max(before[0], COLLECT_AFTER_OBJECTS), *before[1:])
            gc.set_threshold(*settings.ours)
    try:
        yield
    finally:
        with settings.lock:
            settings.users -= 1
            if not settings.users and gc.get_threshold() == settings.ours:
                gc.set_threshold(*settings.before)


@contextmanager
def paused_collector() -> Iterator[None]:
    """Within the block, which makes millions of objects without a cycle and calls no code of others, it does not look.
    It would take half the time: it looks at all that is held, again and again. Pauses may nest.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def frozen_objects() -> Iterator[None]:
    """Within the block it does not look at what is there at its beginning, and stays until its end: a large workflow.
    Not to be nested.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
