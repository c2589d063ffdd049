"""Which devices this machine has, and whether those that are declared are there.

Rules of this module:
- Only the kind `gpu` can be found: by NVML where `pynvml` is installed, else by `CUDA_VISIBLE_DEVICES`, else by
  `nvidia-smi -L`. What `CUDA_VISIBLE_DEVICES` hides is not found.
- Declared ids are compared with what NVML or nvidia-smi says, where they say anything: on a machine without such
  devices, and for names that are no GPU's (`fake-0`), declared devices are handed out all the same.
- Nothing is looked for unless devices are declared.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from executor.model.device_needs import MEMORY_SUFFIX
from executor.model.findings import Finding
from executor.model.workflow import Devices, Resource

GPU = "gpu"
_SMI_SECONDS = 10.0
_SMI_LINE = re.compile(r"^GPU (\d+): .*?(?:\(UUID: (GPU-[0-9a-fA-F-]+)\))?$", re.MULTILINE)
# Numbers and NVIDIA's own names; parts of a GPU (MIG-…) are not looked for.
_CHECKED = re.compile(r"\d+|GPU-[0-9a-fA-F-]+")


class FoundDevice(NamedTuple):
    """A device of this machine. ``memory_gb``: in 10^9 bytes, None where it is not known."""

    identifier: str
    uuid: str | None = None
    memory_gb: float | None = None


def found_on_machine() -> list[FoundDevice] | None:
    """The GPUs that NVML, else nvidia-smi, knows of; None where neither can say."""
    found = _found_by_nvml()
    return _found_by_smi() if found is None else found


def visible(found: Sequence[FoundDevice] | None, environment: Mapping[str, str]) -> list[FoundDevice]:
    """Those that `CUDA_VISIBLE_DEVICES` leaves; where nothing is known, those that it names."""
    words = environment.get("CUDA_VISIBLE_DEVICES")
    if words is None:
        return list(found or ())
    named = [word.strip() for word in words.split(",") if word.strip()]
    if "-1" in named:
        # As CUDA reads it: what stands behind it is hidden.
        named = named[: named.index("-1")]
    known = {name: each for each in found or () for name in (each.identifier, each.uuid) if name is not None}
    return [known.get(name, FoundDevice(name)) for name in dict.fromkeys(named)]


def with_devices(
    resources: Mapping[str, Resource],
    *,
    find: Callable[[], list[FoundDevice] | None] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> tuple[dict[str, Resource], list[Finding]]:
    """The resources, with `auto` replaced by the devices that were found; and what is wrong with those declared. The
    path of a finding begins with the kind. ``find``: in place of :func:`found_on_machine`.
    """
    resolved = dict(resources)
    findings: list[Finding] = []
    for kind, resource in resources.items():
        devices = resource.devices
        if devices is None:
            continue
        if kind + MEMORY_SUFFIX in resources:
            message = f"{kind + MEMORY_SUFFIX!r} means the memory of {kind!r}, and is a resource as well"
            findings.append(Finding("error", "ambiguous-need", message, "give the resource another name", path=(kind,)))
        if kind != GPU:
            if devices.ids == "auto":
                message = f"devices of {kind!r} cannot be found: only those of {GPU!r} can"
                findings.append(Finding("error", "no-devices", message, "write their ids", path=(kind,)))
            continue
        found = found_on_machine() if find is None else find()
        if devices.ids == "auto":
            there = visible(found, environment)
            if not there:
                message = "no GPU was found: neither NVML, CUDA_VISIBLE_DEVICES nor nvidia-smi names one"
                fix = f"write their ids: devices: {{{kind}: [0, 1]}}"
                findings.append(Finding("error", "no-devices", message, fix, path=(kind,)))
            else:
                resolved[kind] = Resource(devices=_from_found(devices, there))
        elif found is not None:
            findings += _not_there(kind, devices, found)
            resolved[kind] = Resource(devices=_with_memory(devices, found))
    return resolved, findings


def _from_found(devices: Devices, found: Sequence[FoundDevice]) -> Devices:
    named = devices.model_copy(update={"ids": tuple(each.identifier for each in found)})
    return _with_memory(named, found)


def _with_memory(devices: Devices, found: Sequence[FoundDevice]) -> Devices:
    """The memory that the machine says, where the file says none and it is known of all."""
    memories = {name: each.memory_gb for each in found for name in (each.identifier, each.uuid) if name is not None}
    known = [memories.get(name) for name in devices.names]
    if devices.memory_gb is not None or not known or None in known:
        return devices
    return devices.model_copy(update={"memory_gb": tuple(memory for memory in known if memory is not None)})


def _not_there(kind: str, devices: Devices, found: Sequence[FoundDevice]) -> list[Finding]:
    known = {name for each in found for name in (each.identifier, each.uuid)}
    missing = [name for name in devices.names if name not in known and _CHECKED.fullmatch(name)]
    if not missing:
        return []
    there = ", ".join(each.identifier for each in found) or "none"
    message = f"the device {', '.join(missing)} of {kind!r} is not on this machine, which has: {there}"
    fix = "name devices that are there, or `auto`; `fake-0` is the name of no real one"
    return [Finding("error", "device-not-there", message, fix, path=(kind,))]


def _found_by_nvml() -> list[FoundDevice] | None:
    try:
        import pynvml  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: PLC0415  # not a dependency
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except Exception:  # noqa: BLE001  # no driver: whatever it raises, there is nothing to find this way
        return None
    try:
        found = []
        for place in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(place)
            uuid = pynvml.nvmlDeviceGetUUID(handle)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle).total / 1e9
            found.append(FoundDevice(str(place), uuid if isinstance(uuid, str) else uuid.decode(), memory))
    except Exception:  # noqa: BLE001  # a device that cannot be asked: nvidia-smi may know
        return None
    else:
        return found
    finally:
        with suppress(Exception):
            pynvml.nvmlShutdown()


def _found_by_smi() -> list[FoundDevice] | None:
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        answer = subprocess.run(  # noqa: S603  # the program of the driver, without a shell
            [program, "-L"], capture_output=True, text=True, timeout=_SMI_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    if answer.returncode != 0:
        return None
    return [FoundDevice(number, uuid or None) for number, uuid in _SMI_LINE.findall(answer.stdout)]
