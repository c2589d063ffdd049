"""What a worker's clock says on the driver's: intervals from round trips, and the error that they leave. Pure.

::

    driver  ──sent──────────────────────────────returned──▶      worker's clock at `sent` ≤ received
                 ╲                             ╱                 worker's clock at `returned` ≥ answered
    worker  ──────received───── work ───answered──────────▶

Sources: a round trip bounds the difference of two clocks (F. Cristian, "Probabilistic clock synchronization",
Distributed Computing 3, 1989; the four times are those of NTP, RFC 5905, section 8). Intervals of several round trips
are intersected, widened by how far the clocks may have drifted apart since (K. Marzullo, S. Owicki, "Maintaining the
time in a distributed system", PODC 1983).

Rules of this module:
- Integer nanoseconds. No delay is taken to be symmetrical, and no drift to be constant: only less than
  :data:`MOST_DRIFT_PARTS_PER_MILLION`.
- Later on the worker's clock is never earlier on the driver's.
- Where round trips contradict each other, a clock was set or stopped: what came before the last one is forgotten.
"""

from __future__ import annotations

from typing import NamedTuple

from executor.record.timeline import ClockReading

# Linux lets nobody slew a clock faster (adjtimex); a quartz is below 100.
MOST_DRIFT_PARTS_PER_MILLION = 500
_MILLION = 1_000_000


class RoundTrip(NamedTuple):
    """One message to a worker and its answer. ``sent`` and ``returned`` by the driver's clock, ``received`` and
    ``answered`` by the worker's. Nanoseconds.
    """

    sent: int
    received: int
    answered: int
    returned: int


class Between(NamedTuple):
    """An instant on the driver's clock: not before ``earliest``, not after ``latest``. Nanoseconds."""

    earliest: int
    latest: int

    @property
    def middle(self) -> int:
        """The best guess."""
        return (self.earliest + self.latest) // 2

    @property
    def error(self) -> int:
        """By how much the middle is off at most."""
        return (self.latest - self.earliest + 1) // 2


class _Mark(NamedTuple):
    """A point (time of the driver, time of the worker) that the truth lies on one side of."""

    driver: int
    worker: int


class WorkerClock:
    """The clock of one machine of workers, as round trips show it."""

    __slots__ = (
        "_first", "_last", "_later_ahead", "_later_back", "_resets", "_round_trips", "_sooner_ahead", "_sooner_back",
    )  # fmt: skip

    def __init__(self, first: RoundTrip) -> None:
        self._round_trips = 0
        self._resets = 0
        self._sooner_ahead = self._sooner_back = _Mark(first.sent, first.received)
        self._later_ahead = self._later_back = _Mark(first.returned, first.answered)
        self._first = self._last = (first.answered, self.on_driver(first.answered))
        self.add(first)

    def add(self, trip: RoundTrip) -> None:
        """Learn from a round trip.

        Raises:
            ValueError: it ends before it begins, by one of the clocks.
        """
        if trip.returned < trip.sent or trip.answered < trip.received:
            raise ValueError(f"a round trip that ends before it begins: {trip}")
        self._round_trips += 1
        # At `sent` the worker's clock shows no more than `received`; at `returned` no less than `answered`.
        sooner, later = _Mark(trip.sent, trip.received), _Mark(trip.returned, trip.answered)
        if not self._agrees(trip.received, sooner, later) or not self._agrees(trip.answered, sooner, later):
            self._resets += 1
            self._forget(trip)
            return
        self._sooner_ahead = max(self._sooner_ahead, sooner, key=_sooner_ahead)
        self._sooner_back = max(self._sooner_back, sooner, key=_sooner_back)
        self._later_ahead = min(self._later_ahead, later, key=_later_ahead)
        self._later_back = min(self._later_back, later, key=_later_back)
        self._last = (trip.answered, self.on_driver(trip.answered))

    def on_driver(self, worker_time: int) -> Between:
        """When it was by the driver's clock that the worker's showed this."""
        return Between(
            max(_earliest(mark, worker_time) for mark in (self._sooner_ahead, self._sooner_back)),
            min(_latest(mark, worker_time) for mark in (self._later_ahead, self._later_back)),
        )

    def reading(self) -> ClockReading:
        """What is known of it now."""
        worker_time, between = self._last
        return ClockReading(
            worker_time - between.middle, between.error, self._drift_ratio(), self._round_trips, self._resets
        )

    def _drift_ratio(self) -> float | None:
        (first_time, first), (last_time, last) = self._first, self._last
        passed = last.middle - first.middle
        # What is known less well than that it is below the most says nothing.
        if passed * MOST_DRIFT_PARTS_PER_MILLION < (first.error + last.error) * _MILLION or passed <= 0:
            return None
        ratio = (last_time - first_time - passed) / passed
        most = MOST_DRIFT_PARTS_PER_MILLION / _MILLION
        return max(-most, min(most, ratio))

    def _forget(self, trip: RoundTrip) -> None:
        self._sooner_ahead = self._sooner_back = _Mark(trip.sent, trip.received)
        self._later_ahead = self._later_back = _Mark(trip.returned, trip.answered)
        self._first = self._last = (trip.answered, self.on_driver(trip.answered))

    def _agrees(self, worker_time: int, sooner: _Mark, later: _Mark) -> bool:
        known = self.on_driver(worker_time)
        return max(known.earliest, _earliest(sooner, worker_time)) <= min(known.latest, _latest(later, worker_time))


def _least(worker_nanoseconds: int) -> int:
    """How much passes on the driver's clock at least while so much passes on the worker's."""
    return worker_nanoseconds - abs(worker_nanoseconds) * MOST_DRIFT_PARTS_PER_MILLION // _MILLION - 1


def _most(worker_nanoseconds: int) -> int:
    # 1 / (1 − d) is below 1 + d + 2 d².
    return worker_nanoseconds + abs(worker_nanoseconds) * (MOST_DRIFT_PARTS_PER_MILLION + 1) // _MILLION + 1


def _earliest(mark: _Mark, worker_time: int) -> int:
    passed = worker_time - mark.worker
    return mark.driver + (_least(passed) if passed >= 0 else -_most(-passed))


def _latest(mark: _Mark, worker_time: int) -> int:
    passed = worker_time - mark.worker
    return mark.driver + (_most(passed) if passed >= 0 else -_least(-passed))


# Which of two marks says more of all times after both, and before both: their lines run side by side there.
def _sooner_ahead(mark: _Mark) -> int:
    return mark.driver * _MILLION - mark.worker * (_MILLION - MOST_DRIFT_PARTS_PER_MILLION)


def _sooner_back(mark: _Mark) -> int:
    return mark.driver * _MILLION - mark.worker * (_MILLION + MOST_DRIFT_PARTS_PER_MILLION + 1)


def _later_ahead(mark: _Mark) -> int:
    return mark.driver * _MILLION - mark.worker * (_MILLION + MOST_DRIFT_PARTS_PER_MILLION + 1)


def _later_back(mark: _Mark) -> int:
    return mark.driver * _MILLION - mark.worker * (_MILLION - MOST_DRIFT_PARTS_PER_MILLION)
