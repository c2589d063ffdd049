"""What a worker is and has: found on the worker itself, by those who check a cluster and by those who run on it.

Rules of this module:
- The standard library alone: it is also sent to workers on which makespan is not installed (:func:`portable_look`).
"""

from __future__ import annotations

import os
import pickle
import platform
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from executor.host_id import read_machine

# What has to be the same on both sides, since calls and results are pickled on one and read on the other.
PACKAGES = ("makespan", "cloudpickle", "pydantic")


def worker_facts(hold_seconds: float = 0.0) -> dict[str, Any]:
    """``host``, ``process_id``, ``python`` (its version), and of each of :data:`PACKAGES` its version, or None. The
    worker is busy for ``hold_seconds``, so that others get a step as well.
    """
    time.sleep(hold_seconds)
    facts: dict[str, Any] = {
        "host": platform.node(),
        "process_id": os.getpid(),
        "python": platform.python_version(),
    }
    for name in PACKAGES:
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            facts[name] = None
    return facts


def look() -> dict[str, Any]:
    """The same, with the worker's clock: ``machine``, and when it was asked and answered, in nanoseconds."""
    received = time.perf_counter_ns()
    facts = worker_facts()
    return {**facts, "machine": read_machine(), "received": received, "answered": time.perf_counter_ns()}


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[str]:
    """What differs between two of :func:`worker_facts`, in words."""
    if there["python"].rpartition(".")[0] != here["python"].rpartition(".")[0]:
        yield f"Python {there['python']} there, {here['python']} here"
    for name in PACKAGES:
        if there[name] != here[name]:
            yield f"{name} {there[name] or 'missing'} there, {here[name] or 'missing'} here"


class _Looking:
    """Unpickled it is what :func:`look` finds there."""

    def __reduce__(self) -> tuple[Any, ...]:
        return look, ()


def portable_look() -> bytes:
    """Bytes that ``pickle.loads`` turns into a :func:`look`, where there is cloudpickle and perhaps no makespan."""
    import sys  # noqa: PLC0415  # no name of this module, which travels

    import cloudpickle  # noqa: PLC0415  # those who ask no foreign cluster do not pay for its import

    modules = (sys.modules[read_machine.__module__], sys.modules[__name__])
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        data: bytes = cloudpickle.dumps(_Looking(), protocol=pickle.HIGHEST_PROTOCOL)
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)
    return data
