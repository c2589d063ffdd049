"""A Dask cluster of another owner for tests: scheduler and workers as programs of their own, in a session of their own.

Rules of this module:
- Each program ends with the test, however that ends, and so does all that it started.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import dask

UP_SECONDS = 60
QUICK = ("--no-dashboard",)
# Workers without a nanny: what is killed is the worker itself.
WORKER = ("--no-nanny", "--no-dashboard", "--nthreads", "1", "--memory-limit", "0", "--death-timeout", "60")


class DaskPrograms:
    """One scheduler, and workers as they are asked for. ``settings``: of Dask, in their environment."""

    def __init__(self, folder: Path, settings: Mapping[str, str] = {}) -> None:  # nobody changes it
        self.folder = folder
        self.programs: list[subprocess.Popen[bytes]] = []
        self.environment = {**os.environ, **settings}
        self.address = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for program in self.programs:
            with suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
        for program in self.programs:
            program.wait(30)

    def scheduler(self, *, host: str = "127.0.0.1", inside: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Start it, and wait until it listens. ``inside``: what the command is run by."""
        place = self.folder / f"scheduler{len(self.programs)}.json"
        started = self._start(
            [*inside, sys.executable, "-m", "dask", "scheduler", "--host", host, "--port", "0", *QUICK,
             "--dashboard-address", f"{host}:0", "--scheduler-file", str(place)]
        )  # fmt: skip
        until = time.monotonic() + UP_SECONDS
        while not place.exists() or not place.read_text():
            assert time.monotonic() < until, "the scheduler did not start"
            assert started.poll() is None, "the scheduler has ended"
            time.sleep(0.05)
        self.address = json.loads(place.read_text())["address"]
        return started

    def worker(
        self,
        name: str,
        *,
        host: str = "127.0.0.1",
        inside: Sequence[str] = (),
        environment: Mapping[str, str] = {},  # nobody changes it
        options: Sequence[str] = (),
    ) -> subprocess.Popen[bytes]:
        """Start a worker of one thread."""
        return self._start(
            [*inside, sys.executable, "-m", "dask", "worker", self.address, "--name", name, "--host", host, *WORKER,
             *options],
            environment,
        )  # fmt: skip

    def wait_for_workers(self, count: int) -> None:
        """Until there are so many."""
        from distributed import Client

        with dask.config.set({"distributed.comm.timeouts.connect": "10s"}), Client(self.address) as client:  # type: ignore[no-untyped-call]  # Dask has few types
            client.wait_for_workers(count, timeout=UP_SECONDS)

    def _start(self, command: list[str], environment: Mapping[str, str] = {}) -> subprocess.Popen[bytes]:  # as above
        log = (self.folder / f"program{len(self.programs)}.log").open("wb")
        with log:
            program = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=self.folder,
                env={**self.environment, **environment},
            )  # fmt: skip
        self.programs.append(program)
        return program
