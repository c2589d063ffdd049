"""An adapter for each peer, in the order of the table.

Each module has ``TITLE``, ``PACKAGES`` (whose versions are named), ``IMPORTS`` (what a program of it imports),
``REPORTS`` (what it says of a run that is over, without a further program to be set up) and ``ready``, which holds the
workers as long as the ``with`` lasts and gives a :data:`tests.benchmarks.peers.work.Prepare`.
"""

from __future__ import annotations

import importlib
from types import ModuleType

NAMES = (
    "hand_threads", "hand_asyncio", "hand_processes", "makespan_threads", "makespan_asyncio", "makespan_processes",
    "dask_threads", "dask_distributed", "ray_tasks", "parsl_threads", "parsl_processes", "hamilton_threads",
    "langgraph_threads", "prefect_threads", "dagster_in_process",
)  # fmt: skip


def adapter(name: str) -> ModuleType:
    """The module of that name."""
    return importlib.import_module(f"{__name__}.{name}")
