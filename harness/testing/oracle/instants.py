"""Properties of instants: what is held at every moment, which step starts first, and whether anything idles needlessly.

One sweep through the grants and the times of a record keeps two accounts, for the order of events within one instant is
not in a record: `low` counts only what is surely held, `high` everything that may be. "Too much" is judged by `low`,
"it would have fitted" by `high`. Between two instants the two agree.

Rules of this module:
- Limits are held from granted to known, given back while blocked, and held again from resumed.
- Each wait carries the first reason that applies: backoff, barrier, lock.X (X the first open state, writes before
  reads), resource.X (in the order of needs), rate.X, worker. An interval in which the reason changes without an event
  (a rate opens) is not judged, nor one in which the record leaves open what applied.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property

from harness.testing.oracle import starvation as oracle_starvation
from harness.testing.oracle.devices import DeviceAccount, Wanted
from harness.testing.oracle.events import NEVER, Try
from harness.testing.oracle.finality import View, Violation, Waiting
from harness.testing.oracle.plain_graph import EXACT_UNIT_NANOSECONDS
from harness.testing.oracle.policies import openings
from harness.testing.oracle.starvation import Snapshot, starved
from harness.testing.oracle.token_buckets import Buckets

RATE_TOLERANCE_NS = 1000
"""A wake-up for a rate is computed in floating point; within a microsecond it is on time."""


class Sweep:
    """The accounts at one instant, and everything that happens at each."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.exact = view.options.exact
        self.found: list[Violation] = []
        self.slots_low = self.slots_high = 0
        self.units_low: dict[str, float] = {}
        self.units_high: dict[str, float] = {}
        # All sizes of the instant, the last of them last.
        self.workers: tuple[int, ...] = (view.slots,)
        resources = view.graph.resources
        self.capacity: dict[str, tuple[int, ...]] = {
            name: (limit.capacity,) for name, limit in resources.items() if limit.capacity is not None
        }
        self.devices = DeviceAccount(resources)
        self.buckets = Buckets(resources)
        self.candidates: dict[int, Waiting] = {}
        self.waiting: dict[int, Waiting] = {}
        self.resuming: dict[Try, int] = {}
        self.blocked = 0
        self.reserving = len(view.record.tries) > oracle_starvation.OVERTAKEN_LIMIT
        self.judged: set[int] = set()
        self.snapshots: list[Snapshot] = []
        self.plan = _plan(view)
        self.openings = openings(view) if self.exact and not view.added_late else {}
        self.sees_ready = "ready" in view.record.reports and "granted" in view.record.reports

    @cached_property
    def exact_ranks(self) -> bool:
        """Whether ranks are exact, in whatever unit they are added up."""
        return all((step.expected_ns or 0) % EXACT_UNIT_NANOSECONDS == 0 for step in self.view.graph.steps)

    def run(self) -> list[Violation]:
        """Go through all instants; the violations of every property of this module."""
        times = sorted(self.plan)
        for place, time in enumerate(times):
            self._instant(time, self.plan[time])
            after = times[place + 1] if place + 1 < len(times) else time
            if self.exact and self.sees_ready and after > time:
                self._settled(time, after)
        if self.reserving:
            capacity = {name: max(sizes) for name, sizes in self.capacity.items()}
            self.found += starved(self.view, capacity, self.snapshots, self.openings if self.exact else None)
        if self.view.options.handed_out_ahead:
            self.found += _busy(self.view)
        return self.found

    # ---- one instant --------------------------------------------------------------------------------------------

    def _instant(self, time: int, moments: Mapping[str, list[Try]]) -> None:
        self._begin_instant(time, moments)
        granted = moments.get("granted", ())
        if self.exact and self.sees_ready:
            for one in moments.get("ready", ()):
                # One that is granted at once, and alone, neither waits nor keeps another waiting.
                if one.granted != time or len(granted) > 1:
                    self.waiting[one.position] = self._candidate(one)
        for one in granted:
            self._grant(one, time)
        self._end_instant(time, moments)

    def _begin_instant(self, time: int, moments: Mapping[str, list[Try]]) -> None:
        """What surely, or for `high` possibly, comes before the grants."""
        if self.view.record.resizes:
            self._resize(time)
        for one in moments.get("released", ()):
            self._release(one, high=True, low=True)
        if self.buckets.every:
            self.buckets.fill(time)
            for moment in ("settled_early", "settled_late"):
                if settled := moments.get(moment):
                    known = [(one, self.view.reserved_tokens(one)) for one in settled]
                    self.buckets.settle(known, sure=moment == "settled_early")
        for one in moments.get("devices_back", ()):
            self.devices.release(one, high=one.known_key[1] == 0)
        self.blocked += len(moments.get("blocked", ()))
        for one in moments.get("released_low", ()):
            self._release(one, high=False, low=True)
        for one in moments.get("resumed", ()):
            self._acquire(one, high=True, low=False)
            self.blocked -= 1
            self.resuming.pop(one, None)

    def _end_instant(self, time: int, moments: Mapping[str, list[Try]]) -> None:
        """What may come after the grants."""
        for one in moments.get("resumed_low", ()):
            self._acquire(one, high=False, low=True)
        for one in moments.get("released_high", ()):
            self._release(one, high=True, low=False)
        for one in moments.get("devices_back", ()):
            self.devices.release(one, high=True)
        if self.buckets.every:
            self.buckets.end_instant()
        for one in moments.get("unblocked", ()):
            self.resuming[one] = time
        if "resumed" in moments:
            # One that ended at this very instant may have been blocked to its end.
            resumed = [one for one in moments["resumed"] if any(since == time < until for since, until in one.holds)]
            if resumed:
                self._held_after(time, resumed)

    def _resize(self, time: int) -> None:
        """Limits that change in this instant count as the largest for grants, as the smallest for claims."""
        self.workers = self.workers[-1:]
        for name, sizes in list(self.capacity.items()):
            self.capacity[name] = sizes[-1:]
        for at, changes in self.view.record.resizes:
            if at != time:
                continue
            for name, size in changes.items():
                if name == "workers":
                    self.workers = (*self.workers, size)
                elif name in self.capacity:
                    self.capacity[name] = (*self.capacity[name], size)

    def _acquire(self, one: Try, *, high: bool, low: bool) -> None:
        self.slots_high += high
        self.slots_low += low
        for name, units in one.needs:
            if high:
                self.units_high[name] = self.units_high.get(name, 0) + units
            if low:
                self.units_low[name] = self.units_low.get(name, 0) + units

    def _release(self, one: Try, *, high: bool, low: bool) -> None:
        self.slots_high -= high
        self.slots_low -= low
        for name, units in one.needs:
            if high:
                self.units_high[name] = self.units_high.get(name, 0) - units
            if low:
                self.units_low[name] = self.units_low.get(name, 0) - units

    def _grant(self, one: Try, time: int) -> None:
        self.waiting.pop(one.position, None)
        if self.reserving:
            self._snapshot()
        if self.view.graph.by_id[one.step_id].mapped:
            # It takes no slot, so it overtakes none.
            self._acquire(one, high=True, low=False)
            return
        if not self.view.options.handed_out_ahead and self.slots_low + 1 > max(self.workers):
            self._report(
                "workers",
                f"{one.name} was granted at {time} ns while {self.slots_low} of {max(self.workers)} slots were in use",
                one,
                time,
            )
        for name, units in one.needs:
            if name in self.capacity and self.units_low.get(name, 0) + units > max(self.capacity[name]):
                self._report(
                    "limits",
                    f"{one.name} was granted {units} of resource {name!r} at {time} ns while "
                    f"{self.units_low.get(name, 0)} of {max(self.capacity[name])} were in use",
                    one,
                    time,
                )
        if self.devices.memory:
            self._grant_devices(one, time)
        if (self.waiting or self.resuming) and self.exact and self.sees_ready and not self.reserving:
            self._compare(one, time)
        self.devices.acquire(one, low=one.granted < one.known)
        for lack in self.buckets.grant(one, self.view.reserved_tokens(one)) if self.buckets.every else ():
            self._report("rates", f"{one.name} was granted at {time} ns, when {lack}", one, time)
        if one.holds[0][0] < one.holds[0][1]:
            self._acquire(one, high=True, low=True)
        else:
            self._acquire(one, high=True, low=False)

    def _grant_devices(self, one: Try, time: int) -> None:
        for fault in self.devices.grant_faults(one):
            self._report("devices", f"{one.name} {fault}, at {time} ns", one, time)
        for fault in self.devices.packing_faults(one) if self.exact and not self.reserving else ():
            self._report("device_packing", f"{one.name} {fault}, at {time} ns", one, time)

    def _held_after(self, time: int, resumed: list[Try]) -> None:
        """After an instant in which a caller resumed: nothing is exceeded."""
        one = resumed[-1]
        if not self.view.options.handed_out_ahead and self.slots_low > max(self.workers):
            self._report(
                "workers",
                f"{one.name} resumed at {time} ns; then {self.slots_low} of {max(self.workers)} slots are in use",
                one,
                time,
            )
        for name, sizes in self.capacity.items():
            capacity = max(sizes)
            if self.units_low.get(name, 0) > capacity and any(need == name for one in resumed for need, _ in one.needs):
                self._report(
                    "limits",
                    f"{one.name} resumed at {time} ns; then {self.units_low[name]} of {capacity} of resource {name!r} "
                    "are in use",
                    one,
                    time,
                )

    # ---- which could have started ---------------------------------------------------------------------------------

    def _room(self, one: Try) -> bool:
        """Whether its units surely fit now."""
        for name, units in one.needs:
            if name in self.capacity and self.units_high.get(name, 0) + units > min(self.capacity[name]):
                return False
        return True

    def _fits(self, one: Try) -> bool:
        """The same with its devices, which a resuming one has already."""
        return self._room(one) and self.devices.fits(one)

    def _rates_open_at(self, one: Try) -> float:
        """From when its buckets surely hold what it takes."""
        if not one.needs or not self.buckets.every:
            return -math.inf
        return self.buckets.open_at(one, self.view.reserved_tokens(one))

    def _candidate(self, one: Try) -> Waiting:
        """What is known of an attempt before its grant; made once."""
        found = self.candidates.get(one.position)
        if found is None:
            barred = self.view.graph.policy in ("levels", "barrier") and not self.view.graph.depths[one.step_id]
            # A barrier that could not be replayed is taken for shut: nothing is claimed of the step.
            opening = self.openings.get(one.step_id, NEVER if barred else (0, 0))
            found = self.candidates[one.position] = Waiting(self.view, one, opening)
        return found

    def _compare(self, one: Try, time: int) -> None:
        """The order of starts: resuming, calls (deepest first), priority, upward rank, file order."""
        for parent, since in self.resuming.items():
            if since < time and self._room(parent):
                self._report(
                    "start_order",
                    f"{one.name} was granted at {time} ns, while {parent.name} was waiting to resume since {since} ns "
                    "and had its slot and limits",
                    one,
                    time,
                )
        mine = self._candidate(one)
        now = (time, 0)
        for other in self.waiting.values():
            if other.sure > now or other.eligible > time or not self._before(other, mine):
                continue
            if self._fits(other.one) and self._rates_open_at(other.one) + RATE_TOLERANCE_NS <= time:
                self._report(
                    "start_order",
                    f"{one.name} was granted at {time} ns before {other.one.name}, which could start as well, since "
                    f"{other.eligible} ns, and comes first: {self._precedence(other)} against {self._precedence(mine)}",
                    one,
                    time,
                )
                return

    def _precedence(self, waiting: Waiting) -> str:
        depth, priority = waiting.key
        return f"(depth {-depth}, priority {-priority}, rank {waiting.rank} ns, place {waiting.one.place})"

    def _before(self, other: Waiting, mine: Waiting) -> bool:
        """Whether the other surely comes first."""
        if other.key != mine.key:
            return other.key < mine.key
        if other.rank is None or mine.rank is None:
            return False
        if other.rank == mine.rank and self.exact_ranks:
            return other.one.place < mine.one.place
        return other.rank > mine.rank + (0 if self.exact_ranks else RATE_TOLERANCE_NS)

    def _settled(self, time: int, after: int) -> None:
        """Between two instants no slot is free while a step could start or resume, and waits have their reasons."""
        for other in self.waiting.values() if self.view.options.reasons else ():
            if other.explained_until < after:
                fault = reason_fault(self, other, time, after)
                if fault is not None:
                    self._report("wait_reasons", fault, other.one, time)
        free = min(self.workers) - self.slots_high
        if free <= 0:
            return
        name = "work_conserving" if free > self.blocked else "blocked_parents_hold_no_slot"
        for parent in self.resuming:
            if -1 - parent.position not in self.judged and self._room(parent):
                self.judged.add(-1 - parent.position)
                self._report(
                    name,
                    f"{parent.name} waits to resume in [{time}, {after}] ns, while {free} of {min(self.workers)} slots "
                    "and its limits are free",
                    parent,
                    time,
                )
        for other in self.waiting.values():
            one = other.one
            if other.eligible >= after or one.position in self.judged or (self.reserving and one.needs):
                continue
            if not self._fits(one):
                continue
            opens = self._rates_open_at(one)
            slack = RATE_TOLERANCE_NS if opens > time else 0
            since = max(time, other.eligible, opens)
            if since + slack < after:
                self.judged.add(one.position)
                self._report(
                    name,
                    f"{one.name} waits in [{since:.0f}, {after}] ns, while {free} of {min(self.workers)} slots and all "
                    f"that it needs are free (ready {one.ready}, granted {one.granted} ns)",
                    one,
                    time,
                )

    def _report(self, name: str, message: str, one: Try, time: int) -> None:
        self.found.append(Violation(name, message, (one.step_id,), time))

    def _snapshot(self) -> None:
        rates = {name: bucket.high + bucket.slack for name, bucket in self.buckets.rates.items()}
        tokens = {name: bucket.high + bucket.slack for name, bucket in self.buckets.tokens.items()}
        self.snapshots.append(Snapshot(dict(self.units_low), rates, tokens))


