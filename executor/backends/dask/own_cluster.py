"""A Dask cluster of our own on this machine: one program with Dask's scheduler and nannies, and a process a worker.

::

    here ── a thread that waits for it ──▶ program: scheduler, a nanny a worker ──▶ workers

Rules of this module:
- The scheduler is not in this process: it would take turns with the run in one interpreter.
- Workers find the modules that this process finds, and say nothing but what steps say. Each is in a process group of
  its own, and is started again by its nanny when a step ends it.
- All of it ends with this process, however that ends: the kernel kills the program when the thread is gone that
  started it, and workers end with the program.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import dask
import psutil  # type: ignore[import-untyped]  # Dask brings it
from distributed.utils import silence_logging_cmgr

LOOPBACK = "127.0.0.1"
SCHEDULER = {"host": LOOPBACK, "port": 0, "dashboard": False, "dashboard_address": f"{LOOPBACK}:0"}
# One step at a time, and a thread that has the next one at hand; no limits of memory (Dask would pause or kill the
# worker), no ports but its own.
WORKER = {
    "host": LOOPBACK, "nthreads": 2, "memory_limit": 0, "dashboard_address": f"{LOOPBACK}:0", "death_timeout": 10,
}  # fmt: skip
SETUP = "executor.backends.dask.worker_setup"
# PR_SET_PDEATHSIG: the kernel kills it when the thread is gone that started it.
PROGRAM = """
import asyncio, ctypes, json, os, signal, sys
from contextlib import suppress
with suppress(OSError, AttributeError):
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
from distributed import Nanny, Scheduler

async def serve(said, workers, of_scheduler, of_worker):
    async with Scheduler(**of_scheduler) as scheduler:
        os.write(said, scheduler.address.encode())
        os.close(said)
        await asyncio.gather(*(Nanny(scheduler.address, name=number, **of_worker) for number in range(workers)))
        await scheduler.finished()

asyncio.run(serve(*json.loads(sys.argv[1])))
"""


class OwnCluster:
    """It is there when this is made, and its workers come. ``ended()``: its program has ended by itself."""

    def __init__(
        self, workers: int, settings: Mapping[str, object], ended: Callable[[], None], *, within_seconds: float
    ) -> None:
        self._settings = settings
        self._ended = ended
        self._program: subprocess.Popen[bytes] | None = None
        self._closing = False
        # Dask's own words here on a connection that broke; the run has others.
        self._silence = ExitStack()
        self._silence.enter_context(silence_logging_cmgr(logging.CRITICAL))
        started: Future[str] = Future()
        self._thread = threading.Thread(target=self._serve, args=(workers, started), name="dask-cluster", daemon=True)
        self._thread.start()
        try:
            self.address = started.result(within_seconds)
        except BaseException:
            self.close()
            raise

    @property
    def status(self) -> int | None:
        """That of its program; None: it runs."""
        return None if self._program is None else self._program.returncode

    def close(self) -> None:
        """End it, with everything that runs on it."""
        self._closing = True
        if self._program is not None:
            with suppress(psutil.NoSuchProcess):
                program = psutil.Process(self._program.pid)
                workers = program.children(recursive=True)
                # First the program: it would start the workers again. Last what began first: others miss it aloud.
                for process in (program, *reversed(workers)):
                    with suppress(psutil.NoSuchProcess):
                        process.kill()
        self._thread.join()
        self._silence.close()

    def _serve(self, workers: int, started: Future[str]) -> None:
        try:
            address = self._begin(workers)
        except OSError as error:
            started.set_exception(error)
            return
        assert self._program is not None
        if address:
            started.set_result(address)
        status = self._program.wait()
        if not address:
            started.set_exception(ChildProcessError(f"its scheduler ended with status {status}"))
        elif not self._closing:
            self._ended()

    def _begin(self, workers: int) -> str:
        """Start the program, and return the address that it says; empty: it has ended."""
        worker = {**WORKER, "preload": [*dask.config.get("distributed.worker.preload"), SETUP]}
        reading, writing = os.pipe()
        with os.fdopen(reading) as said:
            try:
                self._program = subprocess.Popen(  # noqa: S603  # our own program in our own interpreter
                    [sys.executable, "-c", PROGRAM, json.dumps([writing, workers, SCHEDULER, worker])],
                    stdin=subprocess.DEVNULL,
                    env=self._environment(),
                    pass_fds=[writing],
                    start_new_session=True,
                )
            finally:
                os.close(writing)
            return said.read()

    def _environment(self) -> dict[str, Any]:
        path = os.pathsep.join(place or str(Path.cwd()) for place in sys.path)
        settings = {
            f"DASK_{name.upper().replace('.', '__').replace('-', '_')}": str(value)
            for name, value in self._settings.items()
        }
        return {**os.environ, **settings, "PYTHONPATH": path, "DASK_LOGGING__DISTRIBUTED": "critical"}
