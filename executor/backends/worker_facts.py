"""What a worker is and has, found by a step that runs on it: for those who check a cluster."""

from __future__ import annotations

import os
import platform
import socket
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

# What has to be the same on both sides, since calls and results are pickled on one and read on the other.
PACKAGES = ("makespan", "cloudpickle", "pydantic")


def worker_facts(hold_seconds: float = 0.0) -> dict[str, Any]:
    """``host``, ``process_id``, ``python`` (its version), and of each of :data:`PACKAGES` its version, or None. The
    worker is busy for ``hold_seconds``, so that others get a step as well.
    """
    time.sleep(hold_seconds)
    facts: dict[str, Any] = {
        "host": socket.gethostname(),
        "process_id": os.getpid(),
        "python": platform.python_version(),
    }
    for name in PACKAGES:
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            facts[name] = None
    return facts
