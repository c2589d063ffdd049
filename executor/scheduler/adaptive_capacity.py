"""How many calls of a service pay off at once, found out while it is used: additive increase, multiplicative decrease.

A service refuses (429), lets calls time out, or becomes slower when too many run at once. From the ends of calls alone
this finds the capacity at which it just does not. Pure: times and outcomes come in, a capacity goes out.

Sources: additive increase and multiplicative decrease: D.-M. Chiu, R. Jain, "Analysis of the increase and decrease
algorithms for congestion avoidance in computer networks", Computer Networks and ISDN Systems 17 (1989). Slow start, and
one decrease per round: V. Jacobson, "Congestion avoidance and control", SIGCOMM 1988. Latency growth: the queue that
TCP Vegas estimates, ``limit · (1 − latency without load ÷ latency)``, kept between alpha and beta (L. Brakmo,
S. O'Malley, L. Peterson, SIGCOMM 1994), with thresholds that grow with the logarithm of the limit as in Netflix's
concurrency-limits (2018).

Rules of this module:
- Whole numbers alone: the same ends give the same capacities on every machine.
- Calls that were granted before a change say nothing about it.
- Where the capacity was not used up, nothing is learnt from it, and it does not grow.
"""

from __future__ import annotations

from executor.model.workflow import AutoCapacity

# A decrease takes a tenth, as far as those that run show nothing else; a round takes half at most.
DECREASE_NUMERATOR, DECREASE_DENOMINATOR = 9, 10
# The latency without load is the least of a round's means. It grows by so small a part a round: luck does not last.
FORGET_DIVISOR = 32
MOST_PATIENCE_ROUNDS = 32
# Fewer latencies are no mean to go by.
LEAST_SAMPLES = 16
SECOND_NANOSECONDS = 1_000_000_000


class AdaptiveCapacity:
    """The capacity of one resource, as it is found out. ``value`` is what holds now."""

    __slots__ = (
        "_auto", "_base", "_cut_at", "_cut_from", "_is_slow_start", "_latency_sum", "_most_in_use", "_patience",
        "_refused_at", "_round_began", "_round_size", "_round_value", "_rounds_to_wait", "_samples", "_was_full",
        "value",
    )  # fmt: skip

    def __init__(self, auto: AutoCapacity) -> None:
        self._auto = auto
        self.value = auto.initial
        self._is_slow_start = True
        # A round: as many ends as there were units, of calls granted since it began; the sum of their latencies; how
        # many units were in use at most, and whether all were.
        self._round_began = 0
        self._round_value = auto.initial
        self._round_size = max(auto.initial, LEAST_SAMPLES)
        self._samples = 0
        self._latency_sum = 0
        self._most_in_use = 0
        self._was_full = False
        self._base: int | None = None
        # The last decrease: refusals of calls that were granted before it belong to it.
        self._cut_at = -1
        self._cut_from = auto.initial
        # The least level that was refused, and how many rounds to wait before it is tried again.
        self._refused_at: int | None = None
        self._patience = 1
        self._rounds_to_wait = 0

    def overloaded(self, granted: int, others_in_use: int, now: int) -> int:
        """A call was refused or timed out. ``granted``: when it had got its units; ``others_in_use``: the units of
        those that go on. Nanoseconds. Returns the capacity from now on.
        """
        self._is_slow_start = False
        if granted > self._cut_at:
            self._cut_at = now
            self._cut_from = self.value
            if self._refused_at is not None and self.value >= self._refused_at:
                # Tried again, and refused again: the next try has time.
                self._patience = min(MOST_PATIENCE_ROUNDS, 2 * self._patience)
            self._rounds_to_wait = self._patience
        tenth_less = min(self._cut_from - 1, self._cut_from * DECREASE_NUMERATOR // DECREASE_DENOMINATOR)
        # Those that were not refused are what the service can take.
        level = max(self._cut_from // 2, min(self.value, tenth_less, others_in_use))
        self._refused_at = max(level, others_in_use) + 1
        self._change(level)
        self._begin_round(now)
        return self.value

    def succeeded(
        self, granted: int, latency: int, expected_seconds: float | None, others_in_use: int, units: int, now: int
    ) -> int:
        """A call ended well after ``latency`` nanoseconds. Calls that are expected to last differently are compared by
        the ratio to that. Returns the capacity from now on.
        """
        in_use = others_in_use + units
        self._most_in_use = max(self._most_in_use, in_use)
        if in_use >= self.value:
            self._was_full = True
        if self._is_slow_start and self._was_full and self.value < 2 * self._most_in_use:
            self._change(self.value + 1)
        if granted < self._round_began:
            return self.value
        self._samples += 1
        expected = round((expected_seconds or 1.0) * SECOND_NANOSECONDS)
        self._latency_sum += latency * SECOND_NANOSECONDS // max(1, expected)
        if self._samples >= self._round_size:
            self._end_round(now)
        return self.value

    def _end_round(self, now: int) -> None:
        mean = max(1, self._latency_sum // self._samples)
        forgetting = mean if self._base is None else self._base + self._base // FORGET_DIVISOR
        self._base = base = min(mean, forgetting)
        # Vegas: how many of the calls stood in a queue, as a fraction with the denominator `mean`.
        queue = self.value * (mean - base)
        alpha = max(1, self.value.bit_length() - 1)
        if queue > 2 * alpha * mean:
            tenth_less = min(self.value - 1, self.value * DECREASE_NUMERATOR // DECREASE_DENOMINATOR)
            # What slow start added in this very round is taken back.
            self._change(min(tenth_less, self._round_value) if self._is_slow_start else tenth_less)
            self._is_slow_start = False
        elif queue <= alpha * mean and self._was_full and not self._is_slow_start:
            self._grow()
        self._begin_round(now)

    def _grow(self) -> None:
        refused = self._refused_at
        if refused is not None and self.value >= refused:
            # A whole round at the level that was refused: it is open now.
            self._refused_at = None
            self._patience = 1
        elif refused is not None and self.value + 1 >= refused and self._rounds_to_wait > 0:
            self._rounds_to_wait -= 1
            return
        self._change(self.value + 1)

    def _begin_round(self, now: int) -> None:
        self._round_began = now
        self._round_value = self.value
        self._round_size = max(self.value, LEAST_SAMPLES)
        self._samples = self._latency_sum = 0
        self._most_in_use = 0
        self._was_full = False

    def _change(self, value: int) -> None:
        self.value = max(self._auto.min, min(self._auto.max, value))
