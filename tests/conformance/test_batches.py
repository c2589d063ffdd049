"""Backends that send several short steps to a worker at once: the suite, what is sent together, and what is not."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest

from executor import Retry, Run, Step, Workflow, run
from executor.backends.batches import BatchCall, BatchingBackend
from executor.record.outcomes import Completion
from executor.record.remote_outputs import RemoteOutput, naming, values_at_hand
from executor.record.timeline import Timeline
from harness.testing.backends.backend_case import CANNOT
from harness.testing.backends.backend_suite import BackendConformance
from harness.testing.backends.protocol_watch import watch
from harness.testing.backends.suite_steps import STEPS, note, notes
from harness.testing.oracle.called_graphs import graph_with_calls
from harness.testing.oracle.judge import assert_ok, check_timeline

SHORT = 200


class Pickling:
    """Runs what it is given in threads, from bytes, as another process would; keeps how many calls each held."""

    def __init__(self, workers: int, before: Callable[[int], None]) -> None:
        self._pool = ThreadPoolExecutor(workers)
        self._before = before
        self.sizes: list[int] = []
        # How many steps each call has really run: what takes long goes back.
        self.ran: list[int] = []

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        self.sizes.append(len(call._calls) if isinstance(call, BatchCall) else 1)
        data = pickle.dumps(call)
        return self._pool.submit(self._run, data, self.sizes[-1])

    def _run(self, data: bytes, size: int) -> Any:
        self._before(size)
        found = pickle.loads(data)()
        self.ran.append(len(found) if size > 1 else 1)
        return found

    def shutdown(self, *, wait: bool, cancel_futures: bool) -> None:
        self._pool.shutdown(wait=wait, cancel_futures=cancel_futures)


class Batching(BatchingBackend):
    name = "batching"
    # What happens in a worker before it begins a call of so many steps.
    before: Callable[[int], None] = staticmethod(lambda _size: None)

    def make_executor(self) -> Pickling:
        self.pickling = Pickling(self.capacity, self.before)
        return self.pickling


class TestBatching(BackendConformance):
    backend = Batching
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


def wide(count: int = SHORT, **words: Any) -> tuple[Step, ...]:
    return tuple(Step(step_id=f"s{number}", tool="noop", **words) for number in range(count))


def layered(layers: int, width: int) -> tuple[Step, ...]:
    return tuple(
        Step(
            step_id=f"s{layer}_{place}",
            tool="noop",
            depends_on=(f"s{layer - 1}_{place}", f"s{layer - 1}_{(place + 1) % width}") if layer else (),
        )
        for layer in range(layers)
        for place in range(width)
    )


def ran(steps: tuple[Step, ...], backend: Batching, **options: Any) -> Run:
    return run(Workflow(steps=steps), backend=watch(backend), tools=STEPS, **options)


def most_running(timeline: Timeline) -> int:
    changes = sorted(
        change
        for attempt in timeline.attempts
        if attempt.ended is not None
        for change in ((attempt.granted, 1), (attempt.ended, -1))
    )
    most = running = 0
    for _, change in changes:
        running += change
        most = max(most, running)
    return most


def test_short_steps_travel_together_and_the_record_shows_no_more_running_than_workers() -> None:
    backend = Batching(2)
    done = ran(layered(6, 40), backend)
    assert done.ok
    assert sum(backend.pickling.ran) == len(done.timeline.attempts) == 240
    assert len(backend.pickling.sizes) < 120
    assert most_running(done.timeline) <= 2
    assert_ok(check_timeline(graph_with_calls(done), done.timeline, handed_out_ahead=True))


def test_steps_that_must_not_wait_at_a_worker_travel_alone() -> None:
    for words in ({"idempotent": False}, {"timeout": 60.0}, {"writes": ("file",)}, {"on_failure": "stop"}):
        backend = Batching(2)
        assert ran(wide(40, **words), backend).ok
        assert set(backend.pickling.sizes) == {1}, words


def test_steps_that_take_longer_travel_alone() -> None:
    backend = Batching(2)
    steps = tuple(Step(step_id=f"s{number}", tool="sleep", args={"seconds": 0.001}) for number in range(40))
    assert ran(steps, backend).ok
    assert set(backend.pickling.sizes) == {1}


def test_what_a_worker_has_not_begun_goes_back_and_runs_later(monkeypatch: pytest.MonkeyPatch) -> None:
    # Every batch has taken long after its first step.
    monkeypatch.setattr("executor.backends.batches._LONG_NANOSECONDS", -1)
    backend = Batching(2)
    done = ran(wide(), backend)
    assert done.ok, done.errors
    assert sum(backend.pickling.sizes) > len(done.timeline.attempts) == SHORT
    assert_ok(check_timeline(graph_with_calls(done), done.timeline, handed_out_ahead=True))


def test_a_batch_whose_worker_dies_is_run_again() -> None:
    died = threading.Event()

    def die_once(size: int) -> None:
        if size > 1 and not died.is_set():
            died.set()
            raise BrokenExecutor("the worker is gone")

    backend = Batching(2)
    backend.before = die_once
    done = ran(wide(), backend)
    assert died.is_set()
    assert done.ok, done.errors
    assert [attempt.outcome for attempt in done.timeline.attempts if attempt.outcome != "succeeded"] == ["worker_died"]
    assert_ok(check_timeline(graph_with_calls(done), done.timeline, handed_out_ahead=True))


def test_a_step_that_fails_in_a_batch_fails_alone_and_is_tried_again() -> None:
    steps = (
        *wide(100),
        *(
            Step(step_id=f"f{number}", tool="flaky", args={"fail_times": 1}, retry=Retry(backoff_seconds=0))
            for number in range(20)
        ),
        *(Step(step_id=f"g{number}", tool="flaky", args={"fail_times": 9}) for number in range(5)),
    )
    done = ran(steps, Batching(2))
    assert {step for step, status in done.statuses.items() if status != "succeeded"} == {f"g{n}" for n in range(5)}
    assert_ok(check_timeline(graph_with_calls(done), done.timeline, handed_out_ahead=True))


def test_what_cannot_be_rendered_in_a_batch_is_that_steps_failure() -> None:
    steps = (
        Step(step_id="a", tool="noop"),
        *wide(60, depends_on=("a",)),
        *(
            Step(step_id=f"bad{number}", tool="noop", prompt="{{ steps.a.output.nothing.at_all }}", priority=1)
            for number in range(5)
        ),
    )
    done = ran(steps, Batching(2))
    assert {step for step, status in done.statuses.items() if status == "failed"} == {f"bad{n}" for n in range(5)}


def test_whatever_ran_before_a_cancellation_is_in_the_record(tmp_path: Path) -> None:
    backend = Batching(2)
    steps = tuple(
        Step(step_id=f"s{number}", tool="note", args={"folder": str(tmp_path), "text": f"s{number}"})
        for number in range(3000)
    )
    engines: list[Any] = []

    def cancel_soon(_size: int) -> None:
        if not engines and len(backend.pickling.sizes) > 20:
            engines.append(backend.engine)
            backend.engine.cancel()

    class Kept(Batching):
        def open(self, engine: Any) -> None:
            self.engine = engine
            super().open(engine)

    backend = Kept(2)
    backend.before = cancel_soon
    done = run(Workflow(steps=steps), backend=backend, tools={"note": note})
    assert not done.ok
    recorded = {attempt.step_id for attempt in done.timeline.attempts}
    assert set(notes(tmp_path)) <= recorded
    assert len(recorded) < 3000


def test_a_batch_ends_early_where_its_steps_take_long() -> None:
    nap = pickle.dumps(_Nap())
    answers = BatchCall([nap] * 10)()
    assert 1 <= len(answers) < 10


class _Nap:
    def __call__(self) -> str:
        time.sleep(0.006)
        return "done"


class _Names(Pickling):
    """Outputs that are elsewhere travel by name."""

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        with naming():
            data = pickle.dumps(call)
        return self._pool.submit(self._run, data, 1)

    def _run(self, data: bytes, size: int) -> Any:
        with values_at_hand({"a": lambda: 4}):
            return super()._run(data, size)


class _KeepsA(Batching):
    """The output of step `a` stays elsewhere."""

    outputs_may_stay = True

    def make_executor(self) -> Pickling:
        self.fetched = 0
        return _Names(self.capacity, self.before)

    def _fetch(self, _remote: RemoteOutput) -> int:
        self.fetched += 1
        return 4

    def _completions(self, engine: Any, ends: Any) -> Iterator[Completion]:
        for completion in super()._completions(engine, ends):
            attempt, *times, output, tokens = completion
            if attempt.step_id == "a":
                output = RemoteOutput("a", 5, "int", None, self._fetch)
            yield (attempt, *times, output, tokens)


def test_short_steps_that_take_an_output_along_do_not_have_it_fetched() -> None:
    takes = tuple(
        Step(step_id=f"s{number}", tool="double", args={"value": "{{ steps.a.output }}"}) for number in range(SHORT)
    )
    backend = _KeepsA(2)
    done = run(
        Workflow(steps=(Step(step_id="a", tool="double", args={"value": 2}), *takes)), backend=backend, tools=STEPS
    )
    assert backend.fetched == 0
    assert [done.outputs[step.step_id] for step in takes] == [8] * SHORT
