"""llama.cpp's server, whichever program it comes as, as a child of this process: started, watched, ended.

::

    LocalServer ── one thread: start ─▶ wait for /health ─▶ watch ─▶ (it died: start again on the same port)

Rules of this module:
- It listens on loopback alone, and answers only who knows its key, which is new for each start.
- It ends with its owner: also if that is killed (PR_SET_PDEATHSIG), since its parent is a thread that lives as long.
- One that dies is started again, a few times; a caller that waits meanwhile gets an error that may be retried.
- Its environment is an allow-list: no key of ours reaches it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final

from harness.config import LocalModel
from harness.environment import usable_cores
from harness.local_llm.bound_child import bound_to_this_process
from harness.local_llm.files import find_program, find_weights
from harness.local_llm.local_llm_errors import LocalModelError

RESTARTS: Final = 5
_LOOK_EVERY_SECONDS: Final = 0.05
_GRACE_SECONDS: Final = 3.0
_TAIL_BYTES: Final = 4_000
_LINES_SHOWN: Final = 3
_KEPT_VARIABLES: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
# llama.cpp renames its options: what a program of another version refuses is left out.
_NOT_IN_EVERY_VERSION: Final = ("--no-ui", "--offline", "--slots", "--props")
_REFUSED: Final = re.compile(r"invalid argument: (--[a-z-]+)")
# How a processor says that it cannot do what a program was built for.
_WRONG_PROCESSOR: Final = frozenset({signal.SIGILL, signal.SIGSEGV, signal.SIGBUS})


class LocalServer:
    """``with LocalServer(settings) as server: … server.base_url, server.key``.

    ``port``: a fixed one, else any that is free. ``key``: what requests have to carry; None makes one up, "" asks none.
    """

    def __init__(self, settings: LocalModel | None = None, *, port: int | None = None, key: str | None = None) -> None:
        self.settings = settings or LocalModel()
        self.key = secrets.token_urlsafe(24) if key is None else key
        self.port = port or 0
        self.restarts = 0
        self.slots = self.settings.slots
        self._program = find_program(self.settings.program)
        self._weights = find_weights(self.settings.model)
        self._refused: set[str] = set()
        # Weights laid out anew for matrix units, which not every sandbox lets programs use.
        self._repack = self._program.is_generic or not _has_matrix_units()
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._ready = threading.Event()
        self._closing = threading.Event()
        self._fault: LocalModelError | None = None
        self._thread: threading.Thread | None = None

    @property
    def base_url(self) -> str:
        """What tools call."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def model(self) -> str:
        """The name under which it answers: that of the weights' file."""
        return self._weights.stem.lower()

    @property
    def pid(self) -> int | None:
        """The server's process, for those who watch it."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            LocalModelError: it does not come up.

        """
        self.port = self.port or _free_port()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._thread = threading.Thread(target=self._live, name="makespan-local-llm", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._fault is not None:
            self.close()
            raise self._fault

    def close(self) -> None:
        """End it. Harmless when it is not running."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._log is not None:
            self._log.close()
            self._log = None

    def wait(self) -> None:
        """Wait until it is given up.

        Raises:
            LocalModelError: it died too often.

        """
        while self._thread is not None and self._thread.is_alive():
            self._thread.join(_LOOK_EVERY_SECONDS)
        if self._fault is not None:
            raise self._fault

    def __enter__(self) -> LocalServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------ the thread

    def _live(self) -> None:
        try:
            while not self._closing.is_set():
                self._launch()
                self._wait_until_healthy()
                self._ready.set()
                self._wait_for_its_end()
                if not self._closing.is_set():
                    self._count_a_death()
        except LocalModelError as error:
            self._fault = error
        except OSError as error:
            self._fault = LocalModelError(f"{self._program.name} cannot be started: {error}", "see llm.local.program")
        finally:
            self._stop()
            self._ready.set()

    def _count_a_death(self) -> None:
        self.restarts += 1
        if self.restarts > RESTARTS:
            raise LocalModelError(
                f"{self._program.name} died {self.restarts} times; the last words were: {self._last_words()}",
                "ask it for less at once (llm.local.slots, llm.local.context_tokens), or use another model",
            )

    def _launch(self) -> None:
        settings = self.settings
        threads = settings.threads or max(1, usable_cores() - 1)
        argv = [
            *self._program.argv, "--model", str(self._weights), "--alias", self.model, "--host", "127.0.0.1",
            "--port", str(self.port), "--parallel", str(settings.slots),
            "--ctx-size", str(settings.slots * settings.context_tokens), "--predict", str(settings.max_tokens),
            "--threads", str(threads), "--log-verbosity", "2",
            *(option for option in _NOT_IN_EVERY_VERSION if option not in self._refused),
        ]  # fmt: skip
        if settings.gpu_layers is not None:
            argv += ["--gpu-layers", str(settings.gpu_layers)]
        if not self._repack:
            argv += ["--no-repack"]
        environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        environment |= self._program.environment()
        if self.key:
            # Not among the arguments: those are seen by every user of the machine.
            environment["LLAMA_API_KEY"] = self.key
        self._process = subprocess.Popen(  # noqa: S603 - our own arguments, and no shell
            bound_to_this_process(argv),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )

    def _wait_until_healthy(self) -> None:
        assert self._process is not None
        end = time.monotonic() + self.settings.start_timeout_seconds
        while not self._closing.is_set():
            status = self._process.poll()
            if status is not None:
                if -status in _WRONG_PROCESSOR and self._repack:
                    self._repack = False
                    self._launch()
                    continue
                if self._leaves_out_what_was_refused():
                    self._launch()
                    continue
                if self._ready.is_set():
                    # It was up before: a call that came at once has ended it, perhaps. A death like others.
                    self._count_a_death()
                    self._launch()
                    continue
                raise self._did_not_start(status)
            if self._is_healthy():
                self._read_slots()
                return
            if time.monotonic() > end:
                raise LocalModelError(
                    f"{self._program.name} was not ready within {self.settings.start_timeout_seconds:g} s",
                    "raise llm.local.start_timeout_seconds, or use a smaller model",
                )
            time.sleep(_LOOK_EVERY_SECONDS)

    def _leaves_out_what_was_refused(self) -> bool:
        new = set(_REFUSED.findall(self._log_end())) & set(_NOT_IN_EVERY_VERSION) - self._refused
        self._refused |= new
        return bool(new)

    def _did_not_start(self, status: int) -> LocalModelError:
        if -status in _WRONG_PROCESSOR:
            name = signal.Signals(-status).name
            message = f"{self._program.name} ended with {name}: it was built for another processor"
            return LocalModelError(message, "name one that was built on this machine: llm.local.program")
        return LocalModelError(
            f"{self._program.name} ended with status {status} before it was ready: {self._last_words()}",
            "see that the port is free, and that llm.local.model and its settings fit this machine",
        )

    def _wait_for_its_end(self) -> None:
        assert self._process is not None
        while not self._closing.is_set():
            try:
                self._process.wait(_LOOK_EVERY_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            return

    def _stop(self) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_SECONDS)
                return

    # ------------------------------------------------------------------ what it says

    def _is_healthy(self) -> bool:
        return ask(self.port, "/health", key=self.key) is not None

    def _read_slots(self) -> None:
        properties = ask(self.port, "/props", key=self.key)
        slots = properties.get("total_slots") if isinstance(properties, dict) else None
        if isinstance(slots, int) and slots > 0:
            self.slots = slots

    def _log_end(self) -> str:
        if self._log is None:
            return ""
        # The place in the file belongs to the server as well: it is not moved.
        number = self._log.fileno()
        begin = max(0, os.fstat(number).st_size - _TAIL_BYTES)
        return os.pread(number, _TAIL_BYTES, begin).decode(errors="replace")

    def _last_words(self) -> str:
        lines = [line.strip() for line in self._log_end().splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower()] or lines
        return " / ".join(errors[-_LINES_SHOWN:]).replace(self.key or "\x00", "***") or "none"


def ask(port: int, path: str, *, key: str = "", timeout_seconds: float = 2.0) -> Any:
    """The JSON that a server on loopback answers with 200, else None."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_seconds)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        body = response.read()
        return json.loads(body) if response.status == http.HTTPStatus.OK else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _has_matrix_units() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return " amx_tile" in flags
