"""Two dozen schedulers of others with one planted fault each, for the suite's combined draw to find.

Each is the scheduler on threads of :mod:`tests.conformance.schedulers` behind its adapter, with one thing wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from harness.testing.schedulers.graph_case import Graph
from tests.conformance import schedulers
from tests.conformance.schedulers import Decisions


class LeaksUnitsAtAnException(Decisions):
    """What a failed step needed stays taken."""

    def __init__(self, graph: Graph, workers: int) -> None:
        super().__init__(graph, workers)
        self.leaked: Counter[str] = Counter()

    def end(self, step: str, *, well: bool) -> None:
        super().end(step, well=well)
        if not well:
            self.leaked.update(self.graph.needs[step])

    def fits(self, step: str) -> bool:
        used = Counter(self.leaked)
        for other in self.at_work:
            used.update(self.graph.needs[other])
        return all(used[name] + units <= self.graph.limits[name] for name, units in self.graph.needs[step].items())


class LeaksASlotAtARetry(schedulers.ForgetsASlot):
    """A step that is tried again keeps the slot of its first call."""

    def end(self, step: str, *, well: bool) -> None:
        Decisions.end(self, step, well=well)
        self.leaked += not well and step not in self.states


class LeaksASlotWhereNothingFollows(schedulers.ForgetsASlot):
    """A failed step on which nothing depends keeps its slot."""

    def end(self, step: str, *, well: bool) -> None:
        Decisions.end(self, step, well=well)
        self.leaked += not well and not any(step in before for before in self.graph.values())


class GivesBackTwice(Decisions):
    """A failed step gives its slot back twice."""

    extra = 0

    def end(self, step: str, *, well: bool) -> None:
        super().end(step, well=well)
        self.extra += not well

    def has_worker(self) -> bool:
        return len(self.at_work) < self.workers + self.extra


class LooksAtOneLimit(Decisions):
    """Of a step that needs two limits only the first is looked at."""

    def fits(self, step: str) -> bool:
        used = Counter[str]()
        for other in self.at_work:
            used.update(self.graph.needs[other])
        return all(
            used[name] + units <= self.graph.limits[name] for name, units in list(self.graph.needs[step].items())[:1]
        )


class ForgetsLimitsOfRetries(Decisions):
    """Failed steps are in a queue of their own, behind the others, which looks at no limit."""

    retried = False

    def next(self) -> str | None:
        self.retried = False
        found = super().next()
        self.retried = found is None
        return super().next() if found is None else found

    def is_open(self, step: str) -> bool:
        return super().is_open(step) and bool(self.calls[step]) == self.retried

    def fits(self, step: str) -> bool:
        return self.retried or super().fits(step)


class SkipsChildrenAlone(Decisions):
    """What depends on a skipped step runs."""

    def skip(self) -> None:
        for step, before in self.graph.items():
            if step not in self.states and any(self.states.get(other) == "failed" for other in before):
                self.states[step] = "skipped"

    def is_ready(self, step: str) -> bool:
        return all(self.states.get(other) in ("succeeded", "skipped") for other in self.graph[step])


class ForgetsToSkip(Decisions):
    """What depends on a failed step is left without a state."""

    def skip(self) -> None:
        return


class LeavesOneWorkerIdle(Decisions):
    """Of several workers one is never used."""

    def has_worker(self) -> bool:
        return len(self.at_work) < max(1, self.workers - 1)


class OneByOneAfterAFailure(Decisions):
    """Once a step has failed, only one runs at a time."""

    def has_worker(self) -> bool:
        return not self.at_work if "failed" in self.states.values() else super().has_worker()


class ForgetsWhoWaitedForTwo(Decisions):
    """Of several dependencies the last one that is listed is not waited for."""

    def is_ready(self, step: str) -> bool:
        before = self.graph[step]
        return all(self.states.get(other) == "succeeded" for other in (before[:-1] if len(before) > 1 else before))


class CancelsTheSucceeded(Decisions):
    """After a cancellation every state is cancelled."""

    def finish(self) -> dict[str, str]:
        return dict.fromkeys(self.graph, "cancelled") if self.cancelled else super().finish()


class TriesAgainAfterCancellation(Decisions):
    """A failed step is called again though the run was cancelled."""

    def next(self) -> str | None:
        again = next((step for step in self.graph if self.calls[step] and self.is_open(step) and self.fits(step)), None)
        return again if self.cancelled and again is not None and self.has_worker() else super().next()


def loses_ends(graph: Graph, call: Callable[[str], object], workers: int) -> dict[str, str]:
    """Of several steps that end at once only one is heard."""
    state = Decisions(graph, workers)
    graph.on_cancel(lambda: setattr(state, "cancelled", True))
    futures: dict[Future[object], str] = {}
    with ThreadPoolExecutor(workers + 2) as pool:
        while True:
            while (step := state.next()) is not None:
                state.begin(step)
                futures[pool.submit(call, step)] = step
            if not futures:
                return state.finish()
            ended, _ = wait(futures, return_when=FIRST_COMPLETED)
            for number, future in enumerate(sorted(ended, key=lambda one: futures[one])):
                step = futures.pop(future)
                if not number:
                    state.end(step, well=future.exception() is None)


def returns_when_cancelled(graph: Graph, call: Callable[[str], object], workers: int) -> dict[str, str]:
    """A cancelled run returns at once, whatever runs."""
    state = Decisions(graph, workers)
    graph.on_cancel(lambda: setattr(state, "cancelled", True))
    futures: dict[Future[object], str] = {}
    pool = ThreadPoolExecutor(workers + 2)
    while not state.cancelled:
        while (step := state.next()) is not None:
            state.begin(step)
            futures[pool.submit(call, step)] = step
        if not futures:
            break
        ended, _ = wait(futures, timeout=0.002, return_when=FIRST_COMPLETED)
        for future in ended:
            state.end(futures.pop(future), well=future.exception() is None)
    pool.shutdown(wait=False)
    return state.finish()


Run = Callable[[Graph, Callable[[str], object], int], dict[str, str]]


def _adapter(decisions: type[Decisions]) -> Run:
    return lambda graph, call, workers: schedulers.on_threads(decisions, graph, call, workers)


PLANTED: dict[str, Run] = {
    "leaks a slot at an exception": _adapter(schedulers.ForgetsASlot),
    "leaks a slot at a retry": _adapter(LeaksASlotAtARetry),
    "leaks a slot where nothing follows": _adapter(LeaksASlotWhereNothingFollows),
    "leaks units at an exception": _adapter(LeaksUnitsAtAnException),
    "gives back twice": _adapter(GivesBackTwice),
    "looks at one limit": _adapter(LooksAtOneLimit),
    "forgets limits of retries": _adapter(ForgetsLimitsOfRetries),
    "counts steps for units": _adapter(schedulers.CountsStepsForUnits),
    "one step too many": _adapter(schedulers.OneTooMany),
    "leaves one worker idle": _adapter(LeavesOneWorkerIdle),
    "one by one after a failure": _adapter(OneByOneAfterAFailure),
    "waits for a level": _adapter(schedulers.WaitsForALevel),
    "waits for any dependency": _adapter(schedulers.AnyDependency),
    "forgets the last dependency": _adapter(ForgetsWhoWaitedForTwo),
    "runs after a failure": _adapter(schedulers.RunsAfterFailure),
    "skips children alone": _adapter(SkipsChildrenAlone),
    "forgets to skip": _adapter(ForgetsToSkip),
    "skips too much": _adapter(schedulers.SkipsTooMuch),
    "never tries again": _adapter(schedulers.NeverTriesAgain),
    "tries once too often": _adapter(schedulers.AlwaysTriesAgain),
    "calls twice": _adapter(schedulers.CallsTwice),
    "leaves one out": _adapter(schedulers.LeavesOneOut),
    "states what is not so": _adapter(schedulers.WrongState),
    "heeds no cancellation": _adapter(schedulers.HeedsNoCancellation),
    "tries again after a cancellation": _adapter(TriesAgainAfterCancellation),
    "states that all was cancelled": _adapter(CancelsTheSucceeded),
    "returns when cancelled": returns_when_cancelled,
    "loses ends": loses_ends,
}
