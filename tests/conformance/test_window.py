"""Backends that submit calls ahead of free workers: the suite, what waits, and what must not."""

from __future__ import annotations

import pickle
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future
from pathlib import Path
from typing import Any, ClassVar

import pytest

from executor import Attempt, Instrument, Run, Step, Workflow, run
from executor.backends.batches import BatchCall
from executor.backends.window import RecallError, WindowBackend
from harness.testing.backends.backend_case import CANNOT
from harness.testing.backends.backend_suite import BackendConformance
from harness.testing.backends.protocol_watch import watch
from harness.testing.backends.suite_steps import STEPS, note, notes
from harness.testing.oracle.called_graphs import graph_with_calls
from harness.testing.oracle.judge import assert_ok, check_timeline


class Queues:
    """Threads with a queue each, as the workers of a cluster have; a call goes to the one that has the fewest."""

    def __init__(self, workers: int, before: Callable[[int], None]) -> None:
        self._before = before
        self._lock = threading.Condition()
        self._queues: list[deque[tuple[Future[Any], bytes, int]]] = [deque() for _ in range(workers)]
        self._busy = [0] * workers
        self._closed = False
        # How many calls were given to a worker that had one.
        self.ahead = 0
        self._threads = [threading.Thread(target=self._serve, args=(number,)) for number in range(workers)]
        for thread in self._threads:
            thread.start()

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        size = len(call._calls) if isinstance(call, BatchCall) else 1
        future: Future[Any] = Future()
        with self._lock:
            loads = [len(queue) + busy for queue, busy in zip(self._queues, self._busy, strict=True)]
            worker = loads.index(min(loads))
            self.ahead += loads[worker] > 0
            self._queues[worker].append((future, pickle.dumps(call), size))
            self._lock.notify_all()
        return future

    def recall(self, futures: Sequence[Any]) -> None:
        with self._lock:
            for queue in self._queues:
                for item in [item for item in queue if item[0] in futures]:
                    queue.remove(item)
                    item[0].set_exception(RecallError())

    def _serve(self, number: int) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._closed or bool(self._queues[number]))
                if self._closed:
                    return
                future, data, size = self._queues[number].popleft()
                self._busy[number] = 1
            if not future.set_running_or_notify_cancel():
                self._is_free(number)
                continue
            try:
                self._before(size)
                found = pickle.loads(data)()
            except BaseException as error:
                self._is_free(number)
                future.set_exception(error)
            else:
                self._is_free(number)
                future.set_result(found)

    def _is_free(self, number: int) -> None:
        """Before anybody hears of the end: this thread may not come to its turn again soon."""
        with self._lock:
            self._busy[number] = 0

    def shutdown(self, *, wait: bool, cancel_futures: bool) -> None:
        with self._lock:
            self._closed = True
            for queue in self._queues:
                for item in queue:
                    item[0].cancel()
            self._lock.notify_all()
        for thread in self._threads if wait else ():
            thread.join()


class Windowed(WindowBackend):
    name = "windowed"
    # What happens in a worker before it begins a call of so many steps.
    before: Callable[[int], None] = staticmethod(lambda _size: None)

    def make_executor(self) -> Queues:
        self.queues = Queues(self.capacity, self.before)
        return self.queues

    def recall(self, futures: Sequence[Any]) -> None:
        self.queues.recall(futures)


class TestWindowed(BackendConformance):
    backend = Windowed
    hands_out_ahead = True
    random_workflows = 6
    many_steps = 1000
    cannot: ClassVar[Mapping[str, str]] = {
        **CANNOT["threads"],
        "replaces": "the pool has the threads that it has",
        "calls": "there is no way back from the pool",
        "unpicklable": "calls and outputs travel as bytes",
    }
    # Its threads cannot be asked to stop, and the program waits for them at its end.
    test_ctrl_c_ends_the_run_and_keeps_what_was_done = None  # type: ignore[assignment]  # it is left out


def naps(count: int, seconds: float = 0.004, **words: Any) -> tuple[Step, ...]:
    return tuple(Step(step_id=f"s{n}", tool="sleep", args={"seconds": seconds}, **words) for n in range(count))


def ran(steps: Sequence[Step], backend: Windowed, **options: Any) -> Run:
    return run(Workflow(steps=tuple(steps)), backend=watch(backend), tools=STEPS, **options)


def is_right(done: Run) -> None:
    assert_ok(check_timeline(graph_with_calls(done), done.timeline, handed_out_ahead=True))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_next_calls_wait_at_the_workers_and_the_record_is_that_of_any_run(workers: int) -> None:
    backend = Windowed(workers)
    steps = naps(40)
    layered = tuple(
        step.model_copy(update={"depends_on": (f"s{n - 8}",)} if n >= 8 else {}) for n, step in enumerate(steps)
    )
    done = ran(layered, backend)
    assert done.ok, done.errors
    assert backend.queues.ahead > 10
    assert len(done.timeline.attempts) == 40
    for attempt in done.timeline.attempts:
        # What waited at a worker is recorded from when that went on to it, and not from when it was sent.
        assert attempt.started is not None
        assert attempt.ended is not None
        assert attempt.ended - attempt.started >= 3_000_000
    is_right(done)


