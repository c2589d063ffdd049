"""What a step needs of devices: whole ones, a share of one, memory on one. And how devices are named to a program.

Rules of this module:
- Shares and memory are counted in whole parts, rounded down: three thirds fit on one device, and nothing else is
  rounded.
- `gpu` needs devices of the kind `gpu`: 1 or more whole ones, or a share below 1 of one. `gpu_memory_gb` needs memory
  on one device, or, beside whole ones, that each of them has as much.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple, TypeAlias

from executor.model.workflow import Devices, Resource

MEMORY_SUFFIX = "_memory_gb"
# One device, and 10^9 bytes of memory, have so many parts.
PARTS = 1_000_000

# By kind, the ids of the devices that a step has.
HeldDevices: TypeAlias = Mapping[str, Sequence[str]]


class DeviceNeed(NamedTuple):
    """``whole`` devices for the step alone, or (0) ``share`` and ``memory`` of one, in parts. With whole ones,
    ``memory`` is what each has at least.
    """

    kind: str
    whole: int
    share: int
    memory: int


def resources_of(devices: Mapping[str, Devices | None]) -> dict[str, Resource]:
    """Devices as the resources that they are; None is left out."""
    return {kind: Resource(devices=each) for kind, each in devices.items() if each is not None}


def with_count(resource: Resource, count: int) -> Resource:
    """The resource with so many devices: the first of them, or more that have the memory of the last."""
    devices = resource.devices
    assert devices is not None
    names, memory = list(devices.names[:count]), devices.memory_gb
    names += [f"added-{number}" for number in range(1, count - len(names) + 1)]
    if isinstance(memory, tuple):
        memory = (*memory[:count], *memory[-1:] * (count - len(memory)))
    return Resource(devices=Devices(ids=tuple(names), memory_gb=memory))


def parts_of(amount: float) -> int:
    """How many whole parts an amount has, at least one."""
    return max(1, int(Decimal(str(amount)) * PARTS))


def kind_of(name: str, resources: Mapping[str, Resource]) -> str | None:
    """The kind of devices that a name in ``needs`` speaks of, or None."""
    resource = resources.get(name)
    if resource is not None:
        return None if resource.devices is None else name
    kind = name.removesuffix(MEMORY_SUFFIX)
    resource = resources.get(kind) if kind != name else None
    return None if resource is None or resource.devices is None else kind


def device_needs(needs: Mapping[str, float] | None, resources: Mapping[str, Resource]) -> dict[str, DeviceNeed]:
    """What ``needs`` ask of devices, by kind, in their order."""
    found: dict[str, DeviceNeed] = {}
    for name, amount in (needs or {}).items():
        kind = kind_of(name, resources)
        if kind is None:
            continue
        before = found.get(kind, DeviceNeed(kind, 0, 0, 0))
        if name != kind:
            found[kind] = before._replace(memory=parts_of(amount))
        elif amount >= 1:
            found[kind] = before._replace(whole=int(amount))
        else:
            found[kind] = before._replace(share=parts_of(amount))
    return found


def memory_parts(devices: Devices) -> list[int | None]:
    """The memory of each device in parts, None where it is not stated."""
    return [None if memory is None else parts_of(memory) for memory in devices.memories_gb]


def need_faults(name: str, amount: float, devices: Devices, kind: str) -> Iterator[tuple[str, str, str]]:
    """What is wrong with a need that no moment of the run could meet: ``(code, message, fix)``."""
    count = len(devices.names)
    memories = [memory for memory in devices.memories_gb if memory is not None]
    if name == kind:
        if amount > 1 and amount != int(amount):
            message = f"needs {amount:g} of {kind!r}: above 1, only whole devices can be needed"
            yield "share-above-one", message, "need a share below 1 of one device, or a whole number of devices"
        elif amount > count:
            there = f"there {'is' if count == 1 else 'are'} {count}"
            yield "need-above-capacity", f"needs {amount:g} devices of {kind!r}, and {there}", "need fewer"
    elif not memories:
        message = f"needs memory of {kind!r}, whose devices do not say how much they have"
        yield "no-device-memory", message, f"write devices: {{{kind}: {{ids: [...], memory_gb: 24}}}}"
    elif amount > max(memories):
        message = f"needs {amount:g} GB on one device of {kind!r}, and no device has more than {max(memories):g}"
        yield "memory-above-device", message, "need less, or split the step"


def together_faults(need: DeviceNeed, devices: Devices) -> Iterator[tuple[str, str, str]]:
    """The same of what is needed at once: whole devices that each have enough memory."""
    enough = sum(memory is not None and memory >= need.memory for memory in memory_parts(devices))
    if need.whole and need.memory and need.whole <= len(devices.names) and 0 < enough < need.whole:
        message = (
            f"needs {need.whole} devices of {need.kind!r} with {need.memory / PARTS:g} GB each, and "
            f"{enough} {'has' if enough == 1 else 'have'} so much"
        )
        yield "memory-above-device", message, "need fewer devices, or less memory"


def device_environment(held: HeldDevices | None) -> dict[str, str]:
    """The variables that name a step's devices to a program: ``MAKESPAN_DEVICES_<KIND>`` (``0,1``),
    ``MAKESPAN_DEVICES`` of all kinds (``gpu=0,1;npu=a``), and for ``gpu`` also ``CUDA_VISIBLE_DEVICES`` and
    ``CUDA_DEVICE_ORDER``.
    """
    if not held:
        return {}
    environment = {"MAKESPAN_DEVICES": ";".join(f"{kind}={','.join(ids)}" for kind, ids in held.items())}
    for kind, ids in held.items():
        environment[variable_of(kind)] = ",".join(ids)
        if kind == "gpu":
            # Else a number would mean the n-th fastest, where NVML and nvidia-smi mean the n-th on the bus.
            environment |= {"CUDA_VISIBLE_DEVICES": ",".join(ids), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    return environment


def variable_of(kind: str) -> str:
    """The variable that names the devices of a kind."""
    return "MAKESPAN_DEVICES_" + "".join(letter if letter.isalnum() else "_" for letter in kind.upper())
