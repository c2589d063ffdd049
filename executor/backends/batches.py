"""Several short steps to a worker at once: for executors to which a call costs more than a short step takes.

::

    a step that starts  +  the next ones in the order of starts  ─▶  one call  ─▶  all their ends

Rules of this module:
- The record shows no more running than workers: each further step of a batch is granted when the step before it has
  ended, in its slot. Until then it is ready, and waits for a worker.
- Which steps are short is decided as in :mod:`executor.backends.short_steps`. Batches of a tool begin with two steps
  and double while all are short, for what comes behind a step that takes longer waits for its end.
- A worker begins no further step of a batch that has taken long, or after an output that stays on the cluster: what
  it has not begun goes back.
- A batch whose worker dies has its first step tried again, and gives the others back. None may be
  ``idempotent: false``.
- A cancellation waits until the batches are back, a second at most: what has run by then is in the record.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

from executor.backends.pickling import PROTOCOL
from executor.backends.short_steps import ShortSteps
from executor.backends.submit import Answer, End, RemoteCall, SubmitBackend
from executor.engine.engine import Engine
from executor.record.outcomes import Completion
from executor.record.remote_outputs import naming
from executor.record.timeline import Attempt
from executor.tools.tool import ToolContext

_FIRST, _MOST = 2, 32
# What a batch is to take at most, and after how long a worker begins no further step of one.
_WORTH_NANOSECONDS = 3_000_000
_LONG_NANOSECONDS = 10_000_000
_SERVING_NANOSECONDS = 60_000
# A larger call travels alone.
_LARGE_BYTES = 100_000
_PATIENCE_SECONDS = 1.0


class BatchCall:
    """Calls (pickled :class:`RemoteCall`) one after the other, in another process."""

    def __init__(self, calls: Sequence[bytes]) -> None:
        self._calls = calls

    def __reduce__(self) -> tuple[Any, ...]:
        return BatchCall, (self._calls,)

    @property
    def is_single(self) -> bool:
        """Whether it is one call alone."""
        return len(self._calls) == 1

    def alone(self, place: int) -> BatchCall:
        """Its call at this place, without the others."""
        return BatchCall([self._calls[place]])

    def __call__(self, is_last: Callable[[Answer], bool] = lambda _: False) -> list[Answer]:
        """The answers, perhaps not of the last ones: none after one of which ``is_last`` holds."""
        began = time.perf_counter_ns()
        answers: list[Answer] = []
        for call in self._calls:
            if answers and time.perf_counter_ns() - began > _LONG_NANOSECONDS:
                break
            answers.append(pickle.loads(call)())  # noqa: S301  # the words of the submitter
            if is_last(answers[-1]):
                break
        return answers


class BatchingBackend(SubmitBackend):
    """A :class:`SubmitBackend` whose executor runs calls in other processes, several short ones at once."""

    def __init__(self, workers: int | None = None) -> None:
        super().__init__(workers)
        self._batches: dict[Attempt, list[int]] = {}
        self._to_take_back: list[int] = []
        self._sizes: dict[str, int] = {}
        self._short = ShortSteps(())
        self._cancel_seen: float | None = None

    def open(self, engine: Engine) -> None:
        self._short = ShortSteps(engine.scheduler.steps)
        self._sizes.clear()
        self._to_take_back.clear()
        self._cancel_seen = None
        super().open(engine)

    def close(self) -> None:
        self._batches.clear()
        super().close()

    # ------------------------------------------------------------------ ends

    def _completions(self, engine: Engine, ends: list[End]) -> Iterable[Completion]:
        self._take_back(engine, self._to_take_back)
        self._to_take_back.clear()
        self._give_up_batches(engine)
        for attempt, end in ends:
            rest = self._batches.pop(attempt, None)
            if rest is None:
                completion = self._completion(engine, attempt, end)
                self._note(engine, completion)
                yield completion
            else:
                yield from self._of_batch(engine, attempt, end, rest)

    def _of_batch(
        self, engine: Engine, attempt: Attempt, end: Future[Any] | Exception, rest: list[int]
    ) -> Iterator[Completion]:
        if isinstance(end, Exception) or end.cancelled() or end.exception() is not None:
            self._sizes[_tool(engine, attempt.index)] = 0
            yield self._completion(engine, attempt, end)
            self._take_back(engine, rest)
            return
        self._futures.pop(attempt, None)
        answers: list[Answer] = end.result()
        spans = self.placed.spans(attempt, [times for times, _ in answers], engine.origin)
        free_at = attempt.granted
        granted: Attempt | None = attempt
        for place, (answer, (started, ended)) in enumerate(zip(answers, spans, strict=True)):
            if place:
                granted = self._grant(engine, rest[place - 1], free_at)
            if granted is None:
                # It was cancelled where it waited, and ran all the same.
                continue
            began = max(started, free_at, granted.granted)
            free_at = max(ended, began)
            completion = self._answered(engine, granted, answer, began, free_at)
            self._note(engine, completion)
            yield completion
        self._take_back(engine, rest[len(answers) - 1 :])
        tool = _tool(engine, attempt.index)
        self._sizes[tool] = min(_MOST, 2 * self._sizes.get(tool, 0)) if self._short.fits(attempt.index) else 0

    @staticmethod
    def _grant(engine: Engine, index: int, at: int) -> Attempt | None:
        attempt = engine.scheduler.start_handed_out(index, at)
        if attempt is not None and engine.instruments.watches("attempt_started"):
            engine.instruments.call("attempt_started", attempt)
        return attempt

    def _note(self, engine: Engine, completion: Completion) -> None:
        attempt, started, ended, _, _, outcome, _, _ = completion
        if outcome == "succeeded":
            self._short.note(attempt.index, ended - started)
        else:
            self._sizes[_tool(engine, attempt.index)] = 0

    @staticmethod
    def _take_back(engine: Engine, indices: Iterable[int]) -> None:
        for index in indices:
            engine.scheduler.take_back(index)

    def _give_up_batches(self, engine: Engine) -> None:
        """The run is to be cancelled, and a batch does not come back: a step of it takes long."""
        if not engine.cancel_requested or not any(True for _ in self._given_ahead()):
            return
        now = time.monotonic()
        if self._cancel_seen is None:
            self._cancel_seen = now
        elif now - self._cancel_seen >= _PATIENCE_SECONDS:
            for indices in self._given_ahead():
                self._take_back(engine, indices)

    def _given_ahead(self) -> Iterator[Sequence[int]]:
        """The steps that were submitted before they have a slot."""
        yield from self._batches.values()

    # ------------------------------------------------------------------ starts

    def _submit_all(self, engine: Engine, starts: list[Attempt]) -> None:
        heads = [attempt for attempt in starts if attempt.outcome is None and self._short.fits(attempt.index)]
        if heads:
            starts = [*starts, *self._hand_out(engine, heads)]
        super()._submit_all(engine, starts)

    def _hand_out(self, engine: Engine, heads: list[Attempt]) -> list[Attempt]:
        """Give each of ``heads`` some of the next steps, evenly. Returns what else starts."""
        scheduler = engine.scheduler
        if engine.cancel_requested or scheduler.running < scheduler.slots or not scheduler.may_hand_out:
            return []
        places = {head: self._size(engine, head.index) - 1 for head in heads}
        found: list[int] = []

        def hand_out(_now: int) -> None:
            found.extend(scheduler.hand_out(sum(places.values()), self._short.fits))

        more = engine.advance((), (hand_out,))
        turn = 0
        while found:
            for head in heads:
                if turn < places[head] and found:
                    self._batches.setdefault(head, []).append(found.pop(0))
            turn += 1
        return more

    def _size(self, engine: Engine, index: int) -> int:
        """How many steps a batch that begins with this one may have."""
        tool = _tool(engine, index)
        size = self._sizes[tool] = max(_FIRST, self._sizes.get(tool, 0))
        mean = self._short.mean_nanoseconds(index) + _SERVING_NANOSECONDS
        return max(_FIRST, min(size, int(_WORTH_NANOSECONDS / mean)))

    def _call_of(self, attempt: Attempt, call: RemoteCall, engine: Engine) -> Callable[[], Any]:
        rest = self._batches.get(attempt)
        if not rest:
            return call
        with naming() as named:
            head = pickle.dumps(call, PROTOCOL)
        if named:
            # An output that it takes along is elsewhere: it travels alone.
            self._short.exclude(attempt.index)
            self._to_take_back.extend(self._batches.pop(attempt))
            self._wake.set()
            return call
        kept, calls = self._all_pickled(engine, rest)
        self._batches[attempt] = kept
        return BatchCall([head, *calls])

    def _all_pickled(self, engine: Engine, indices: Sequence[int]) -> tuple[list[int], list[bytes]]:
        """The steps that can travel, and their calls. The others go the usual way, and fail there if they have to."""
        kept: list[int] = []
        calls: list[bytes] = []
        for index in indices:
            data = self._pickled(engine, index)
            if data is None:
                self._short.exclude(index)
                self._to_take_back.append(index)
            else:
                calls.append(data)
                kept.append(index)
        return kept, calls

    def _pickled(self, engine: Engine, index: int) -> bytes | None:
        """A step's call, or None where it cannot be had, is large, or takes an output along that is elsewhere."""
        assert self._shared is not None
        step = engine.scheduler.steps[index]
        try:
            tool, prompt, args = engine.renderer.work(step, index)
            context = ToolContext(engine.context, engine.scheduler.step_ids[index], 1, step.expected_seconds, None)
            with naming() as named:
                data = pickle.dumps(RemoteCall(self._shared, tool, context, prompt, args), PROTOCOL)
        except Exception:  # noqa: BLE001  # a template or a value that cannot travel: reported where it fails
            return None
        return None if named or len(data) > _LARGE_BYTES else data


def _tool(engine: Engine, index: int) -> str:
    return engine.scheduler.steps[index].tool or ""
