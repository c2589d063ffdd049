"""The faults that are planted in the handing out of devices."""

from __future__ import annotations

from tests.properties.planted.planting import Fault

POOL = "executor.scheduler.device_pool:"
LIMITS = "executor.scheduler.resources:"
DEVICES = ("devices", "nested", "failures", "retries", "cancellations")

DEVICE_FAULTS = (
    Fault(
        "whole device shared",
        "A step gets a whole device on which another holds a share.",
        POOL + "Device.is_idle",
        "return not self.holders and not self.reservations",
        "return self.share_held <= 500_000 and not self.reservations",
        focus=DEVICES,
    ),
    Fault(
        "share over-committed",
        "The shares of a device may be a little more than the device.",
        POOL + "Device.lacks",
        "need.share - PARTS",
        "need.share - PARTS * 5 // 4",
        focus=DEVICES,
    ),
    Fault(
        "memory over-committed",
        "The memory of a device is not looked at.",
        POOL + "Device.lacks",
        "(max(0, memory) if need.memory else 0)",
        "0",
        focus=DEVICES,
    ),
    Fault(
        "memory beside a whole device",
        "A step that has a device for itself leaves its memory to others.",
        POOL + "_on_each",
        "return (PARTS, None) if need.whole",
        "return (PARTS, need.memory) if need.whole",
        focus=DEVICES,
    ),
    Fault(
        "worst fit",
        "A share goes to the emptiest device, so whole ones are hard to come by.",
        POOL + "DevicePool.places",
        "[min(room, key=_fullest_first)]",
        "[max(room, key=_fullest_first)]",
        focus=DEVICES,
    ),
    Fault(
        "devices given back while blocked",
        "A step that waits for its calls gives its devices to others.",
        "executor.scheduler.scheduler:Scheduler.block",
        "self._free += 1",
        "self._free += 1\n"
        "    for kind in attempt.devices or ():\n"
        "        pool = self.limits.pools[kind]\n"
        "        need = pool.holding[attempt][0]\n"
        "        pool.release(attempt)\n"
        "        pool.holding[attempt] = need, []",
        focus=DEVICES,
    ),
    Fault(
        "devices kept after the end",
        "The devices of a step that failed stay held.",
        "executor.scheduler.scheduler:Scheduler._leave_worker",
        "if self.limits.pools and attempt.devices is not None and not abandoned:",
        'if self.limits.pools and attempt.devices is not None and attempt.outcome == "succeeded":',
        focus=DEVICES,
    ),
    Fault(
        "devices kept by an abandoned call",
        "When an abandoned call returns, its devices stay held.",
        "executor.scheduler.scheduler:Scheduler.returned",
        "release_devices(self.limits, attempt)",
        "pass",
        focus=DEVICES,
    ),
    Fault(
        "one device too few",
        "A step that needs several whole devices gets one less.",
        POOL + "DevicePool.places",
        "return sorted(sorted(idle, key=_smallest_first)[: need.whole], key=_declared_first)",
        "return sorted(sorted(idle, key=_smallest_first)[: max(1, need.whole - 1)], key=_declared_first)",
        focus=DEVICES,
    ),
    Fault(
        "memory of a whole device ignored",
        "A step that needs whole devices with much memory gets small ones.",
        POOL + "DevicePool.places",
        "if device.is_idle and device.memory >= need.memory]",
        "if device.is_idle]",
        focus=DEVICES,
    ),
    Fault(
        "device waited for that is free",
        "A share waits for a device that is idle.",
        POOL + "DevicePool.places",
        "if not device.lacks(need)]",
        "if not device.lacks(need) and (device.holders or len(self.devices) == 1)]",
        focus=DEVICES,
    ),
    Fault(
        "units reserved for a step that lacks a device",
        "A step that lacks a device reserves units, which the calls of the step with the device wait for.",
        LIMITS + "DeviceDemand.reserve",
        "if lacks_device:",
        "if False:",
        focus=("devices", "nested", "resources", "retries"),
        size=30,
    ),
    Fault(
        "devices on the short way",
        "The short way, which gives units back and no devices, is taken for steps with devices, too.",
        "executor.scheduler.admission:_add_details",
        " or demand.devices)",
        ")",
        focus=DEVICES,
    ),
    Fault(
        "devices for calls of a step that has some",
        "A call of a step that keeps its devices may wait for devices.",
        "executor.scheduler.admission:_check_devices_of_call",
        "if attempt is not None and attempt.devices:",
        "if False:",
        by_calls=True,
    ),
)
