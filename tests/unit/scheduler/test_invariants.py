"""Each book of the scheduler is compared with what follows from the states: one that is wrong is named."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from executor.model.workflow import Resource, Retry
from executor.record.timeline import NANOSECONDS
from executor.scheduler import STATE_NAMES, Scheduler, SchedulerError
from executor.scheduler.ready_queue import OUT, QUEUED, RESERVED
from executor.scheduler.states import WAITING
from tests.unit.scheduling import Hand, step

RESOURCES = {"llm": Resource(capacity=6), "full": Resource(capacity=2), "api": Resource(rate_per_minute=600, burst=9)}


def busy() -> Scheduler:
    """A run with steps in every state, and more to come. The fields are looked at from here on, and broken."""
    steps = [
        step("succeeded"),
        step("failed"),
        step("skipped", "failed"),
        step("runs", "succeeded", priority=9, needs={"llm": 2, "full": 2, "api": 1}, writes=["s"]),
        step("blocked", "succeeded", priority=9, needs={"llm": 1}),
        step("resumes", "succeeded", priority=9, needs={"api": 1}),
        step("backs off", "succeeded", priority=9, retry=Retry(jitter="none")),
        step("left behind", "succeeded", priority=9, needs={"llm": 3}),
        step("called off", "succeeded", priority=9),
        step("locked", "succeeded", writes=["s"]),
        step("queued", "succeeded"),
        step("never began", "queued"),
        step("waits", "runs"),
    ]
    hand = Hand(steps, 6, order={"locked": [("runs", "s")]}, resources=RESOURCES)
    scheduler = hand.scheduler
    scheduler.hold()
    hand.start()
    hand.end("failed", 0, "failed")
    hand.turn(0, "succeeded")
    for name in ("blocked", "resumes"):
        scheduler.block(hand.live[name], NANOSECONDS)
    scheduler.unblock(hand.live["resumes"], NANOSECONDS)
    hand.end("backs off", 1, "failed")
    hand.end("left behind", 1, "timed_out", abandoned=True)
    scheduler.cancel(NANOSECONDS, ["called off", "never began"])
    return scheduler


def barred() -> Scheduler:
    """A step is at a barrier."""
    hand = Hand([step("runs"), step("ended"), step("held", "ended")], policy="levels")
    hand.start()
    hand.turn(1, "ended")
    return hand.scheduler


def mapped() -> Scheduler:
    """The list of a mapped step is due."""
    return Hand([step("due", for_each=[1, 2])]).scheduler


def test_books_that_agree_are_no_fault_whatever_the_states() -> None:
    scheduler = busy()
    scheduler.validate()
    assert {scheduler.status(index) for index in range(len(scheduler.steps))} == set(STATE_NAMES)
    scheduler.resize(2 * NANOSECONDS, slots=0, capacities={"llm": 1})
    scheduler.validate()
    scheduler._queue.reserve(scheduler.index["queued"], None)
    scheduler.validate()
    barred().validate()
    mapped().validate()


Breaking = Callable[[Scheduler, int], object]


def put(field: str, value: object) -> Breaking:
    """Writes a value into a book, at the step's place."""

    def breaking(scheduler: Scheduler, index: int) -> None:
        owner = scheduler._queue if field in ("queued", "reserved") else scheduler
        getattr(owner, field)[index] = value(scheduler) if callable(value) else value

    return breaking


def step_at(name: str) -> Callable[[Scheduler], tuple[int]]:
    return lambda scheduler: (scheduler.index[name],)


UNFINISHED = "a step is {} and a dependency is not final"
WHERE_READY = "a ready step is queued, or held, or locked"
PAST_LOCKS = "a step runs past its locks"


def resume(scheduler: Scheduler, index: int) -> None:
    scheduler._resuming.append(scheduler._keys[index])


def lock(scheduler: Scheduler, index: int) -> None:
    scheduler._locks.add(index, [(scheduler.index["queued"], "s")], [False])


