"""What devices add to the lower bound: how long steps that have to share them take at the least.

Rules of this module:
- Whole nanoseconds and whole parts (:mod:`executor.model.device_needs`); a bound is rounded down where it is no whole
  number, so that it is never above the truth.
- Share and memory are looked at one after the other: steps that exceed a device in neither may still exceed it in both.

The bound. At each instant the steps on one device need at most 1 of it, in shares and in memory. So they do after each
need x is changed by a dual feasible function f, one for which sums of at most 1 stay at most 1. Hence, with n devices,
the sum of f(x) · run time over all steps is at most n times the makespan. Taken are x itself (the plain sum: memory ·
time over the total memory) and, for each threshold α of at most 1/2, f(x) = 1 above 1 − α, 0 below α, x between. With
α = 1/2 that counts the steps that need more than half of a device: no two of them fit on one.

Source: S. P. Fekete, J. Schepers, "New classes of fast lower bounds for bin packing problems", Mathematical
Programming 91, 2001; S. Martello, P. Toth, "Lower bounds and reduction procedures for the bin packing problem",
Discrete Applied Mathematics 28, 1990.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from executor.model.device_needs import PARTS, DeviceNeed, device_needs, memory_parts
from executor.model.workflow import Devices, Resource

# Steps have few different needs; of more, the largest that are no larger than a half are tried.
THRESHOLDS_TRIED = 32


def device_terms(
    needs: Sequence[Mapping[str, float] | None], resources: Mapping[str, Resource], runs: Iterable[tuple[int, int]]
) -> dict[str, int]:
    """By kind the nanoseconds that the devices need at the least. ``needs`` are by step; ``runs`` are the indices of
    steps with run times, any number of them for each.
    """
    kinds = {name: resource.devices for name, resource in resources.items() if resource.devices is not None}
    if not kinds:
        return {}
    of_step = [device_needs(each, resources) if each else {} for each in needs]
    times: dict[str, dict[DeviceNeed, int]] = {kind: {} for kind in kinds}
    for index, run in runs:
        for kind, need in of_step[index].items():
            times[kind][need] = times[kind].get(need, 0) + run
    return {kind: _bound(devices, times[kind]) for kind, devices in kinds.items()}


def _bound(devices: Devices, times: Mapping[DeviceNeed, int]) -> int:
    memories = [memory or 0 for memory in memory_parts(devices)]
    shares = [(PARTS if need.whole else need.share, max(1, need.whole), run) for need, run in times.items()]
    bound = _packed(shares, PARTS, [PARTS] * len(memories))
    largest = max(memories, default=0)
    if largest:
        wanted = [
            (_least_memory(need, memories) if need.whole else need.memory, max(1, need.whole), run)
            for need, run in times.items()
        ]
        bound = max(bound, _packed(wanted, largest, memories))
    return bound


def _least_memory(need: DeviceNeed, memories: Sequence[int]) -> int:
    """All the memory of a device that a step has for itself: of the smallest that is enough."""
    return min((memory for memory in memories if memory >= need.memory), default=0)


def _packed(wanted: Sequence[tuple[int, int, int]], size: int, sizes: Sequence[int]) -> int:
    """``wanted``: what is needed of each device, of how many devices, for how long; ``sizes``: of each device,
    ``size`` of the largest.
    """
    plain = sum(amount * count * run for amount, count, run in wanted) // max(1, sum(sizes))
    halves = {amount for amount, _, _ in wanted if 0 < 2 * amount <= size}
    thresholds = [*sorted(halves, reverse=True)[:THRESHOLDS_TRIED], (size + 1) // 2]
    return max([plain, *(_above(wanted, size, len(sizes), threshold) for threshold in thresholds)])


def _above(wanted: Sequence[tuple[int, int, int]], size: int, devices: int, threshold: int) -> int:
    total = 0
    for amount, count, run in wanted:
        if amount > size - threshold:
            total += size * count * run
        elif amount >= threshold:
            total += amount * count * run
    return total // (size * devices)
