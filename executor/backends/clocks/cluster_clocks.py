"""The clocks of all machines that steps run on, by what their answers tell; and times brought onto the driver's.

Rules of this module:
- Workers of one machine, and of one start of it, share a clock: what one shows counts for all.
- Times of a call lie between its sending and the arrival of its answer, and its start is no later than its end.
- What one worker does one after the other never overlaps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from executor.backends.clocks.worker_clock import Between, RoundTrip, WorkerClock
from executor.record.timeline import ClockReading

Span: TypeAlias = tuple[int, int]


class ClusterClocks:
    """By machine, what is known of its clock. Nanoseconds of the driver's clock come in and go out."""

    def __init__(self) -> None:
        self._clocks: dict[str, WorkerClock] = {}
        # By worker: when what it did last had ended, by both clocks, and by how much a time of it is off at most.
        self._free_at: dict[str, Span] = {}
        self._errors: dict[str, int] = {}
        self._machines: dict[str, str] = {}

    def learn(self, machine: str, trip: RoundTrip) -> None:
        """A message to that machine and its answer."""
        known = self._clocks.get(machine)
        if known is None:
            self._clocks[machine] = WorkerClock(trip)
        else:
            known.add(trip)

    def on_driver(
        self, machine: str, worker: str, spans: Sequence[Span], *, sent: int, returned: int
    ) -> Sequence[Span]:
        """What a worker did in answer to one message, by its clock and one after the other, on the driver's. The
        message is learnt from.
        """
        trip = RoundTrip(sent, spans[0][0], spans[-1][1], max(sent, returned))
        self.learn(machine, trip)
        clock = self._clocks[machine]
        self._machines[worker] = machine
        found = []
        for started, ended in spans:
            begin = self._instant(clock, worker, started, self._not_before(worker, started, sent), trip)
            end = self._instant(clock, worker, ended, begin, trip)
            self._free_at[worker] = (ended, end)
            found.append((begin, end))
        return found

    def instant(self, machine: str, worker_time: int) -> int | None:
        """When it was on the driver's clock; None: nothing is known of that machine's."""
        known = self._clocks.get(machine)
        return None if known is None else known.on_driver(worker_time).middle

    def error(self, machine: str) -> int | None:
        """By how much a time of just now is off at most; None: nothing is known of that machine's clock."""
        known = self._clocks.get(machine)
        return None if known is None else known.reading().error_nanoseconds

    def readings(self) -> Mapping[str, ClockReading]:
        """By worker that has answered, with the largest error of its times."""
        return {
            worker: self._clocks[machine].reading()._replace(error_nanoseconds=self._errors[worker])
            for worker, machine in self._machines.items()
        }

    def _not_before(self, worker: str, worker_time: int, sent: int) -> int:
        """A worker may have several threads: only what began after the last end is behind it."""
        by_worker, by_driver = self._free_at.get(worker, (worker_time, sent))
        return max(sent, by_driver) if worker_time >= by_worker else sent

    def _instant(self, clock: WorkerClock, worker: str, worker_time: int, first: int, trip: RoundTrip) -> int:
        known = clock.on_driver(worker_time)
        truth = Between(max(known.earliest, trip.sent), min(known.latest, trip.returned))
        # What came before is known to within an error, too: it moves the guess, and never what is said of the truth.
        at = min(max(truth.middle, first), trip.returned)
        self._errors[worker] = max(self._errors.get(worker, 0), at - truth.earliest, truth.latest - at)
        return at
