"""Devices in metrics: `resource_in_use{resource, device}`, of each device its share and, where it is known, its memory.

Rules of this module:
- Labels are bounded: of a kind with very many devices the first have a label of their own, the rest share one.
- What is held counts from the grant to the end, also while a step waits for its calls.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from executor.model.device_needs import MEMORY_SUFFIX, PARTS, HeldDevices, device_needs, memory_parts
from executor.model.workflow import Devices, Resource
from executor.scheduler.device_pool import DevicePool

DEVICES_LABELLED: Final = 64
OTHERS: Final = "others"

# What is held (`gpu`, `gpu_memory_gb`), and of which device.
Label = tuple[str, str]


def _labels(devices: Devices) -> dict[str, str]:
    return {name: name if place < DEVICES_LABELLED else OTHERS for place, name in enumerate(devices.names)}


def _of(resources: Mapping[str, Resource]) -> Iterator[tuple[str, Devices]]:
    for kind, resource in resources.items():
        if resource.devices is not None:
            yield kind, resource.devices


def device_labels(resources: Mapping[str, Resource]) -> list[Label]:
    """What can be held of devices."""
    return [(name, device) for name, device, _ in device_capacities(resources)]


def device_capacities(resources: Mapping[str, Resource]) -> list[tuple[str, str, float]]:
    """The same with how much there is of each."""
    found: dict[Label, float] = {}
    for kind, devices in _of(resources):
        for device, memory in zip(_labels(devices).values(), devices.memories_gb, strict=True):
            found[kind, device] = found.get((kind, device), 0) + 1
            if memory is not None:
                name = kind + MEMORY_SUFFIX
                found[name, device] = found.get((name, device), 0) + memory
    return [(name, device, amount) for (name, device), amount in found.items()]


def parts_held(
    held: HeldDevices | None, needs: Mapping[str, float], resources: Mapping[str, Resource]
) -> Iterator[tuple[Label, int]]:
    """What an attempt that has these devices holds of each, in millionths."""
    if not held:
        return
    wanted = device_needs(needs, resources)
    for kind, ids in held.items():
        devices = resources[kind].devices
        if devices is None or kind not in wanted:
            continue
        need, labels = wanted[kind], _labels(devices)
        memories = dict(zip(devices.names, memory_parts(devices), strict=True))
        for device in ids:
            if device not in labels:
                continue
            yield (kind, labels[device]), PARTS if need.whole else need.share
            memory = memories[device]
            if memory is not None:
                yield (kind + MEMORY_SUFFIX, labels[device]), memory if need.whole else need.memory


def pool_values(pools: Mapping[str, DevicePool]) -> list[tuple[str, str, float, float]]:
    """Of a run that goes on: what is held, of which device, how much of it is in use, how much there is."""
    found: list[tuple[str, str, float, float]] = []
    used: dict[Label, float] = {}
    for kind, pool in pools.items():
        labels = _labels(pool.declared)
        for device in pool.devices:
            label = labels[device.identifier]
            used[kind, label] = used.get((kind, label), 0) + device.share_held / PARTS
            memory = kind + MEMORY_SUFFIX, label
            used[memory] = used.get(memory, 0) + device.memory_held / PARTS
    for name, device_label, amount in device_capacities({kind: pool.resource for kind, pool in pools.items()}):
        found.append((name, device_label, used[name, device_label], amount))
    return found
