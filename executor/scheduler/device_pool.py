"""Devices of one kind: which of them a step gets, and what is left on each. Pure: no I/O, no clock, nothing random.

Rules of this module:
- Same calls, same devices. A whole device is for one step alone; shares and memory are for several.
- Best fit: a share goes to the device in use that is left with the least (memory, then share), and to an idle one only
  where no other has room, so that whole devices stay free. Whole devices are those with the least memory that is
  enough. Equal ones are taken in the order of their declaration.
- What an attempt got it keeps, blocked or not, until it has ended (or its abandoned call has returned).
- A step in front that lacks a device reserves the one that lacks least to hold it. What is reserved counts as in use
  for those behind, so on that device no new step takes what the one in front lacks. What lacks never grows, and
  shrinks with each holder that ends: no step starves.

Source: best fit, D. S. Johnson, "Near-optimal bin packing algorithms", MIT, 1973.
"""

from __future__ import annotations

from collections.abc import Sequence

from executor.model.device_needs import PARTS, DeviceNeed, memory_parts
from executor.model.workflow import Resource
from executor.record.timeline import Attempt


class Device:
    """One device: what is held on it and what steps in front reserve, in parts of a share and of memory.

    ``memory`` is 0 where it is not stated: nobody can need it then.
    """

    __slots__ = (
        "holders", "identifier", "memory", "memory_held", "memory_reserved", "place", "reservations", "share_held",
        "share_reserved",
    )  # fmt: skip

    def __init__(self, place: int, identifier: str, memory: int) -> None:
        self.place = place
        self.identifier = identifier
        self.memory = memory
        self.holders = self.share_held = self.memory_held = 0
        self.reservations = self.share_reserved = self.memory_reserved = 0

    def lacks(self, need: DeviceNeed) -> int:
        """How many parts are missing for a need of a share and memory; 0: it has room."""
        share = self.share_held + self.share_reserved + need.share - PARTS
        memory = self.memory_held + self.memory_reserved + need.memory - self.memory
        return max(0, share) + (max(0, memory) if need.memory else 0)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is held or reserved on it."""
        return not self.holders and not self.reservations


class DevicePool:
    """All devices of a kind. ``holding``: the places of the devices of each attempt that has some."""

    def __init__(self, kind: str, resource: Resource) -> None:
        assert resource.devices is not None
        self.kind = kind
        self.resource = resource
        self.declared = resource.devices
        memories = memory_parts(self.declared)
        self.devices = [
            Device(place, identifier, memories[place] or 0) for place, identifier in enumerate(self.declared.names)
        ]
        self.holding: dict[Attempt, tuple[DeviceNeed, list[Device]]] = {}

    def places(self, need: DeviceNeed) -> list[Device] | None:
        """The devices that a step gets which needs this now, or None."""
        if need.whole:
            idle = [device for device in self.devices if device.is_idle and device.memory >= need.memory]
            if len(idle) < need.whole:
                return None
            return sorted(sorted(idle, key=_smallest_first)[: need.whole], key=_declared_first)
        room = [device for device in self.devices if not device.lacks(need)]
        return [min(room, key=_fullest_first)] if room else None

    def take(self, attempt: Attempt, need: DeviceNeed) -> Sequence[str]:
        """Give an attempt what it needs; there must be room. Returns the ids of its devices."""
        devices = self.places(need)
        assert devices is not None
        share, memory = _on_each(need)
        for device in devices:
            device.holders += 1
            device.share_held += share
            device.memory_held += device.memory if memory is None else memory
        self.holding[attempt] = need, devices
        return tuple(device.identifier for device in devices)

    def release(self, attempt: Attempt) -> None:
        """An attempt is over: what it had is free."""
        need, devices = self.holding.pop(attempt)
        share, memory = _on_each(need)
        for device in devices:
            device.holders -= 1
            device.share_held -= share
            device.memory_held -= device.memory if memory is None else memory

    def reserve(self, need: DeviceNeed) -> bool:
        """Count a need as in use for the steps behind. Returns whether there is room for it already."""
        devices = self.places(need)
        there = devices is not None
        if devices is None:
            enough = [device for device in self.devices if device.memory >= need.memory]
            if need.whole:
                devices = sorted(enough, key=_least_used_first)[: need.whole]
            else:
                devices = [min(enough, key=lambda device: (device.lacks(need), device.place))]
        share, memory = _on_each(need)
        for device in devices:
            device.reservations += 1
            device.share_reserved += share
            device.memory_reserved += device.memory if memory is None else memory
        return there

    def clear_reserved(self) -> None:
        """Forget reservations; they are counted anew at every start."""
        for device in self.devices:
            device.reservations = device.share_reserved = device.memory_reserved = 0


def _on_each(need: DeviceNeed) -> tuple[int, int | None]:
    """The share and memory that a need takes of each of its devices; None is all the memory."""
    return (PARTS, None) if need.whole else (need.share, need.memory)


def _smallest_first(device: Device) -> tuple[int, int]:
    return device.memory, device.place


def _declared_first(device: Device) -> int:
    return device.place


def _fullest_first(device: Device) -> tuple[bool, int, int, int]:
    memory_left = device.memory - device.memory_held - device.memory_reserved
    return device.is_idle, memory_left, -device.share_held - device.share_reserved, device.place


def _least_used_first(device: Device) -> tuple[int, int]:
    return device.holders + device.reservations, device.place
