"""Capacity: what a step holds while it runs, and what it takes from a rate. Pure; the time comes in.

Rules of this module:
- All of a step's needs are granted at once or not at all.
- A bucket counts in whole numbers: nothing is rounded, so a simulation gives the same schedule on every machine.
- Units reserved by a step in front count as in use for those behind it (no step starves).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import ClassVar, TypeAlias

from executor.model.device_needs import DeviceNeed, device_needs, kind_of
from executor.model.workflow import Resource, Step
from executor.record.timeline import Attempt, DeviceAttempt
from executor.scheduler.adaptive_capacity import AdaptiveCapacity
from executor.scheduler.device_pool import DevicePool

MINUTE_NANOSECONDS = 60_000_000_000


class Bucket:
    """A token bucket: it holds ``burst``, starts full and gains ``rate_per_minute``; it may go into debt.

    The level is kept as a whole number of parts; one token is ``part`` of them, and every nanosecond gains ``gain``.
    """

    __slots__ = ("burst", "full", "gain", "level", "part", "updated")

    def __init__(self, rate_per_minute: float, burst: int) -> None:
        rate = Fraction(rate_per_minute).limit_denominator(1_000_000)
        if rate <= 0:
            # Slower than one token in a million minutes.
            rate = Fraction(1, 1_000_000)
        self.burst = burst
        self.gain = rate.numerator
        self.part = MINUTE_NANOSECONDS * rate.denominator
        self.full = burst * self.part
        self.level = self.full
        self.updated = 0

    def refill(self, now: int) -> None:
        """Bring the level up to ``now`` (nanoseconds)."""
        if now > self.updated:
            self.level = min(self.full, self.level + (now - self.updated) * self.gain)
            self.updated = now

    def lacks(self, tokens: int, now: int) -> bool:
        """Whether fewer than ``tokens`` are there at ``now``."""
        self.refill(now)
        return self.level < tokens * self.part

    def take(self, tokens: int, now: int) -> None:
        """Take ``tokens``, into debt if need be; a negative number is a refund, which stops at the burst."""
        self.refill(now)
        self.level = min(self.full, self.level - tokens * self.part)

    def opens_at(self, tokens: int, now: int) -> int | None:
        """When ``tokens`` will be there if none is taken; None if the bucket never holds so many."""
        self.refill(now)
        if tokens > self.burst:
            return None
        missing = max(0, tokens * self.part - self.level)
        return now + -(-missing // self.gain)


class Limit:
    """A resource in use: units held, units reserved by steps in front, and its buckets."""

    __slots__ = (
        "adaptive", "capacity", "changes", "in_use", "largest_capacity", "most_units", "name", "rate", "reason",
        "reserved_charges", "reserved_tokens", "reserved_units", "resource", "tokens",
    )  # fmt: skip

    def __init__(self, name: str, resource: Resource) -> None:
        self.name = name
        self.reason = f"resource.{name}"
        self.resource = resource
        self.capacity = resource.capacity
        self.largest_capacity = resource.capacity
        self.adaptive = None if resource.auto is None else AdaptiveCapacity(resource.auto)
        # When the capacity became what, where it is found out.
        self.changes: list[tuple[int, int]] = [] if resource.auto is None else [(0, resource.auto.initial)]
        self.in_use = 0
        # The most that any step takes.
        self.most_units = 1
        self.reserved_units = 0
        self.reserved_charges = 0
        self.reserved_tokens = 0
        self.rate = None if resource.rate_per_minute is None else Bucket(resource.rate_per_minute, resource.burst)
        self.tokens: Bucket | None = None
        minutes_worth = resource.tokens_per_minute
        if minutes_worth is not None:
            burst = resource.token_burst
            self.tokens = Bucket(minutes_worth, max(1, int(minutes_worth)) if burst is None else burst)

    def resize(self, capacity: int) -> None:
        """Change the capacity; units already held stay held."""
        self.capacity = capacity
        if self.largest_capacity is not None:
            self.largest_capacity = max(self.largest_capacity, capacity)

    def learn(self, capacity: int, now: int) -> None:
        """What was found out about the capacity from the end of an attempt."""
        if capacity != self.capacity:
            self.resize(capacity)
            self.changes.append((now, capacity))

    def clear_reserved(self) -> None:
        """Forget reservations; they are counted anew at every start."""
        self.reserved_units = self.reserved_charges = self.reserved_tokens = 0


# What is needed of which pool.
DevicePart: TypeAlias = tuple[DevicePool, DeviceNeed]


class Demand:
    """What steps with the same needs ask for: ``parts`` are (limit, units, tokens), in the order of ``needs``."""

    __slots__ = ("adapts", "parts", "rated", "tokens")

    # What a step gets of devices, and the class of its attempts.
    devices: ClassVar[Sequence[DevicePart]] = ()
    attempt_class: ClassVar[type[Attempt]] = Attempt

    def __init__(self, parts: Sequence[tuple[Limit, int, int]]) -> None:
        self.parts = tuple(parts)
        self.adapts = any(limit.adaptive is not None for limit, _, _ in parts)
        self.rated = any(limit.rate is not None or limit.tokens is not None for limit, _, _ in parts)
        self.tokens = max((tokens for limit, _, tokens in parts if limit.tokens is not None), default=0)

    def lacks_units(self) -> str | None:
        """The reason of the first resource without enough free units, or None."""
        for limit, units, _ in self.parts:
            if limit.capacity is not None and limit.in_use + limit.reserved_units + units > limit.capacity:
                return limit.reason
        return None

    def room_beside(self, holders: int) -> int:
        """How many attempts may hold limits beside ``holders`` others, so that no step ever waits for one of these
        resources, whatever each takes.
        """
        if self.rated or self.adapts or self.devices:
            return 0
        fitting = [limit.capacity // limit.most_units for limit, _, _ in self.parts if limit.capacity is not None]
        return max(0, min(fitting, default=0) - holders)

    def lacks_at_once(self) -> str | None:
        """The same of all that is held from the grant on."""
        return self.lacks_units()

    def lacks(self, now: int) -> str | None:
        """The reason of the first resource or rate that is not open, or None."""
        reason = self.lacks_at_once()
        if reason is not None or not self.rated:
            return reason
        for limit, _, tokens in self.parts:
            if limit.rate is not None and limit.rate.lacks(1 + limit.reserved_charges, now):
                return f"rate.{limit.name}"
            if limit.tokens is not None and limit.tokens.lacks(tokens + limit.reserved_tokens, now):
                return f"rate.{limit.name}"
        return None

    def opens_at(self, now: int) -> int | None:
        """When the first closed rate opens by the passing of time alone, or None."""
        for limit, _, tokens in self.parts:
            if limit.rate is not None and limit.rate.lacks(1 + limit.reserved_charges, now):
                return limit.rate.opens_at(1 + limit.reserved_charges, now)
            if limit.tokens is not None and limit.tokens.lacks(tokens + limit.reserved_tokens, now):
                return limit.tokens.opens_at(tokens + limit.reserved_tokens, now)
        return None

    def hold(self) -> None:
        """Take the units."""
        for limit, units, _ in self.parts:
            limit.in_use += units

    def release(self) -> None:
        """Give the units back."""
        for limit, units, _ in self.parts:
            limit.in_use -= units

    def charge(self, now: int) -> None:
        """Take one attempt and the estimated tokens from the rates."""
        for limit, _, tokens in self.parts:
            if limit.rate is not None:
                limit.rate.take(1, now)
            if limit.tokens is not None:
                limit.tokens.take(tokens, now)

    def settle(self, used_tokens: int, now: int) -> None:
        """Refund what was reserved and not used, or take what was used beyond it."""
        for limit, _, tokens in self.parts:
            if limit.tokens is not None:
                limit.tokens.take(used_tokens - tokens, now)

    def learn(self, granted: int, latency: int | None, expected_seconds: float | None, now: int) -> None:
        """An attempt has ended well after ``latency`` nanoseconds, or (None) its service was asked too much: where a
        capacity is found out, it may change. Ask after the units were given back.
        """
        for limit, units, _ in self.parts:
            adaptive = limit.adaptive
            if adaptive is None:
                continue
            if latency is None:
                limit.learn(adaptive.overloaded(granted, limit.in_use, now), now)
            else:
                value = adaptive.succeeded(granted, latency, expected_seconds, limit.in_use, units, now)
                limit.learn(value, now)

    def reserve(self, *, rates: bool = True) -> None:
        """Count the needs as in use for the steps behind."""
        for limit, units, tokens in self.parts:
            limit.reserved_units += units
            if rates:
                limit.reserved_charges += 1
                limit.reserved_tokens += tokens


class DeviceDemand(Demand):
    """The same with devices. A blocked step gives its units back and keeps its devices: ``lacks_units``, ``hold`` and
    ``release`` are about units alone.
    """

    __slots__ = ("devices", "order")

    attempt_class = DeviceAttempt

    def __init__(
        self, parts: Sequence[tuple[Limit, int, int]], devices: Sequence[DevicePart], order: Sequence[int | DevicePart]
    ) -> None:
        """``order``: as in the step's ``needs``, the place of each in ``parts``, or what is needed of a pool."""
        super().__init__(parts)
        self.devices: Sequence[DevicePart] = tuple(devices)  # type: ignore[misc]  # the others share an empty one
        self.order = tuple(order)

    def lacks_at_once(self) -> str | None:
        """The reason of the first resource without enough free units, or devices without room."""
        for each in self.order:
            if isinstance(each, int):
                limit, units, _ = self.parts[each]
                if limit.capacity is not None and limit.in_use + limit.reserved_units + units > limit.capacity:
                    return limit.reason
            elif each[0].places(each[1]) is None:
                return f"resource.{each[0].kind}"
        return None

    def reserve(self, *, rates: bool = True) -> None:
        """Count the needs as in use for the steps behind. A step that has its devices already (``rates`` is False: it
        resumes) reserves units. One that lacks a device reserves devices alone: the device may be held by a blocked
        step, whose calls need the units to end.
        """
        if rates:
            lacks_device = False
            for pool, need in self.devices:
                lacks_device |= not pool.reserve(need)
            if lacks_device:
                return
        super().reserve(rates=rates)


