"""``makespan dashboards up``: real programs, a real page, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.calling import COMMAND, called, folder, started
from tests.integration.dashboards_runs import bench_folder, benched, stored
from tests.integration.prometheus_server import free_port, require

__all__ = ["bench_folder", "folder"]

PATIENCE_SECONDS = 60.0


@contextmanager
def up(
    folder: Path, *arguments: str, path: str | None = None
) -> Iterator[tuple[subprocess.Popen[str], dict[str, str], Path]]:
    """The command in a process group of its own, once it says that it is up; its addresses by name; what it said."""
    require("prometheus")
    said = folder / "said.txt"
    environment = {**os.environ, **({} if path is None else {"PATH": path})}
    with said.open("w") as output:
        process = subprocess.Popen(
            [
                *COMMAND, "dashboards", "up", "--port", str(free_port()), "--page-port", "0", "--data",
                str(folder / "data"), "--store", str(folder / "runs.sqlite"), *arguments,
            ],
            stdout=output, stderr=output, stdin=subprocess.DEVNULL, text=True, env=environment, start_new_session=True,
        )  # fmt: skip
    try:
        wait_for(said, "Ctrl-C ends it", process)
        lines = [line.partition(": ") for line in said.read_text("utf-8").splitlines()]
        yield process, {name: rest for name, _, rest in lines}, said
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        process.wait(PATIENCE_SECONDS)


def wait_for(said: Path, text: str, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while text not in said.read_text("utf-8"):
        assert process.poll() is None, said.read_text("utf-8")
        assert time.monotonic() < until, said.read_text("utf-8")
        time.sleep(0.1)


def fetched(url: str, data: bytes | None = None, **headers: str) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, data=data, headers=headers)) as answer:
        return bytes(answer.read())


def answers(url: str) -> bool:
    try:
        fetched(url)
    except OSError:
        return False
    return True


def children_of(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8").split()
    return [int(one) for one in listed]


# 127.0.0.1 as the kernel lists it.
LOOPBACK = "0100007F"


def listening_on(port: int) -> set[str]:
    """The addresses on which any process listens at that port."""
    lines = [
        line.split() for family in ("tcp", "tcp6") for line in Path(f"/proc/net/{family}").read_text().splitlines()
    ]
    listening = [fields[1].split(":") for fields in lines if fields[3] == "0A"]
    return {address for address, found in listening if int(found, 16) == port}


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.slow
def test_stored_and_new_runs_are_shown_and_ctrl_c_ends_every_program(bench_folder: Path) -> None:
    with up(bench_folder) as (process, address, said):
        wait_for(said, "sent 2 runs", process)
        (prometheus,) = children_of(process.pid)
        page = address["Preview of the dashboards"]
        assert b"Preview" in fetched(page)
        index = json.loads(fetched(f"{page}dashboards/index.json"))
        assert [one["name"] for one in index["dashboards"]] == ["executors-compared", "one-run", "trends"]
        question = b"query=last_over_time(makespan_run_speedup_ratio[1h])"
        found = json.loads(fetched(f"{page}api/v1/query", question))["data"]["result"]
        speedups = {one["speedup_ratio"]["median"] for document in stored(bench_folder) for one in document["results"]}
        assert {float(one["value"][1]) for one in found} <= speedups
        benched(bench_folder)
        wait_for(said, "sent 1 run,", process)
        done = called(
            "dashboards", "validate", "--url", address["Prometheus"], "--store", str(bench_folder / "runs.sqlite")
        )
        assert done.exit_code == 0, done.output
        assert is_alive(prometheus)
        # As a terminal does: the signal goes to the command's group, and its children have groups of their own.
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == 0
        assert not is_alive(prometheus)
        assert not answers(page)


def test_what_a_supervisor_sends_ends_it_too(tmp_path: Path) -> None:
    with up(tmp_path) as (process, address, _):
        (prometheus,) = children_of(process.pid)
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0
        assert not is_alive(prometheus)
        assert not answers(address["Prometheus"])


def test_everything_listens_on_loopback_alone_and_the_page_answers_no_other_name(tmp_path: Path) -> None:
    with up(tmp_path) as (_, address, _):
        for url in (address["Preview of the dashboards"], address["Prometheus"]):
            assert listening_on(int(url.rstrip("/").rpartition(":")[2])) == {LOOPBACK}
        page = address["Preview of the dashboards"]
        for headers in ({"Host": "evil.example"}, {"Host": ""}):
            with pytest.raises(urllib.error.HTTPError, match="403") as refused:
                fetched(page, **headers)
            refused.value.close()
        for path in ("api/v1/write", "api/v1/admin/tsdb/snapshot", "-/quit"):
            with pytest.raises(urllib.error.HTTPError, match="404") as refused:
                fetched(page + path, b"")
            refused.value.close()
        for path in ("../generate.py", "page/preview.js", "%2e%2e/generate.py", "api/v1/query"):
            with pytest.raises(urllib.error.HTTPError, match="404") as refused:
                fetched(page + path)
            refused.value.close()


def test_a_prometheus_that_ends_by_itself_ends_the_command_with_its_last_words(tmp_path: Path) -> None:
    with up(tmp_path) as (process, _, said):
        (prometheus,) = children_of(process.pid)
        os.kill(prometheus, signal.SIGKILL)
        assert process.wait(PATIENCE_SECONDS) == 2
        assert "Prometheus ended by itself (status -9); it said: " in said.read_text("utf-8")


def test_a_port_in_use_is_told_before_anything_is_started(folder: Path) -> None:
    require("prometheus")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        done = called("dashboards", "up", "--port", port, "--data", "data")
        assert done.exit_code == 2
        assert (
            f"port {port} for Prometheus is in use: end the program that listens there, or take another" in done.output
        )
        done = called("dashboards", "up", "--port", str(free_port()), "--page-port", port, "--data", "data")
        assert done.exit_code == 2
        assert "with --page-port" in done.output
    assert not (folder / "data").exists()


@pytest.mark.slow
def test_a_second_one_on_the_same_data_is_refused(tmp_path: Path) -> None:
    with up(tmp_path) as _:
        done = started(
            "dashboards", "up", "--port", str(free_port()), "--page-port", "0", "--data", str(tmp_path / "data")
        )
    assert done.returncode == 2
    assert "another `makespan dashboards up` uses the folder" in done.stderr


def test_without_prometheus_it_says_how_to_get_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))
    done = called("dashboards", "up")
    assert done.exit_code == 2
    assert "there is no `prometheus` on the PATH. Debian and Ubuntu: apt-get install prometheus" in done.output


GRAFANA = """#!/usr/bin/python3
import http.server, json, os, sys
open(os.environ["SEEN"], "w").write(json.dumps({"arguments": sys.argv[1:], "environment": dict(os.environ)}))
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/api/health" else 404)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(os.environ["GF_SERVER_HTTP_PORT"])), Health).serve_forever()
"""


def test_a_grafana_on_the_path_is_started_on_loopback_with_our_dashboards_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program is a stand-in: what it is started with is what can be seen without a Grafana."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "grafana").write_text(GRAFANA, "utf-8")
    (tmp_path / "bin" / "grafana").chmod(0o755)
    monkeypatch.setenv("SEEN", str(tmp_path / "seen.json"))
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    with up(tmp_path, "--grafana-port", str(free_port()), path=path) as (process, address, _):
        assert len(children_of(process.pid)) == 2
        assert answers(address["Grafana"] + "/api/health")
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == 0
        assert not answers(address["Grafana"] + "/api/health")
    seen: dict[str, Any] = json.loads((tmp_path / "seen.json").read_text("utf-8"))
    assert seen["arguments"][0] == "server"
    assert seen["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    provisioning = Path(seen["environment"]["GF_PATHS_PROVISIONING"])
    assert address["Prometheus"] in (provisioning / "datasources" / "makespan.yaml").read_text("utf-8")
    assert "grafana/own" in (provisioning / "dashboards" / "makespan.yaml").read_text("utf-8")
