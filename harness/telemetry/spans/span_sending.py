"""Getting spans to where they go, without holding up a run: in a thread of its own, in batches, each span counted.

Rules of this module:
- While the run goes on, what cannot be sent waits, and is tried again; nothing is dropped. What waits are iterators:
  spans are made when their turn comes.
- :meth:`Sender.finish` waits as long as batches get through: ``timeout_seconds`` after the last that did it gives up,
  and after ``timeout_seconds`` and a second for every thousand spans in any case.
- What was lost is counted and said. It never changes a run.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from executor.tracing.step_spans import RunIds
from harness.telemetry.spans.span_building import Maker
from harness.telemetry.spans.transports import Transport, TransportError

BATCH_SPANS: Final = 512
# How long spans of a run under way may wait for company.
_LINGER_SECONDS: Final = 1.0
_FIRST_BACKOFF_SECONDS: Final = 0.2
_LONGEST_BACKOFF_SECONDS: Final = 5.0
_SPANS_A_SECOND: Final = 1000


@dataclass(frozen=True, slots=True)
class Delivery:
    """How it went: spans that got through, and that did not, and why not. ``name``: where to."""

    name: str
    sent: int
    lost: int
    reason: str | None = None

    def sentence(self) -> str | None:
        """A warning for people, where spans were lost."""
        if not self.lost:
            return None
        return f"{self.lost:,} of {self.sent + self.lost:,} spans were not delivered to {self.name}: {self.reason}"


class Sender:
    """Sends to one receiver. ``expected_spans``, given with each :meth:`put`, is what counts as lost if the receiver
    is gone before the spans are made.
    """

    def __init__(self, transport: Transport, timeout_seconds: float) -> None:
        self._transport = transport
        self._timeout_seconds = timeout_seconds
        self._queue: deque[Iterator[Any]] = deque()
        self._expected = 0
        self._sent = 0
        self._refused = 0
        self._lost = 0
        self._reason: str | None = None
        self._counting = threading.Lock()
        self._changed = threading.Condition()
        self._finishing = False
        self._deadline: float | None = None
        self._hard_deadline: float | None = None
        self._hopeless = False
        self._thread = threading.Thread(target=self._work, name="makespan-traces", daemon=True)
        self._thread.start()

    def maker(self, ids: RunIds, origin: int) -> Maker:
        """What makes the spans of a run for this receiver."""
        return self._transport.maker(ids, origin)

    def put(self, spans: Iterable[Any], expected_spans: int) -> None:
        """Take spans to be sent, from any thread; they are made in the sending thread."""
        with self._counting:
            self._expected += expected_spans
        self._queue.append(iter(spans))

    def finish(self) -> Delivery:
        """Send what is there, wait for it as the head of this module says, and say how it went."""
        now = time.monotonic()
        with self._changed:
            self._finishing = True
            self._deadline = now + self._timeout_seconds
            self._hard_deadline = now + self._timeout_seconds + self._expected / _SPANS_A_SECOND
            self._changed.notify_all()
        while self._thread.is_alive():
            left = self._time_left()
            if left <= 0:
                break
            self._thread.join(min(left, 0.2))
        if not self._thread.is_alive():
            self._transport.close()
        sent = self._sent
        lost = max(self._expected - sent, self._lost + self._refused, 0)
        return Delivery(self._transport.name, sent, lost, self._reason or "it did not answer in time")

    # ------------------------------------------------------------------ in the thread

    def _work(self) -> None:
        while (batch := self._next_batch()) is not None:
            if batch and not self._hopeless:
                self._deliver(batch)

    def _next_batch(self) -> list[Any] | None:
        """The next spans; None when no more come."""
        batch: list[Any] = []
        queue = self._queue
        while len(batch) < BATCH_SPANS:
            if self._finishing and (self._hopeless or self._time_left() <= 0):
                return None
            if not queue:
                # In this order: what was put before the end was asked for is in the queue.
                finishing = self._finishing
                if queue:
                    continue
                if finishing or not self._wait_for_more():
                    return batch or (None if finishing else [])
                continue
            source = queue[0]
            try:
                while len(batch) < BATCH_SPANS:
                    batch.append(next(source))
            except StopIteration:
                queue.popleft()
            except Exception as error:  # noqa: BLE001  # a fault of ours costs spans and nothing else
                self._note(f"they could not be made: {type(error).__name__}: {error}")
                queue.popleft()
        return batch

    def _wait_for_more(self) -> bool:
        """Wait a little; False where nothing came, so that what is there is sent."""
        with self._changed:
            self._changed.wait_for(lambda: self._finishing, _LINGER_SECONDS)
        return bool(self._queue) or self._finishing

    def _deliver(self, batch: Sequence[Any]) -> None:
        backoff = _FIRST_BACKOFF_SECONDS
        while True:
            left = self._time_left()
            if left <= 0:
                return
            try:
                refused = self._transport.send(batch, min(left, self._timeout_seconds))
            except TransportError as error:
                if error.too_large and len(batch) > 1:
                    middle = len(batch) // 2
                    self._deliver(batch[:middle])
                    self._deliver(batch[middle:])
                    return
                self._note(str(error))
                if not error.again:
                    self._lost += len(batch)
                    self._hopeless = error.for_all
                    return
                wait = max(backoff, error.retry_after_seconds or 0.0)
                backoff = min(2 * backoff, _LONGEST_BACKOFF_SECONDS)
                if not self._pause(wait):
                    self._lost += len(batch)
                    return
            except Exception as error:  # noqa: BLE001  # whatever it is, it must cost spans and nothing else
                self._note(f"{type(error).__name__}: {error}")
                self._lost += len(batch)
                return
            else:
                self._progress(len(batch), refused)
                return

    def _progress(self, count: int, refused: int) -> None:
        self._sent += count - refused
        if refused:
            self._refused += refused
            self._note("the receiver refused them (partial success)")
        if self._deadline is not None:
            self._deadline = time.monotonic() + self._timeout_seconds

    def _pause(self, seconds: float) -> bool:
        """Wait before another try; False where there is no time for one."""
        with self._changed:
            if self._finishing:
                if seconds >= self._time_left():
                    return False
            else:
                # The run's end is reason enough to try at once.
                self._changed.wait_for(lambda: self._finishing, seconds)
                return True
        time.sleep(seconds)
        return True

    def _time_left(self) -> float:
        if self._deadline is None or self._hard_deadline is None:
            return self._timeout_seconds
        return min(self._deadline, self._hard_deadline) - time.monotonic()

    def _note(self, reason: str) -> None:
        self._reason = reason