@pytest.mark.parametrize(
    ("name", "breaking", "sentence"),
    [
        ("waits", put("_data_pending", 0), "a waiting step waits for another"),
        ("waits", put("_data_pending", 2), "a waiting step waits for another"),
        ("queued", put("_state", WAITING), "a waiting step waits for another"),
        ("queued", put("_data_parents", step_at("runs")), UNFINISHED.format("ready")),
        ("runs", put("_data_parents", step_at("queued")), UNFINISHED.format("running")),
        ("succeeded", put("_data_parents", step_at("queued")), UNFINISHED.format("succeeded")),
        ("skipped", put("_data_parents", step_at("queued")), UNFINISHED.format("skipped")),
        ("called off", put("_data_parents", step_at("queued")), UNFINISHED.format("cancelled")),
        ("runs", put("_made", 2), "attempts are counted"),
        ("locked", put("_made", 1), "attempts are counted"),
        ("runs", put("queued", QUEUED), "a step is queued and running"),
        ("waits", put("queued", QUEUED), "a step is queued and waiting"),
        ("queued", put("queued", RESERVED), "reserved steps are listed"),
        ("queued", put("reserved", 1), "reserved steps are listed"),
        ("queued", put("queued", OUT), WHERE_READY),
        ("queued", lambda scheduler, index: scheduler._held.add(index), WHERE_READY),
        ("queued", lock, WHERE_READY),
        ("queued", lambda scheduler, index: scheduler._to_expand.append(index), WHERE_READY),
        ("locked", put("queued", QUEUED), WHERE_READY),
        ("backs off", lambda scheduler, index: scheduler._due.pop(index), "backing-off steps have a due time"),
        ("runs", put("_due", 5), "backing-off steps have a due time"),
        ("resumes", lambda scheduler, _: scheduler._resuming.clear(), "resuming steps are listed"),
        ("runs", resume, "resuming steps are listed"),
        ("runs", lock, PAST_LOCKS),
        ("blocked", lock, PAST_LOCKS),
        ("resumes", lock, PAST_LOCKS),
    ],
)  # fmt: skip
def test_a_book_that_is_wrong_about_a_step_is_named_with_the_steps_story(
    name: str, breaking: Breaking, sentence: str
) -> None:
    scheduler = busy()
    breaking(scheduler, scheduler.index[name])
    with pytest.raises(SchedulerError) as caught:
        scheduler.validate()
    history = scheduler.history(scheduler.index[name])
    assert (str(caught.value), caught.value.history) == (f"broken invariant: {sentence}\n{history}", history)


def add(field: str, number: int) -> Callable[[Scheduler], None]:
    return lambda scheduler: setattr(scheduler, field, getattr(scheduler, field) + number)


def set_limit(name: str, **values: int) -> Callable[[Scheduler], None]:
    def breaking(scheduler: Scheduler) -> None:
        for field, value in values.items():
            setattr(scheduler.limits.by_name[name], field, value)

    return breaking


REMAINING = "remaining counts the steps that are not final"
FREE = "free slots are slots less running steps"
LIVE = "live attempts belong to running, blocked and resuming steps"


@pytest.mark.parametrize(
    ("breaking", "sentence"),
    [
        (add("remaining", 1), REMAINING),
        (add("remaining", -1), REMAINING),
        (add("held", 1), REMAINING),
        (add("_free", 1), FREE),
        (add("_free", -1), FREE),
        (add("slots", 1), FREE),
        (lambda scheduler: scheduler._live.popitem(), LIVE),
        (lambda scheduler: scheduler._live.update({scheduler.index["queued"]: scheduler.attempts[0]}), LIVE),
        (set_limit("llm", in_use=6), "units of llm in use are those held"),
        (set_limit("llm", in_use=4), "units of llm in use are those held"),
        (set_limit("api", in_use=2), "units of api in use are those held"),
        (set_limit("full", capacity=1, largest_capacity=1), "no more units of full than its capacity"),
        (lambda scheduler: scheduler._abandoned.clear(), "units of llm in use are those held"),
    ],
)
def test_a_book_about_the_whole_run_that_is_wrong_is_named(
    breaking: Callable[[Scheduler], object], sentence: str
) -> None:
    scheduler = busy()
    breaking(scheduler)
    with pytest.raises(SchedulerError) as caught:
        scheduler.validate()
    assert (str(caught.value), caught.value.history) == (f"broken invariant: {sentence}", "")


def test_a_step_that_is_held_or_whose_list_is_due_stands_nowhere_else() -> None:
    for scheduler, name, field in ((barred(), "held", "_held"), (mapped(), "due", "_to_expand")):
        getattr(scheduler, field).clear()
        with pytest.raises(SchedulerError, match=f"^broken invariant: {WHERE_READY}\nstep '{name}' is ready"):
            scheduler.validate()
