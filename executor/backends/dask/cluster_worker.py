"""Our own Dask cluster, and a worker of it: a program of its own, in a process group of its own.

Rules of this module:
- It finds the modules that its parent finds, says nothing but what steps say, and ends with its parent,
  however that ends.
- What it writes goes to a :class:`.WorkerOutput`, one for all processes that its nanny starts in turn.
- The worker is in another process group than its nanny: a step that ends its group is not the end of the nanny.
- A nanny stays as long as its cluster, however often and for however long its worker is gone. One that ends itself is
  started again.
- What its processes have in shared memory is given back: a program of Python's beside them does so, and is not killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import dask
import psutil  # type: ignore[import-untyped]  # it has none, and comes with Dask
from distributed.deploy.cluster import Cluster
from distributed.deploy.spec import SpecCluster
from distributed.deploy.subprocess import SubprocessWorker

from executor.backends.worker_output import WorkerOutput

LOOPBACK = "127.0.0.1"
# One step at a time, and a thread that has the next one at hand; no limits of memory (Dask would pause or kill the
# worker), no ports but its own. Nor a limit of how long a worker may take to start (`death_timeout`): past it the nanny
# would end, on a busy machine for imports alone, and nobody would start the worker.
OPTIONS = {
    "host": LOOPBACK, "nthreads": 2, "memory_limit": 0, "dashboard_address": f"{LOOPBACK}:0",
}  # fmt: skip
# A nanny ends itself where a step ends its worker before the nanny has heard that it is there. So often it is started.
MOST_STARTS = 5
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
    """One process under Dask's nanny, which starts it again when a step ends it. ``ended`` hears with which status the
    nanny itself has ended, unless it was asked to.
    """

    def __init__(self, scheduler: str, name: int, output: WorkerOutput, ended: Callable[[int], None]) -> None:
        super().__init__(scheduler)
        self._number = name
        self._output = output
        self._ended = ended
        self._is_to_end = asyncio.Event()
        self._starts = 0
        self._write_ends: list[int] = []
        self._watching: asyncio.Task[None] | None = None

    async def _start(self) -> None:
        options = {**OPTIONS, "name": self._number, "preload": [*dask.config.get("distributed.worker.preload"), SETUP]}
        specification = json.dumps({"cls": "distributed.Nanny", "opts": options})
        path = os.pathsep.join(place or os.getcwd() for place in sys.path)  # noqa: PTH109  # as Python itself reads ""
        environment = {**os.environ, "PYTHONPATH": path, "DASK_LOGGING__DISTRIBUTED": "critical"}
        if not self._write_ends:
            # Each program that is started here gets them.
            self._write_ends = [os.dup(fd) for fd in self._output.write_ends]
            self._output.started()
        stdout, stderr = self._write_ends
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PROGRAM, "spec", self.scheduler, "--spec", specification),
            stdin=DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=environment,
            start_new_session=True,
        )
        self._starts += 1
        self._watching = asyncio.ensure_future(self._watch(self.process))

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        status = await process.wait()
        if self._is_to_end.is_set():
            return
        if status <= 0 or self._starts >= MOST_STARTS:
            self._ended(status)
            return
        try:
            await self._start()
        except OSError:
            self._ended(status)
        if self._is_to_end.is_set() and self.process is not None:
            # It was closed meanwhile.
            await self._end_all_of_it(self.process)

    async def close(self) -> None:
        """See :class:`distributed.deploy.subprocess.Subprocess`."""
        self._is_to_end.set()
        if self.process is not None and self.process.returncode is None:
            await self._end_all_of_it(self.process)
        while self._write_ends:
            os.close(self._write_ends.pop())
        await super().close()

    async def _end_all_of_it(self, process: asyncio.subprocess.Process) -> None:
        trackers = []
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            below = psutil.Process(process.pid).children(recursive=True)
            # First the nanny, which would start a worker again.
            process.kill()
            for one in below:
                with suppress(psutil.NoSuchProcess):
                    if any(TRACKER in word for word in one.cmdline()):
                        trackers.append(one)
                    else:
                        one.kill()
        await process.wait()
        # They do what they are for when those that they are for have ended.
        await asyncio.to_thread(psutil.wait_procs, trackers, timeout=TRACKER_SECONDS)
        for one in trackers:
            with suppress(psutil.NoSuchProcess):
                one.kill()


class OwnCluster(SpecCluster):
    """Dask's own ends the program of a lost worker for good where 15 s later none is there: it may have died again,
    or a busy machine may still start it.
    """

    def _update_worker_status(self, op: str, message: Any) -> None:
        """Dask says here which workers have come and gone."""
        Cluster._update_worker_status(self, op, message)  # type: ignore[no-untyped-call]  # noqa: SLF001  # Dask has few types, and names no public way
