"""How often Python's cyclic garbage collector looks while records pile up in which it can find nothing.

Rules of this module:
- Where a run's own code may go on, it stays on: what a tool or a template leaves in circles is still found, only later.
- What was looked at once and is still held is record. It is looked at again when the block has ended, or the record
  would be looked at again and again as it grows.
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
# So many looks at what is new before one at what an earlier look has left: in effect none.
OLDER_AFTER_COLLECTIONS = 100_000


class _Settings:
    """Who wants rare collections now, and what there was before them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.users_without_end = 0
        self.before = self.ours = gc.get_threshold()

    def change(self, users: int, users_without_end: int) -> None:
        """So many more want rare collections, so many more of them for a time without a known end."""
        with self.lock:
            if not self.users:
                self.before = self.ours = gc.get_threshold()
            self.users += users
            self.users_without_end += users_without_end
            if gc.get_threshold() == self.ours:
                self.ours = self._wanted()
                gc.set_threshold(*self.ours)

    def _wanted(self) -> tuple[int, int, int]:
        young, middle, old = self.before
        if not self.users:
            return self.before
        # 0 means never.
        young = young and max(young, COLLECT_AFTER_OBJECTS)
        return young, middle if self.users_without_end else max(middle, OLDER_AFTER_COLLECTIONS), old


_settings = _Settings()


@contextmanager
def rare_collections(*, without_end: bool = False) -> Iterator[None]:
    """Within the block, for all threads, the collector looks after :data:`COLLECT_AFTER_OBJECTS` new objects, and at
    those alone. ``without_end``: the block may take long, so it looks at older ones as often as the program says.
    """
    _settings.change(1, int(without_end))
    try:
        yield
    finally:
        _settings.change(-1, -int(without_end))


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
