"""The programs that `dashboards up` starts: each in a process group of its own, ended when it ends.

Rules of this module:
- No shell. What a program prints goes to a log file; where it fails, the end of that is part of the message.
- A port that is in use is found before a program is started: what it would print is of no help.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import httpx

_STARTING_SECONDS: Final = 60.0
_STOPPING_SECONDS: Final = 15.0
_LOG_SHOWN: Final = 600


class ChildError(Exception):
    """A program that does not start, or ended by itself. The message says why and what to do."""


class Child:
    """A program that runs. Make it with :func:`started`."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @property
    def pid(self) -> int:
        """Its process, and its process group."""
        return self._process.pid

    def check(self) -> None:
        """See that it still runs.

        Raises:
            ChildError: it ended.

        """
        code = self._process.poll()
        if code is not None:
            raise ChildError(f"{self.name} ended by itself (status {code}); it said: {last_words(self.log)}")

    def stop(self) -> None:
        """End it and what it started; asked first, then made to."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOPPING_SECONDS)
                return


def check_port(port: int, what: str, option: str) -> None:
    """See that no server listens on that port of loopback.

    Raises:
        ChildError: one does.

    """
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            why = "is in use" if error.errno in (98, 48) else f"cannot be used ({error.strerror})"
            raise ChildError(
                f"port {port} for {what} {why}: end the program that listens there, or take another port with {option}"
            ) from error


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """No other process uses the folder meanwhile: two Prometheus on one folder damage what is in it.

    Raises:
        ChildError: another does, or it cannot be written.

    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / "up.lock").open("w")
    except OSError as error:
        raise ChildError(f"the folder {str(folder)!r} cannot be used: {error.strerror or error}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ChildError(
                f"another `makespan dashboards up` uses the folder {str(folder)!r}: end it, or take another folder "
                "with --data"
            ) from error
        yield


def started(
    name: str, command: Sequence[str], log: Path, ready_url: str, *, environment: Mapping[str, str] | None = None
) -> Child:
    """Start a program, and wait until its address answers.

    Raises:
        ChildError: it does not start.

    """
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - no shell; the program is one that was found on the PATH
                list(command), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                env=None if environment is None else {**os.environ, **environment},
            )  # fmt: skip
    except OSError as error:
        raise ChildError(f"{name} cannot be started: {error.strerror or error}") from error
    child = Child(name, process, log)
    try:
        _wait_until_ready(child, ready_url)
    except BaseException:
        child.stop()
        raise
    return child


def last_words(log: Path) -> str:
    """The end of a log, on one line."""
    try:
        text = log.read_text("utf-8", errors="replace")
    except OSError:
        return "nothing that can be read"
    return " ".join(text.split())[-_LOG_SHOWN:] or "nothing"


def _wait_until_ready(child: Child, url: str) -> None:
    deadline = time.monotonic() + _STARTING_SECONDS
    with httpx.Client(timeout=2.0, trust_env=False) as client:
        while time.monotonic() < deadline:
            child.check()
            with contextlib.suppress(httpx.HTTPError):
                if client.get(url).is_success:
                    return
            time.sleep(0.1)
    raise ChildError(f"{child.name} did not answer within {_STARTING_SECONDS:g} s; it said: {last_words(child.log)}")
