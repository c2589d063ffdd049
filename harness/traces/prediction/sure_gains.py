"""What a faster step saves for sure: the same spans, each moved only where the trace shows what it waited for.

A step of a trace begins after something: a span that it needs, or the one before it in its caller's code. Where the
trace leaves open what that was (others ran, time passed that no span covers, a place in a queue became free), a faster
step may or may not let it begin earlier. Here it then begins when it was seen to, so that the gain is there under each
explanation.

Rules of this module:
- A step moves with what it needs if that is declared or inferred, or if it begins promptly as the span before it ends
  while nothing beside it runs: then it is the next line of code. In a framework that runs level after level it moves
  with all that ended before it.
- What began while others ran, for no reason that the trace shows, may wait inside for what ends inside; so may calls
  of one name that run side by side.
- A span that only waits takes as long as it took; what nothing explains moves with its caller alone.
- O(n log n) in spans and edges, no recursion.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final

from harness.analysis import AttemptIndex
from harness.analysis.attempt_index import ended_of, started_of
from harness.traces.edges.framework_edges import LANGGRAPH
from harness.traces.trace_model import ASSUMED, ForeignRun

# Begun as another ended: within that.
_PROMPT_NANOSECONDS: Final = 1_000_000
# How many of the spans that ended while a step ran are looked at, the last ones.
_MOST_INSIDE: Final = 256


class SureGains:
    """A trace of others whose steps can be made faster. Times are nanoseconds of the run."""

    def __init__(self, run: ForeignRun, index: AttemptIndex) -> None:
        self.run = run
        self.index = index
        self.starts = [started_of(tries[0]) if tries else 0 for tries in index.tries]
        self.ends = [ended_of(index.last_of(step)) if tries else 0 for step, tries in enumerate(index.tries)]
        self.children: dict[int, list[int]] = {}
        for step, caller in enumerate(index.nested_in):
            self.children.setdefault(caller, []).append(step)
        self.by_end = {
            caller: sorted(group, key=self.ends.__getitem__) for caller, group in self.children.items()
        }  # fmt: skip
        self.needed: dict[int, list[int]] = {}
        self.known: set[tuple[int, int]] = set()
        self.levels: set[int] = set()  # steps that a framework began when all before them had ended
        for edge in run.edges:
            self.needed.setdefault(edge.after, []).append(edge.before)
            if edge.label != ASSUMED:
                self.known.add((edge.before, edge.after))
            if edge.source == LANGGRAPH:
                self.levels.add(edge.after)
        self._number = {step_id: step for step, step_id in enumerate(run.timeline.step_ids)}

    def gain_nanoseconds(self, speed_ups: Mapping[str, float]) -> int:
        """What goes away at least if the durations of those steps (by id) are divided by so much."""
        whole = self.index.makespan + self.run.tail_nanoseconds
        divisors = {self._number[step_id]: divisor for step_id, divisor in speed_ups.items()}
        return whole - _Again(self, divisors).makespan_nanoseconds(whole)

    def before(self, step: int) -> int:
        """When the last of what it may have waited for had ended, or its caller begun."""
        caller, start = self.index.nested_in[step], self.starts[step]
        if step in self.levels:
            place = self._ended_before(caller, start)
            if place:
                return self.ends[self.by_end[caller][place - 1]]
        begun = self.starts[caller] if caller >= 0 else 0
        return max((self.ends[one] for one in self.needed.get(step, ())), default=begun)

    def _ended_before(self, caller: int, time: int) -> int:
        return bisect_right(self.by_end[caller], time, key=self.ends.__getitem__)

    @cached_property
    def held(self) -> list[bool]:
        """By step, whether it is unknown what its start waited for."""
        return [self._is_held(step) for step in range(len(self.starts))]

    def _is_held(self, step: int) -> bool:
        start, before = self.starts[step], self.before(step)
        if step in self.run.delays or step in self.run.begun_in or start - before > _PROMPT_NANOSECONDS:
            return True
        if step in self.levels:
            return False
        prompt = [one for one in self.needed.get(step, ()) if self.ends[one] >= start - _PROMPT_NANOSECONDS]
        return bool(prompt) and not any((one, step) in self.known for one in prompt) and self._runs_beside(step)

    def _runs_beside(self, step: int) -> bool:
        """Whether a span beside it ran when it began, and before."""
        caller, start = self.index.nested_in[step], self.starts[step]
        begun = bisect_left(self.children[caller], start, key=self.starts.__getitem__)
        return begun > self._ended_before(caller, start)

    def inside(self, step: int) -> Sequence[int]:
        """The spans beside it that ended while it ran and for which it may have waited."""
        caller, start, names = self.index.nested_in[step], self.starts[step], self.run.names
        by_end = self.by_end[caller]
        first, last = self._ended_before(caller, start), bisect_left(by_end, self.ends[step], key=self.ends.__getitem__)
        return [
            one
            for one in by_end[max(first, last - _MOST_INSIDE) : last]
            if one != step and (self.held[step] or (names[one] == names[step] and self.starts[one] <= start))
        ]


class _Again:
    """One run: when each step begins and ends at the latest."""

    def __init__(self, sure: SureGains, divisors: Mapping[int, float]) -> None:
        self.sure = sure
        self.divisors = divisors
        self.starts = list(sure.starts)
        self.ends = list(sure.ends)
        self._passed: dict[int, tuple[int, int]] = {}  # by caller: how many have ended, and the last new end of them

    def makespan_nanoseconds(self, whole: int) -> int:
        sure = self.sure
        stack = [(step, False) for step in reversed(sure.children.get(-1, ()))]
        while stack:
            step, done = stack.pop()
            children = sure.children.get(step)
            if not done:
                self.starts[step] = self._start(step)
                if children:
                    stack.append((step, True))
                    stack += [(child, False) for child in reversed(children)]
                    continue
            moved = self.starts[step] - sure.starts[step]
            if children:
                self.ends[step] = self._after(children, sure.ends[step], moved)
            else:
                self.ends[step] = self._end_of_leaf(step, moved)
        return self._after(sure.children.get(-1, ()), whole, 0)

    def _start(self, step: int) -> int:
        sure, caller, start = self.sure, self.sure.index.nested_in[step], self.sure.starts[step]
        moved = self.starts[caller] - sure.starts[caller] if caller >= 0 else 0
        needed = sure.needed.get(step)
        if sure.held[step] or not needed:
            return start + moved
        if step in sure.levels:
            return self._last_end(caller, start) + start - sure.before(step)
        return max(self.ends[one] for one in needed) + start - sure.before(step)

    def _last_end(self, caller: int, time: int) -> int:
        """The last new end of those that had ended by then; asked in order of time."""
        by_end, ends = self.sure.by_end[caller], self.sure.ends
        place, last = self._passed.get(caller, (0, 0))
        while place < len(by_end) and ends[by_end[place]] <= time:
            last = max(last, self.ends[by_end[place]])
            place += 1
        self._passed[caller] = place, last
        return last

    def _end_of_leaf(self, step: int, moved: int) -> int:
        sure, divisor = self.sure, self.divisors.get(step, 1.0)
        end = sure.ends[step] + moved
        if divisor == 1.0 or (sure.run.waiting and sure.run.waiting[step]):
            return end
        ran = sum(sure.index.run_nanoseconds(attempt) for attempt in sure.index.tries[step])
        end += round(ran / divisor) - ran
        for one in sure.inside(step):
            end = max(end, self.ends[one] + round((sure.ends[step] - sure.ends[one]) / divisor))
        return end

    def _after(self, inner: Sequence[int], end: int, moved: int) -> int:
        """When what is around those ends: as much after the last of them as it did."""
        sure = self.sure
        last = max((sure.ends[one] for one in inner if sure.ends[one] <= end), default=None)
        if last is None:
            return end + moved
        return max(self.ends[one] for one in inner) + end - last