def _plan(view: View) -> Mapping[int, Mapping[str, list[Try]]]:
    """What happens at each instant, sorted by its kind."""
    plan: defaultdict[int, defaultdict[str, list[Try]]] = defaultdict(lambda: defaultdict(list))

    for one in view.record.tries:
        plan[one.ready]["ready"].append(one)
        if one.backoff_end > one.ready:
            plan[one.backoff_end]["backed_off"].append(one)
        plan[one.granted]["granted"].append(one)
        sure = one.known_key[1] == 0
        if one.devices:
            plan[one.known]["devices_back"].append(one)
        plan[one.known]["settled_early" if sure else "settled_late"].append(one)
        for place, (start, end) in enumerate(one.holds):
            if place:
                plan[start]["resumed"].append(one)
                if start < end:
                    plan[start]["resumed_low"].append(one)
            if place == len(one.holds) - 1 and start < end and sure:
                plan[end]["released"].append(one)
                continue
            if start < end:
                plan[end]["released_low"].append(one)
            plan[end]["released_high"].append(one)
        for blocked, unblocked, resumed in zip(one.blocked_at, one.unblocked_at, one.resumed_at, strict=True):
            plan[blocked]["blocked"].append(one)
            if unblocked < resumed:
                plan[unblocked]["unblocked"].append(one)
    for time, _ in view.record.resizes:
        plan[time]["resized"] = []
    return plan


