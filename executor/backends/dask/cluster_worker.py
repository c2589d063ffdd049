"""A Dask worker of our own cluster: a program of its own, in a process group of its own.

Rules of this module:
- It finds the modules that its parent finds, says nothing but what steps say, and ends with its parent,
  however that ends.
- What it writes goes to a :class:`.WorkerOutput`, one for all processes that its nanny starts in turn.
- The worker is in another process group than its nanny: a step that ends its group is not the end of the nanny.
- What its processes have in shared memory is given back: a program of Python's beside them does so, and is not killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL
from contextlib import suppress

import dask
import psutil  # type: ignore[import-untyped]  # it has none, and comes with Dask
from distributed.deploy.subprocess import SubprocessWorker

from executor.backends.worker_output import WorkerOutput

LOOPBACK = "127.0.0.1"
# One step at a time, and a thread that has the next one at hand; no limits of memory (Dask would pause or kill the
# worker), no ports but its own.
OPTIONS = {
    "host": LOOPBACK, "nthreads": 2, "memory_limit": 0, "dashboard_address": f"{LOOPBACK}:0", "death_timeout": 10,
}  # fmt: skip
# As Python calls the program that gives back the semaphores of ended processes, and how long it may take.
TRACKER = "multiprocessing.resource_tracker"
TRACKER_SECONDS = 2.0
# What a worker imports before it says that it is there.
SETUP = "executor.backends.dask.worker_setup"
# `python -m dask`, but the kernel kills it when the parent's thread is gone that started it (PR_SET_PDEATHSIG).
PROGRAM = """
import ctypes, signal
from contextlib import suppress
with suppress(OSError, AttributeError):
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
from dask.__main__ import main
main()
"""


class WorkerProgram(SubprocessWorker):
    """One process under Dask's nanny, which starts it again when a step ends it."""

    def __init__(self, scheduler: str, name: int, output: WorkerOutput) -> None:
        super().__init__(scheduler)
        self._number = name
        self._output = output

    async def _start(self) -> None:
        options = {**OPTIONS, "name": self._number, "preload": [*dask.config.get("distributed.worker.preload"), SETUP]}
        specification = json.dumps({"cls": "distributed.Nanny", "opts": options})
        path = os.pathsep.join(place or os.getcwd() for place in sys.path)  # noqa: PTH109  # as Python itself reads ""
        environment = {**os.environ, "PYTHONPATH": path, "DASK_LOGGING__DISTRIBUTED": "critical"}
        stdout, stderr = self._output.write_ends
        try:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", PROGRAM, "spec", self.scheduler, "--spec", specification),
                stdin=DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=environment,
                start_new_session=True,
            )
        finally:
            self._output.started()

    async def close(self) -> None:
        """End all of it."""
        if self.process is not None and self.process.returncode is None:
            trackers = []
            with suppress(psutil.NoSuchProcess):
                for one in psutil.Process(self.process.pid).children(recursive=True):
                    with suppress(psutil.NoSuchProcess):
                        if any(TRACKER in word for word in one.cmdline()):
                            trackers.append(one)
                        else:
                            one.kill()
            self.process.kill()
            await self.process.wait()
            # They do what they are for when those that they are for have ended.
            await asyncio.to_thread(psutil.wait_procs, trackers, timeout=TRACKER_SECONDS)
            for one in trackers:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
        await super().close()
