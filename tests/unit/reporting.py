"""Run documents for tests of reports: drawn by hand with known times, or from the simulator."""

from __future__ import annotations

from executor import Resource, Step, Workflow, run
from executor.record.timeline import NANOSECONDS, Attempt, Interval, Timeline, Wait
from harness.result import Estimate, Repetition, result_document, run_document


class Drawing:
    """Builds a timeline step by step, times in seconds."""

    def __init__(self, workers=2, backend="threads", resources=None):
        self.workers, self.backend, self.resources = workers, backend, resources or {}
        self.ids, self.data, self.order, self.statuses, self.nested, self.attempts = [], [], [], [], [], []

    def step(self, step_id, data=(), order=(), status="succeeded", nested_in=None):
        self.ids.append(step_id)
        self.data.append(tuple(data))
        self.order.append(tuple(order))
        self.statuses.append(status)
        self.nested.append(nested_in)
        return self

    def run(
        self, step_id, ready, started, ended, *, waits=(), blocked=(), attempt=1, by=None, worker="thread-1", **more
    ):
        index = self.ids.index(step_id)
        one = Attempt(index, step_id, attempt, _ns(ready), _ns(started), by, self.nested[index])
        one.waits = [Wait(reason, _ns(begin), _ns(end)) for reason, begin, end in waits] or None
        one.started, one.ended, one.known = _ns(started), _ns(ended), _ns(ended)
        one.blocked = tuple(Interval(_ns(begin), _ns(end)) for begin, end in blocked)
        one.worker = worker
        one.outcome = "succeeded"
        for name, value in more.items():
            setattr(one, name, value)
        self.attempts.append(one)
        return self

    def timeline(self):
        place = {step_id: index for index, step_id in enumerate(self.ids)}
        return Timeline(
            step_ids=self.ids,
            data_parents=[tuple(place[parent] for parent in parents) for parents in self.data],
            order_parents=[tuple(place[parent] for parent in parents) for parents in self.order],
            statuses=self.statuses,
            attempts=sorted(self.attempts, key=lambda one: one.granted),
            workers=self.workers,
            nested_in=[-1 if parent is None else place[parent] for parent in self.nested],
            needs=[None] * len(self.ids),
            resources=self.resources,
            backend=self.backend,
        )


def _ns(seconds):
    return round(seconds * NANOSECONDS)


def fork_join():
    """a [0, 2] → b [2, 6] and c [waits for llm to 2.5, fails at 3, backs off to 4, ends at 5] → d [6, 8]."""
    drawing = Drawing(resources={"llm": Resource(capacity=1)})
    drawing.step("a").step("b", ["a"]).step("c", ["a"]).step("d", ["b", "c"])
    drawing.run("a", 0, 0, 2)
    drawing.run("b", 2, 2, 6, by="a")
    drawing.run("c", 2, 2.5, 3, by="a", worker="thread-2", waits=[("resource.llm", 2, 2.5)], outcome="failed")
    drawing.run("c", 3, 4, 5, by="a", worker="thread-2", waits=[("backoff", 3, 4)], attempt=2)
    drawing.run("d", 6, 6, 8, by="b")
    return drawing.timeline()


def found_out():
    """fork_join, with the capacity of llm found out: 4, from 2 on 6, from 5 on 3. The makespan is 8."""
    timeline = fork_join()
    timeline.capacity_changes = {"llm": [(0, 4), (_ns(2), 6), (_ns(5), 3)]}
    return timeline


def nested():
    """outer [0, 6], blocked [1, 5] on two calls."""
    drawing = Drawing(workers=3)
    drawing.step("outer").step("outer/1", nested_in="outer").step("outer/2", nested_in="outer")
    drawing.run("outer", 0, 0, 6, blocked=[(1, 5)])
    drawing.run("outer/1", 1, 1, 3, by="outer", worker="thread-2")
    drawing.run("outer/2", 1, 1, 5, by="outer", worker="thread-3")
    return drawing.timeline()


def result(timeline, outputs=None, errors=None, **more):
    return result_document([Repetition(timeline, outputs or {}, errors or {})], **more)


def document(*results, run_id="0123456789abcdef", scenario="demo", environment=None):
    machine = {"machine": "bench-1", "platform": "Linux", "usable_cores": 4, "python_version": "3.11"}
    return run_document(
        run_id=run_id,
        scenario=scenario,
        started_at="2026-03-01T12:00:00+00:00",
        environment=machine if environment is None else environment,
        results=list(results),
    )


def matrix():
    """serial, threads with 2 and 4 workers, asyncio with 2 and 4: three repetitions each, with speedups."""
    cells = [("serial", 1, 1.0), ("threads", 2, 1.5), ("threads", 4, 2.0), ("asyncio", 2, 1.4), ("asyncio", 4, 1.9)]
    results = []
    for executor, workers, speedup in cells:
        timeline = fork_join()
        timeline.workers, timeline.backend = workers, executor
        interval = None if executor == "serial" else (speedup - 0.1, speedup + 0.1)
        results.append(
            result_document(
                [Repetition(timeline, baseline_seconds=8.0)] * 3,
                makespan=Estimate(8.0 / speedup, (7.9 / speedup, 8.1 / speedup)),
                speedup=Estimate(speedup, interval),
                speedup_verdict=None if executor == "serial" else "faster",
            )
        )
    return document(*results)


def simulated(steps, workers=8):
    """A layered run on the virtual clock, with outputs."""
    width = 50
    names = [f"fetch_and_summarise_document_{number:05d}" for number in range(steps)]
    workflow = Workflow(
        steps=tuple(
            Step(
                step_id=name,
                tool="sleep",
                args={"seconds": 0.01 + number % 7 / 100},
                depends_on=[names[number - width]] if number >= width else [],
                needs={"llm": 1} if number % 3 == 0 else {},
            )
            for number, name in enumerate(names)
        )
    )
    done = run(workflow, backend="virtual", workers=workers, resources={"llm": Resource(capacity=3)})
    outputs = {name: {"answer": "a sentence of some length, as models write them " * 4} for name in names}
    return document(result(done.timeline, outputs))