def _busy(view: View) -> Sequence[Violation]:
    """Where steps are handed out before a worker is free, a slot is in use from started to ended, but while blocked."""
    changes: list[tuple[int, int, Try]] = []
    for one in view.record.tries:
        edges = [one.started]
        for blocked, resumed in zip(one.blocked_at, one.resumed_at, strict=True):
            edges += [blocked, resumed]
        edges.append(one.ended)
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            if start < end:
                changes += [(start, 1, one), (end, -1, one)]
    changes.sort(key=lambda change: change[:2])
    busy = 0
    most = max([view.slots, *(sizes.get("workers", 0) for _, sizes in view.record.resizes)])
    for time, change, one in changes:
        busy += change
        if change > 0 and busy > most:
            message = f"{one.name} started at {time} ns; then {busy} steps run on {most} workers"
            return [Violation("workers", message, (one.step_id,), time)]
    return []


def reason_fault(sweep: Sweep, waiting: Waiting, time: int, after: int) -> str | None:
    """The message about a wrong reason in [time, after], or None."""
    for recorded, start, end in waiting.one.waits:
        if start <= time and after <= end:
            expected, until = _expected(sweep, waiting, time, after)
            if expected is None:
                return None
            if expected == recorded:
                waiting.explained_until = min(until, end)
                return None
            recorded_wait = f"{waiting.one.name} waited for {recorded} in [{time}, {after}] ns"
            return f"{recorded_wait}; the first reason that applied was {expected}"
    return None


