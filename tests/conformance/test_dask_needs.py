"""Needs of steps as the resources of Dask's workers: on clusters of another owner, in this process, with random
resources.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise

import pytest
from distributed import Scheduler, SpecCluster, Worker, get_worker

from executor import BackendError, Resource, Retry, Run, Step, Workflow, run, step_devices
from executor.backends import make_backend
from executor.model.workflow import Devices

Amounts = Mapping[str, float]
LOOPBACK = "127.0.0.1"
QUIET = {"host": LOOPBACK, "dashboard_address": f"{LOOPBACK}:0"}


class Book:
    """What runs at each worker, as the steps themselves say it. One for all tests: calls travel pickled."""

    lock = threading.Lock()
    held: Counter[tuple[str, str]]
    most: Counter[tuple[str, str]]
    one_ended: threading.Event

    @classmethod
    def open(cls) -> None:
        cls.held, cls.most, cls.one_ended = Counter(), Counter(), threading.Event()


def use(needs: Amounts, seconds: float) -> str:
    """A step that holds what it needs for a while. Returns the name of its worker."""
    worker = str(get_worker().name)
    with Book.lock:
        for name, amount in needs.items():
            Book.held[worker, name] += amount  # type: ignore[assignment]  # shares are counted, too
            Book.most[worker, name] = max(Book.most[worker, name], Book.held[worker, name])
    time.sleep(seconds)
    with Book.lock:
        for name, amount in needs.items():
            Book.held[worker, name] -= amount  # type: ignore[assignment]  # as above
    Book.one_ended.set()
    return worker


def devices() -> dict[str, list[str]]:
    return {kind: list(ids) for kind, ids in step_devices().items()}


def worker(stated: Amounts) -> dict[str, object]:
    """One as the cluster starts it."""
    return {"cls": Worker, "options": {**QUIET, "nthreads": 2, "memory_limit": 0, "resources": dict(stated)}}


@contextmanager
def workers(stated: Mapping[str, Amounts]) -> Iterator[SpecCluster]:
    """A running cluster: by name of a worker what it states."""
    Book.open()
    options = {name: worker(amounts) for name, amounts in stated.items()}
    scheduler = {"cls": Scheduler, "options": {**QUIET, "port": 0, "dashboard": False}}
    with SpecCluster(scheduler=scheduler, workers=options, silence_logs=50) as cluster:  # type: ignore[no-untyped-call]  # Dask has few types
        yield cluster


def step(name: str, needs: Amounts | None = None, seconds: float = 0.02, **more: object) -> Step:
    """One that says to the book what it holds."""
    # A resource that no worker states is the engine's alone.
    here = {key: amount for key, amount in (needs or {}).items() if key != "api"}
    return Step(step_id=name, tool="use", needs=needs, args={"needs": here, "seconds": seconds}, **more)  # type: ignore[arg-type]  # fields by name


def on(
    cluster: SpecCluster,
    *steps: Step,
    capacities: Amounts | None = None,
    resources: Mapping[str, Resource] | None = None,
    **options: float,
) -> Run:
    given = {name: str(value) for name, value in options.items()}
    backend = make_backend("dask", None, {"address": cluster.scheduler_address, **given})
    limits = resources or {name: Resource(capacity=int(amount)) for name, amount in (capacities or {}).items()}
    return run(Workflow(steps=steps), backend=backend, tools={"use": use, "devices": devices}, resources=limits)


def test_steps_go_to_the_worker_that_has_what_they_need_and_never_hold_more_than_it_has() -> None:
    with workers({"bare": {}, "rich": {"license": 1}}) as cluster:
        steps = [step(f"l{number}", {"license": 1, "api": 1}) for number in range(6)]
        steps += [step(f"p{number}") for number in range(6)]
        done = on(cluster, *steps, capacities={"license": 3, "api": 2})
        assert done.ok, done.errors
        assert {done.outputs[f"l{number}"] for number in range(6)} == {"rich"}
        assert "bare" in {done.outputs[f"p{number}"] for number in range(6)}
        assert Book.most["rich", "license"] == 1
        assert [warning for warning in done.warnings if "the limit of 'license' is 3" in warning]


def test_what_no_worker_has_is_said_before_the_first_step_and_what_none_states_is_the_engines_limit() -> None:
    with workers({"a": {"license": 1}, "b": {"license": 1}}) as cluster:
        with pytest.raises(BackendError, match=r"step 'two' needs: 2 of 'license', and the most that one has is 1"):
            on(cluster, step("one"), step("two", {"license": 2}), capacities={"license": 2})
        assert not Book.most
        done = on(cluster, *(step(f"s{number}", {"api": 2}) for number in range(3)), capacities={"api": 2})
    assert done.ok, done.errors
    ended = [(attempt.started, attempt.ended) for attempt in done.timeline.attempts]
    assert all(one[1] <= other[0] for one, other in pairwise(ended))  # type: ignore[operator]  # they ran


def test_a_timeout_runs_from_the_beginning_on_the_worker_not_from_the_wait_for_what_it_needs() -> None:
    with workers({"rich": {"license": 1}}) as cluster:
        first, second = step("first", {"license": 1}, 0.8), step("second", {"license": 1}, 0, timeout=0.6)
        late = step("late", {"license": 1}, 3, timeout=0.3, depends_on=("second",))
        # Of devices more are granted than the worker states: the second one waits there for the first.
        two = {"license": Resource(devices=Devices(ids=("0", "1")))}
        done = on(cluster, first, second, late, resources=two)
    assert done.statuses == {"first": "succeeded", "second": "succeeded", "late": "failed"}
    assert done.errors["late"].outcome == "timed_out"


def test_steps_whose_only_worker_left_wait_for_another_and_then_fail_with_what_they_need_and_who_had_it() -> None:
    with workers({"bare": {}, "rich": {"license": 1}}) as cluster:
        leaves = threading.Thread(target=lambda: (Book.one_ended.wait(), cluster.scale(1)))  # type: ignore[no-untyped-call]  # as above
        tries = Retry(max_attempts=5)
        steps = [step(f"l{number}", {"license": 1}, 0.4, retry=tries) for number in range(5)]
        had = next(place for place, one in cluster.scheduler_info["workers"].items() if one["resources"])
        leaves.start()
        done = on(cluster, *steps, step("plain", seconds=1), capacities={"license": 1}, missing_worker_seconds=0.5)
        leaves.join()
    assert done.statuses["plain"] == "succeeded"
    failed = [error.message for error in done.errors.values() if error.error_type == "NoWorkerError"]
    # One after the other: none of them waits again.
    assert len(failed) >= 3
    assert all(f"the most that one has is 0: worker {had} had it, and has left" in message for message in failed)
    assert all("none came in 0.5 s" in message for message in failed)
    assert [warning for warning in done.warnings if "such steps waited for it, at most 0.5 s" in warning]
    assert done.statuses["l0"] == "succeeded"
    assert done.timeline.makespan_seconds < 10


def test_steps_use_a_worker_that_comes_while_they_wait_for_one() -> None:
    with workers({"bare": {}, "rich": {"license": 1}}) as cluster:

        def exchange() -> None:
            Book.one_ended.wait()
            cluster.scale(1)  # type: ignore[no-untyped-call]  # as above
            time.sleep(0.3)
            cluster.worker_spec["other"] = worker({"license": 1})
            cluster.loop.add_callback(cluster._correct_state)

        exchanging = threading.Thread(target=exchange)
        exchanging.start()
        steps = [step(f"l{number}", {"license": 1}, 0.2, retry=Retry(max_attempts=5)) for number in range(4)]
        done = on(cluster, *steps, capacities={"license": 1}, missing_worker_seconds=60)
        exchanging.join()
    assert done.ok, done.errors
    assert [warning for warning in done.warnings if "such steps waited for it" in warning]


def test_devices_that_the_cluster_states_are_named_by_the_cluster_alone() -> None:
    gpu = {"gpu": Resource(devices=Devices(ids=("7",)))}
    asks = Step(step_id="a", tool="devices", needs={"gpu": 1})
    for stated, expected in (({}, {"gpu": ["7"]}), ({"GPU": 1}, {})):
        with workers({"w": stated}) as cluster:
            done = on(cluster, asks, resources=gpu)
            assert done.outputs["a"] == expected, done.errors


@pytest.mark.parametrize("seed", range(4))
def test_random_steps_on_workers_with_random_resources_never_exceed_what_one_has(seed: int) -> None:
    draw = random.Random(seed)
    names = ("disk", "license", "gpu")
    stated = {
        f"w{number}": {name: draw.randint(1, 3) for name in names if draw.random() < 0.6}
        for number in range(draw.randint(1, 3))
    }
    steps = []
    for number in range(40):
        # What a worker has, so that some worker can run it; not more of each than there is.
        of = draw.choice(list(stated.values()))
        needs = {name: draw.randint(1, amount) for name, amount in of.items() if draw.random() < 0.5}
        after = tuple(f"s{before}" for before in range(number) if draw.random() < 0.05)
        steps.append(step(f"s{number}", needs, draw.choice((0, 0.002, 0.01)), depends_on=after))
    capacities = {name: max(3, draw.randint(1, 8)) for name in names}
    with workers(stated) as cluster:
        done = on(cluster, *steps, capacities=capacities)
    assert done.ok, done.errors
    for (worker, name), most in Book.most.items():
        assert most <= stated[worker].get(name, 0), f"{most} of {name} at once on {worker}"
    assert not any(Book.held.values())