def test_steps_that_must_not_wait_at_a_worker_are_sent_when_it_is_free() -> None:
    for words in ({"idempotent": False}, {"timeout": 60.0}, {"writes": ("file",)}, {"on_failure": "stop"}):
        backend = Windowed(2)
        assert ran(naps(12, **words), backend).ok
        assert backend.queues.ahead == 0, words


def test_steps_of_a_tool_that_takes_long_are_sent_when_a_worker_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executor.backends.window.LONGEST_NANOSECONDS", 1_000_000)
    backend = Windowed(2)
    assert ran(naps(12), backend).ok
    assert backend.queues.ahead == 0


def test_what_waits_is_called_back_where_a_step_of_a_higher_priority_is_ready() -> None:
    class Tells(Windowed):
        def recall(self, futures: Sequence[Any]) -> None:
            super().recall(futures)
            CALLED_BACK.set()

    class Granted(Instrument):
        def attempt_started(self, attempt: Attempt) -> None:
            if attempt.step_id == "urgent":
                CALLED_BACK.set()

    CALLED_BACK.clear()
    first = [Step(step_id=f"s{n}", tool="nap_until_called_back", args={"number": n}) for n in range(60)]
    urgent = Step(step_id="urgent", tool="noop", depends_on=("s5",), priority=5)
    tools = {"nap_until_called_back": nap_until_called_back}
    done = run(Workflow(steps=(*first, urgent)), backend=watch(Tells(2)), tools=tools, instruments=[Granted()])
    assert done.ok, done.errors
    order = [attempt.step_id for attempt in done.timeline.attempts]
    # Two run when it becomes ready, and one more may begin while the others are called back.
    assert order.index("urgent") <= order.index("s5") + 4
    is_right(done)


CALLED_BACK = threading.Event()


def nap_until_called_back(number: int) -> None:
    """A nap; of the steps behind `s5` one that ends once others were called back, or none had to be: however late the
    driver comes, no more have begun.
    """
    time.sleep(0.01)
    if number > 5:
        assert CALLED_BACK.wait(60)


def test_what_is_called_back_although_it_has_a_slot_by_now_runs_all_the_same() -> None:
    class Late(Windowed):
        def recall(self, futures: Sequence[Any]) -> None:
            # The steps before these end first.
            threading.Timer(0.03, super().recall, [list(futures)]).start()

    backend = Late(2)
    done = ran((*naps(40, 0.01), Step(step_id="urgent", tool="noop", depends_on=("s5",), priority=5)), backend)
    assert done.ok, done.errors
    assert len(done.timeline.attempts) == 41
    is_right(done)


def test_a_call_that_is_lost_while_it_waits_was_not_tried() -> None:
    lost = threading.Event()
    backend = Windowed(1)

    def lose_those_that_wait(_size: int) -> None:
        queue = backend.queues._queues[0]
        if queue and not lost.is_set():
            lost.set()
            with backend.queues._lock:
                while queue:
                    queue.popleft()[0].set_exception(BrokenExecutor("the worker is gone"))

    backend.before = lose_those_that_wait
    done = ran(naps(20), backend)
    assert lost.is_set()
    assert done.ok, done.errors
    assert {attempt.outcome for attempt in done.timeline.attempts} == {"succeeded"}
    is_right(done)


def test_whatever_ran_before_a_cancellation_is_in_the_record(tmp_path: Path) -> None:
    steps = tuple(
        # As many as take seconds, so that a driver that comes late still comes in the midst of them.
        Step(step_id=f"s{n}", tool="noted_nap", args={"folder": str(tmp_path), "text": f"s{n}"})
        for n in range(2_000)
    )
    engines: list[Any] = []

    class Kept(Windowed):
        def open(self, engine: Any) -> None:
            engines.append(engine)
            super().open(engine)

    def cancel_soon(_size: int) -> None:
        if len(notes(tmp_path)) >= 20:
            engines[0].cancel()

    backend = Kept(2)
    backend.before = cancel_soon
    done = run(Workflow(steps=steps), backend=backend, tools={"noted_nap": noted_nap})
    assert not done.ok
    recorded = {attempt.step_id for attempt in done.timeline.attempts}
    assert set(notes(tmp_path)) <= recorded
    assert len(recorded) < 2_000


def noted_nap(folder: str, text: str) -> None:
    note(folder, text)
    time.sleep(0.003)