def _expected(sweep: Sweep, waiting: Waiting, time: int, after: int) -> tuple[str | None, int]:
    """The first reason that applies, None where the record leaves it open, and until when it surely is the first."""
    one = waiting.one
    view = sweep.view
    if one.backoff_end > time:
        return "backoff", one.backoff_end
    opening = waiting.opening[0]
    if opening > time:
        undisturbed = view.stop is None and not view.record.cancels
        return ("barrier" if undisturbed and opening >= after else None), opening
    for state, early, late in view.locks.get(one.step_id, ()):
        if early[0] > time:
            return f"lock.{state}", early[0]
        if late[0] > time:
            return None, after
    if not one.needs:
        return "worker", NEVER[0]
    return _expected_of_needs(sweep, one, time, after), after


def _expected_of_needs(sweep: Sweep, one: Try, time: int, after: int) -> str | None:
    wanted: dict[str, tuple[str, Wanted]] = {}
    if sweep.devices.memory:
        wanted = {need.name: (kind, need) for kind, need in sweep.devices.wanted(one).items()}
    for name, units in one.needs:
        if name in wanted:
            kind, need = wanted[name]
            if len(sweep.devices.room(kind, need, high=False)) < max(1, need.whole):
                return f"resource.{kind}"
            if len(sweep.devices.room(kind, need, high=True)) < max(1, need.whole):
                return None
        if name in sweep.capacity:
            low, high = sweep.units_low.get(name, 0), sweep.units_high.get(name, 0)
            if low + units > max(sweep.capacity[name]):
                return f"resource.{name}"
            if high + units > min(sweep.capacity[name]):
                return None
    for name, _ in one.needs if sweep.buckets.every else ():
        due = ((sweep.buckets.rates.get(name), 1), (sweep.buckets.tokens.get(name), sweep.view.reserved_tokens(one)))
        for bucket, amount in due:
            if bucket is None or bucket.open_at(amount) <= time:
                continue
            shut = bucket.high + (after - time) * bucket.per_ns + bucket.slack < amount
            return f"rate.{name}" if shut else None
    return "worker"
