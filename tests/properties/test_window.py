"""The record of backends that hand steps out ahead says what the workers did, in whatever order their answers come."""

from __future__ import annotations

import heapq
import pickle
import random
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import count
from typing import Any

import pytest

from executor import Run, Step, Workflow, run
from executor.backends.batches import BatchCall
from executor.backends.submit import Answer, End, RemoteCall, Result, Times
from executor.backends.window import RecallError, WindowBackend
from executor.engine.engine import Engine
from executor.host_id import host, machine
from harness.testing.backends.backend_case import most_at_once
from harness.testing.oracle.called_graphs import graph_with_calls
from harness.testing.oracle.judge import assert_ok, check_timeline

MILLISECOND = 1_000_000
LONG_BATCH = 10 * MILLISECOND


class SimulatedCluster:
    """Workers with a queue each, in simulated time: what they run takes what ``nanoseconds_of`` says. Places of calls,
    ways and gaps are drawn. ``in_order``: answers of one worker come in the order in which it gave them.
    """

    def __init__(self, draw: random.Random, workers: int, nanoseconds_of: Callable[[str], int]) -> None:
        self.now = 0
        # By step: when and where it ran.
        self.truth: dict[str, tuple[int, int, str]] = {}
        self._draw = draw
        self._nanoseconds_of = nanoseconds_of
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._ticks = count()
        self._queues: list[deque[tuple[Future[Any], list[str], bool]]] = [deque() for _ in range(workers)]
        self._busy = [False] * workers
        self._heard_until = [0] * workers
        self._in_order = draw.random() < 0.6
        self._moves = draw.random() < 0.5
        # Threads of one process are one worker.
        threads = draw.random() < 0.3
        self._names = ["worker-0" if threads else f"worker-{place}" for place in range(workers)]
        self._way = draw.choice([MILLISECOND // 10, 3 * MILLISECOND, 30 * MILLISECOND])

    def go_on(self) -> None:
        """Until something is heard of."""
        self.now, _, happen = heapq.heappop(self._events)
        happen()
        while self._events and self._events[0][0] <= self.now:
            heapq.heappop(self._events)[2]()

    def submit(self, call: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if isinstance(call, BatchCall):
            ids = [pickle.loads(one)._packed[2][0] for one in call._calls]
        else:
            assert isinstance(call, RemoteCall)
            ids = [call._context.step_id]
        loads = [len(queue) + busy for queue, busy in zip(self._queues, self._busy, strict=True)]
        place = loads.index(min(loads)) if self._draw.random() < 0.8 else self._draw.randrange(len(loads))
        self._queues[place].append((future, ids, isinstance(call, BatchCall)))
        self._after(self._drawn_way(), lambda: self._begin(place))
        return future

    def recall(self, futures: Sequence[Any]) -> None:
        self._after(self._drawn_way(), lambda: self._leave_out(futures))

    def shutdown(self, *, wait: bool, cancel_futures: bool) -> None:
        """Nothing is left."""

    def _leave_out(self, futures: Sequence[Any]) -> None:
        for queue in self._queues:
            for item in [item for item in queue if item[0] in futures]:
                queue.remove(item)
                self._after(self._drawn_way(), partial(item[0].set_exception, RecallError()))

    def _begin(self, place: int) -> None:
        queue = self._queues[place]
        if self._busy[place]:
            return
        if not queue and self._moves:
            most = max(self._queues, key=len)
            if len(most) > 1:
                queue.append(most.pop())
        if not queue:
            return
        future, ids, is_batch = queue.popleft()
        self._busy[place] = True
        at = began = self.now + self._draw.randrange(1, MILLISECOND // 10)
        answers: list[Answer] = []
        for step_id in ids:
            if answers and at - began > LONG_BATCH:
                break
            ended = at + self._nanoseconds_of(step_id)
            assert step_id not in self.truth, "it runs twice"
            self.truth[step_id] = (at, ended, self._names[place])
            times = Times(at, ended, machine(), self._names[place], 0.0, host(), place)
            answers.append((times, Result("succeeded", None)))
            at = ended + self._draw.randrange(1, 1000)
        heard = at + self._drawn_way()
        if self._in_order:
            heard = max(heard, self._heard_until[place] + 1)
        self._heard_until[place] = heard
        self._after(at - self.now, lambda: self._end(place))
        self._after(heard - self.now, lambda: future.set_result(answers if is_batch else answers[0]))

    def _end(self, place: int) -> None:
        self._busy[place] = False
        self._begin(place)

    def _drawn_way(self) -> int:
        return self._draw.randrange(1, self._way)

    def _after(self, nanoseconds: int, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + nanoseconds, next(self._ticks), happen))


class Simulated(WindowBackend):
    name = "simulated"

    def __init__(self, workers: int, cluster: SimulatedCluster) -> None:
        super().__init__(workers)
        self.cluster = cluster
        self.clock = lambda: cluster.now
        # How often a call waited at a worker.
        self.ahead = 0

    def make_executor(self) -> Any:
        return self.cluster

    def recall(self, futures: Sequence[Any]) -> None:
        self.cluster.recall(futures)

    def _submit_ahead(self, engine: Engine, indices: list[int]) -> None:
        self.ahead += 1
        super()._submit_ahead(engine, indices)

    def _wait_for_ends(self, seconds: float) -> list[End]:
        while not self._ends and not self._ends_ahead:
            self.cluster.go_on()
        return super()._wait_for_ends(0)


def drawn_steps(draw: random.Random) -> list[Step]:
    """Layers or any order, a few of them urgent."""
    reach = draw.choice([0, 3, 12])
    urgent = draw.random() < 0.3
    steps: list[Step] = []
    for number in range(draw.randrange(8, 60)):
        first = max(0, number - reach)
        above = {f"s{draw.randrange(first, number)}" for _ in range(draw.randrange(3))} if reach and number else set()
        priority = 5 if urgent and draw.random() < 0.1 else 0
        timeout = 600.0 if draw.random() < 0.05 else None
        steps.append(
            Step(step_id=f"s{number}", tool="noop", depends_on=tuple(sorted(above)), priority=priority, timeout=timeout)
        )
    return steps


def ran(seed: int) -> tuple[Run, Simulated]:
    draw = random.Random(seed)
    workers = draw.randrange(1, 5)
    steps = drawn_steps(draw)
    scale = draw.choice([MILLISECOND // 20, 2 * MILLISECOND, 20 * MILLISECOND])
    lasts = {step.step_id: draw.randrange(1, scale) for step in steps}
    backend = Simulated(workers, SimulatedCluster(draw, workers, lasts.__getitem__))
    return run(Workflow(steps=tuple(steps)), backend=backend), backend


def check(seed: int) -> int:
    done, backend = ran(seed)
    assert done.ok, done.errors
    found = {one.step_id: (one.started, one.ended, one.worker) for one in done.timeline.attempts}
    assert found == backend.cluster.truth, "it is recorded when and where each step ran"
    assert most_at_once(done, handed_out_ahead=True) <= backend.capacity, "no more have a slot than there are workers"
    assert_ok(check_timeline(graph_with_calls(done), done.timeline, handed_out_ahead=True))
    return backend.ahead


def test_no_more_have_a_slot_at_once_than_there_are_workers_in_whatever_order_answers_come() -> None:
    assert sum(check(seed) for seed in range(60)) > 500


@pytest.mark.slow
def test_no_more_have_a_slot_at_once_than_there_are_workers_thoroughly() -> None:
    for seed in range(1000, 1500):
        check(seed)
