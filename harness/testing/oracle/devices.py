"""Which devices are held at every moment, by the record: what is left on each, and who could have had them.

Read a second time here, without a line of the scheduler's: what `needs` ask of devices, and how amounts are counted.

Rules of this module:
- Shares and memory are counted in millionths, rounded down. A whole device is held by one attempt alone.
- Devices are held from granted to known, blocked or not.
- As for limits there are two accounts: `low` counts what is surely held, `high` all that may be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from math import floor
from typing import NamedTuple

from harness.testing.oracle.events import Try
from harness.testing.oracle.plain_graph import PlainResource

MEMORY = "_memory_gb"
MILLION = 1_000_000


class Wanted(NamedTuple):
    """Of one kind: ``whole`` devices, or a share and memory of one, in millionths. ``name``: the need's first name."""

    name: str
    whole: int = 0
    share: int = 0
    memory: int = 0


def millionths(amount: float) -> int:
    """An amount in millionths, rounded down; never nothing."""
    return max(1, floor(Fraction(str(amount)) * MILLION))


def wanted_devices(needs: tuple[tuple[str, float], ...], resources: Mapping[str, PlainResource]) -> dict[str, Wanted]:
    """What is asked of devices, by kind."""
    found: dict[str, Wanted] = {}
    for name, amount in needs:
        if name in resources:
            kind, of_memory = name, False
        elif name.endswith(MEMORY):
            kind, of_memory = name[: -len(MEMORY)], True
        else:
            continue
        if kind not in resources or not resources[kind].devices:
            continue
        before = found.get(kind, Wanted(name))
        if of_memory:
            found[kind] = before._replace(memory=millionths(amount))
        elif amount < 1:
            found[kind] = before._replace(share=millionths(amount))
        else:
            found[kind] = before._replace(whole=round(amount))
    return found


class Held(NamedTuple):
    """What one attempt holds of one device."""

    share: int
    memory: int
    alone: bool


class DeviceAccount:
    """Who holds what of which device: ``low`` surely, ``high`` possibly. Keys are (kind, id), then attempts."""

    def __init__(self, resources: Mapping[str, PlainResource]) -> None:
        self.resources = resources
        self.memory = {
            (kind, name): 0 if memory is None else millionths(memory)
            for kind, resource in resources.items()
            for name, memory in resource.devices
        }
        self.low: dict[tuple[str, str], dict[Try, Held]] = {key: {} for key in self.memory}
        self.high: dict[tuple[str, str], dict[Try, Held]] = {key: {} for key in self.memory}

    def wanted(self, one: Try) -> dict[str, Wanted]:
        """What an attempt asks of devices."""
        return wanted_devices(one.needs, self.resources) if self.memory and one.needs else {}

    def acquire(self, one: Try, *, low: bool) -> None:
        """An attempt got the devices that its record names."""
        for kind, wanted in self.wanted(one).items():
            for name in one.devices.get(kind, ()):
                key = kind, name
                if key not in self.memory:
                    continue
                held = Held(MILLION, self.memory[key], alone=True)
                if not wanted.whole:
                    held = Held(wanted.share, wanted.memory, alone=False)
                self.high[key][one] = held
                if low:
                    self.low[key][one] = held

    def release(self, one: Try, *, high: bool) -> None:
        """It gave them back: surely (``high``), or possibly."""
        for holders in (self.low, self.high) if high else (self.low,):
            for held in holders.values():
                held.pop(one, None)

    def room(self, kind: str, wanted: Wanted, *, high: bool) -> list[str]:
        """The devices on which it fits, surely (``high``) or possibly; for whole ones, those that are idle."""
        fitting = []
        for key, held in (self.high if high else self.low).items():
            if key[0] != kind:
                continue
            if wanted.whole:
                fits = not held and self.memory[key] >= wanted.memory
            else:
                share = wanted.share + sum(each.share for each in held.values())
                memory = wanted.memory + sum(each.memory for each in held.values())
                fits = share <= MILLION and (not wanted.memory or memory <= self.memory[key])
            if fits:
                fitting.append(key[1])
        return fitting

    def fits(self, one: Try, *, high: bool = True) -> bool:
        """Whether there is room for all that it asks for: surely, or (``high`` is False) possibly."""
        return all(
            len(self.room(kind, wanted, high=high)) >= max(1, wanted.whole) for kind, wanted in self.wanted(one).items()
        )

    def grant_faults(self, one: Try) -> Iterator[str]:
        """What is wrong with the devices that an attempt got."""
        wanted = self.wanted(one)
        for kind in one.devices:
            if kind not in wanted:
                yield f"got devices of {kind!r}, which it does not need"
        for kind, need in wanted.items():
            names = one.devices.get(kind, ())
            if len(names) != max(1, need.whole) or len(set(names)) != len(names):
                yield f"got {list(names)} of {kind!r}, where it needs {max(1, need.whole)}"
            for name in names:
                if (kind, name) not in self.memory:
                    yield f"got the device {name!r} of {kind!r}, which there is not"
                elif name not in self.room(kind, need, high=False):
                    holders = ", ".join(other.name for other in self.low[kind, name])
                    yield f"got the device {name!r} of {kind!r}, where there was no room beside {holders or 'nothing'}"

    def packing_faults(self, one: Try) -> Iterator[str]:
        """A share or memory of an idle device, where a device in use surely had room."""
        for kind, need in self.wanted(one).items():
            for name in () if need.whole else one.devices.get(kind, ()):
                if self.high.get((kind, name)):
                    continue
                better = [other for other in self.room(kind, need, high=True) if self.low[kind, other]]
                if better:
                    yield f"got the idle device {name!r} of {kind!r}, where {better[0]!r} in use had room"


def device_bounds(resources: Mapping[str, PlainResource], lasted: list[tuple[Try, int]]) -> Iterator[tuple[str, float]]:
    """How long the devices take at the least, by what limits them: the sums, and steps of which no two fit on one."""
    for kind, resource in resources.items():
        count = len(resource.devices)
        if not count:
            continue
        uses = [(wants[kind], time) for one, time in lasted if kind in (wants := wanted_devices(one.needs, resources))]
        shares = sum((want.whole or want.share / MILLION) * time for want, time in uses)
        yield f"shares of {kind!r}", shares / count
        alone = sum(max(1, want.whole) * time for want, time in uses if want.whole or 2 * want.share > MILLION)
        yield f"more than half of {kind!r}", alone / count
        memories = [millionths(memory) for _, memory in resource.devices if memory is not None]
        if memories:
            yield (
                f"memory of {kind!r}",
                sum(want.memory * max(1, want.whole) * time for want, time in uses) / sum(memories),
            )
            half = max(memories) / 2
            large = sum(max(1, want.whole) * time for want, time in uses if want.whole or want.memory > half)
            yield f"more than half of the memory of {kind!r}", large / count
