"""A real Prometheus (Debian's package) on a free loopback port, with an empty data folder that goes with it.

``own`` is started as documented for the profile `own`; ``shared`` has the flags that come by default.
"""

from __future__ import annotations

import json
import random
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.telemetry.prometheus.server_flags import prometheus_arguments, prometheus_config
from tests.missing import program

STARTING_SECONDS = 30.0
STOPPING_SECONDS = 15.0


@dataclass(frozen=True)
class PrometheusServer:
    """A running server and what can be asked of it."""

    url: str
    folder: Path

    def api(self, path: str, **parameters: str) -> Any:
        """The ``data`` of an API answer."""
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}") as answer:
            found = json.load(answer)
        assert found["status"] == "success", found
        return found["data"]

    def query(self, promql: str, *, at: float | None = None) -> list[dict[str, Any]]:
        """The result of an instant query."""
        when = {} if at is None else {"time": f"{at:.3f}"}
        return list(self.api("query", query=promql, **when)["result"])

    def query_range(self, promql: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """The result of a range query."""
        found = self.api(
            "query_range", query=promql, start=f"{start:.3f}", end=f"{end:.3f}", step=f"{step:.3f}"
        )  # fmt: skip
        return list(found["result"])

    def exemplars(self, promql: str, start: float, end: float) -> list[dict[str, Any]]:
        """The exemplars of the series in a time."""
        return list(self.api("query_exemplars", query=promql, start=f"{start:.3f}", end=f"{end:.3f}"))

    def everything(self, matcher: str = '{__name__=~"makespan_.*"}') -> dict[str, list[tuple[float, str]]]:
        """Every raw sample of the last three years: series to (seconds, value) in order of time."""
        found = self.query(f"{matcher}[3y]")
        return {
            json.dumps(one["metric"], sort_keys=True): [(float(at), str(value)) for at, value in one["values"]]
            for one in found
        }


def free_port() -> int:
    """A port without a listener, and none that the kernel gives to whoever asks for any: no other program has it by the
    time that the one it is meant for listens.
    """
    lowest_given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    candidates = range(min(10_000, lowest_given - 1_000), lowest_given)
    while True:
        port = random.SystemRandom().choice(candidates)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


def require(name: str) -> str:
    """The path of a program of Prometheus, else the test does not run."""
    return program(name, "prometheus")


@contextmanager
def running_prometheus(
    folder: Path,
    *,
    profile: str = "own",
    config: str | None = None,
    arguments: Sequence[str] = (),
    port: int | None = None,
) -> Iterator[PrometheusServer]:
    """Start one, wait until it answers, and stop it at the end. ``config`` replaces the documented configuration,
    ``arguments`` the flags of the same names.
    """
    server_program = require("prometheus")
    port = free_port() if port is None else port
    folder.mkdir(parents=True, exist_ok=True)
    config_file = folder / "prometheus.yml"
    if profile == "own":
        config_file.write_text(prometheus_config() if config is None else config, encoding="utf-8")
        flags = prometheus_arguments(config_file, folder / "data", port=port)
    else:
        config_file.write_text("global: {}\n" if config is None else config, encoding="utf-8")
        flags = [
            f"--config.file={config_file}", f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]  # fmt: skip
    # A flag may be there once.
    given = {one.partition("=")[0] for one in arguments}
    flags = [*(one for one in flags if one.partition("=")[0] not in given), *arguments]
    log = folder / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen([server_program, *flags], stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        server = PrometheusServer(f"http://127.0.0.1:{port}", folder)
        _wait_until_ready(server, process, log)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(STOPPING_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(server: PrometheusServer, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + STARTING_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{server.url}/-/ready", timeout=1):
                return
        except (OSError, urllib.error.URLError):
            time.sleep(0.05)
    pytest.fail(f"Prometheus did not start:\n{log.read_text(errors='replace')[-3000:]}")


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """One server of the profile `own` for all tests of the session: look only at series of your own scenario."""
    with running_prometheus(tmp_path_factory.mktemp("prometheus")) as server:
        yield server


@pytest.fixture
def empty_prometheus(tmp_path: Path) -> Iterator[PrometheusServer]:
    """A server of the profile `own` that holds nothing."""
    with running_prometheus(tmp_path / "prometheus") as server:
        yield server
