"""The collector looks less often while a record grows, and is set as before at the end."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator, Sequence

import pytest

from executor import Step, Workflow, run
from executor.backends.virtual import VirtualBackend
from executor.garbage_collection import (
    COLLECT_AFTER_OBJECTS,
    OLDER_AFTER_COLLECTIONS,
    frozen_objects,
    rare_collections,
)
from executor.record.timeline import Attempt


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Each test sets the collector, and none leaves it so."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


@pytest.mark.parametrize(
    ("set_to", "meanwhile"),
    [(700, COLLECT_AFTER_OBJECTS), (2 * COLLECT_AFTER_OBJECTS, 2 * COLLECT_AFTER_OBJECTS), (0, 0)],
)
def test_the_collector_looks_less_often_and_is_then_set_as_before(set_to: int, meanwhile: int) -> None:
    gc.set_threshold(set_to, 11, 12)
    with rare_collections(without_end=True):
        assert gc.get_threshold() == (meanwhile, 11, 12)
        with rare_collections():
            assert gc.get_threshold() == (meanwhile, 11, 12)
    assert gc.get_threshold() == (set_to, 11, 12)


def test_what_is_older_is_looked_at_again_where_the_block_has_ended() -> None:
    gc.set_threshold(700, 10, 10)
    with rare_collections():
        assert gc.get_threshold() == (COLLECT_AFTER_OBJECTS, OLDER_AFTER_COLLECTIONS, 10)
        with rare_collections(without_end=True):
            assert gc.get_threshold() == (COLLECT_AFTER_OBJECTS, 10, 10)
        assert gc.get_threshold() == (COLLECT_AFTER_OBJECTS, OLDER_AFTER_COLLECTIONS, 10)
    assert gc.get_threshold() == (700, 10, 10)


def test_circles_that_a_block_leaves_are_found_in_it() -> None:
    gc.collect()
    gc.set_threshold(700, 10, 10)
    found: list[int] = []

    def note(phase: str, details: dict[str, int]) -> None:
        if phase == "stop":
            found.append(details["collected"])

    gc.callbacks.append(note)
    try:
        with rare_collections():
            held = []
            for _ in range(2 * COLLECT_AFTER_OBJECTS):
                circle: list[object] = []
                circle.append(circle)
                held.append([])
            del circle
    finally:
        gc.callbacks.remove(note)
    assert sum(found) > COLLECT_AFTER_OBJECTS
    assert held


def test_what_the_program_sets_meanwhile_stays() -> None:
    gc.set_threshold(700, 10, 10)
    with rare_collections():
        gc.set_threshold(5_000, 5, 5)
    assert gc.get_threshold() == (5_000, 5, 5)


def test_the_last_of_several_puts_the_settings_back() -> None:
    gc.set_threshold(700, 10, 10)
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with rare_collections():
            inside.set()
            leave.wait(10)

    with rare_collections():
        thread = threading.Thread(target=other)
        thread.start()
        assert inside.wait(10)
    assert gc.get_threshold()[0] == COLLECT_AFTER_OBJECTS
    leave.set()
    thread.join()
    assert gc.get_threshold() == (700, 10, 10)


def test_a_simulated_run_collects_rarely_and_leaves_the_settings_alone() -> None:
    seen: list[int] = []

    class Watched(VirtualBackend):
        def _start(self, starts: Sequence[Attempt]) -> None:
            seen.append(gc.get_threshold()[0])
            super()._start(starts)

    gc.set_threshold(700, 10, 10)
    run(Workflow(steps=(Step(step_id="a", tool="noop"),)), backend=Watched(1))
    assert seen == [COLLECT_AFTER_OBJECTS] * 2
    assert gc.get_threshold() == (700, 10, 10)


def test_what_is_there_before_is_not_looked_at_while_objects_are_frozen() -> None:
    before = gc.get_freeze_count()
    with frozen_objects():
        assert gc.get_freeze_count() > before
    assert gc.get_freeze_count() == 0