def take_devices(demand: Demand, attempt: Attempt) -> None:
    """Give an attempt the devices that its step needs, for which there must be room."""
    assert isinstance(attempt, DeviceAttempt)
    attempt.held_devices = {need.kind: pool.take(attempt, need) for pool, need in demand.devices}


def release_devices(limits: Limits, attempt: Attempt) -> None:
    """An attempt with devices is over."""
    for kind in attempt.devices or ():
        limits.pools[kind].release(attempt)


class Limits:
    """All resources of a run, and one :class:`Demand` for each distinct set of needs."""

    def __init__(self, resources: Mapping[str, Resource]) -> None:
        self.by_name: dict[str, Limit] = {}
        self.pools: dict[str, DevicePool] = {}
        self._resources = dict(resources)
        for name, resource in resources.items():
            self.declare(name, resource)
        self._demands: dict[tuple[object, ...], Demand] = {}

    def demand(self, step: Step) -> Demand | None:
        """What a step asks for, or None.

        Raises:
            KeyError: a need of a resource that is not declared.
        """
        if not step.needs:
            return None
        tokens = step.expected_tokens or 0
        key = (tuple(step.needs.items()), tokens)
        demand = self._demands.get(key)
        if demand is None:
            demand = self._demands[key] = self._demand_of(step.needs, tokens)
        return demand

    def _demand_of(self, needs: Mapping[str, float], tokens: int) -> Demand:
        of_devices = device_needs(needs, self._resources) if self.pools else {}
        parts: list[tuple[Limit, int, int]] = []
        devices = {kind: (self.pools[kind], need) for kind, need in of_devices.items()}
        order: list[int | DevicePart] = []
        left = dict(devices)
        for name, amount in needs.items():
            kind = kind_of(name, self._resources) if devices else None
            if kind is None:
                order.append(len(parts))
                limit = self.by_name[name]
                limit.most_units = max(limit.most_units, int(amount))
                parts.append((limit, int(amount), tokens))
            elif kind in left:
                order.append(left.pop(kind))
        return DeviceDemand(parts, list(devices.values()), order) if devices else Demand(parts)

    def device_kind(self, name: str) -> str | None:
        """The kind of devices that a name in ``needs`` speaks of, or None."""
        return kind_of(name, self._resources) if self.pools else None

    def device_parts(self, step: Step) -> Sequence[DevicePart]:
        """What a step needs of devices."""
        return [(self.pools[kind], need) for kind, need in device_needs(step.needs, self._resources).items()]

    def declare(self, name: str, resource: Resource) -> None:
        """Add a resource, unless it is there."""
        if name in self.by_name or name in self.pools:
            return
        self._resources[name] = resource
        if resource.devices is None:
            self.by_name[name] = Limit(name, resource)
        else:
            self.pools[name] = DevicePool(name, resource)

    def clear_reserved(self) -> None:
        """Forget all reservations."""
        for limit in self.by_name.values():
            limit.clear_reserved()
        for pool in self.pools.values():
            pool.clear_reserved()

    def __iter__(self) -> Iterator[Limit]:
        return iter(self.by_name.values())
