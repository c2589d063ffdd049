"""The environment of a worker process while it runs a step with devices, and where steps share one: what to say.

Rules of this module:
- It is set for the attempt, and what was there before comes back.
- Only where the process runs one step at a time: in its main thread. Threads share the environment of their process.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from executor.model.device_needs import HeldDevices, device_environment

if TYPE_CHECKING:
    from executor.backends.base import Backend
    from executor.engine.engine import Engine


@contextmanager
def own_environment(devices: HeldDevices | None) -> Iterator[None]:
    """Name the devices in the environment of this process until the block ends."""
    if not devices or threading.current_thread() is not threading.main_thread():
        yield
        return
    variables = device_environment(devices)
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def shared_environment_warnings(engine: Engine, backend: Backend) -> list[str]:
    """What to say, once, where Python code of steps with devices shares one environment."""
    if backend.own_environments:
        return []
    scheduler, tools = engine.scheduler, engine.toolbox.tools
    sharing = [
        step.step_id
        for index, step in enumerate(scheduler.steps)
        if scheduler.needs_devices(index) and getattr(tools.get(step.tool or ""), "kind", "") == "python"
    ]
    if not sharing:
        return []
    others = "" if len(sharing) == 1 else f" and {len(sharing) - 1} more"
    message = (
        f"the steps of {backend.name} share one environment, so no variable names the devices of the Python code of "
        f"{sharing[0]!r}{others}: ask executor.step_devices(), write {{{{ devices.gpu }}}} in its args, or run it on "
        "processes"
    )
    return [message]
