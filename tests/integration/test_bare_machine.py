"""What `make test-bare` and `make test-python` are made of: the clone, the proxy that counts, the machine without
anything, and what is said where it cannot be had.
"""

from __future__ import annotations

import os
import socket
import socketserver
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from development import debian_python
from development.bare_machine import BareMachine, Measured, table
from development.counting_proxy import CountingProxy
from development.working_tree import clone
from tests.integration.process_runs import alive
from tests.integration.test_cli_terminal import wait_for

ANSWER = b"x" * 300_000


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=T", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / ".gitignore").write_text("*.log\n")
    for name in ("kept", "changed", "removed"):
        (folder / name).write_text("committed")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


def test_a_clone_of_a_clean_tree_is_the_commit(repository: Path, tmp_path: Path) -> None:
    taken = clone(repository, tmp_path / "copy")
    assert contents(tmp_path / "copy") == contents(repository)
    assert taken.startswith("commit ")
    assert "not committed" not in taken


def test_a_clone_has_what_is_not_committed_and_nothing_that_git_ignores(repository: Path, tmp_path: Path) -> None:
    (repository / "changed").write_text("not committed")
    (repository / "removed").unlink()
    (repository / "folder").mkdir()
    (repository / "folder" / "new").write_text("new")
    (repository / "ignored.log").write_text("a log")
    taken = clone(repository, tmp_path / "copy")
    expected = contents(repository)
    del expected["ignored.log"]
    assert contents(tmp_path / "copy") == expected
    assert taken.endswith("and 3 changed files that are not committed")


@pytest.fixture
def server() -> Iterator[tuple[str, int]]:
    class Answer(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(100)
            self.request.sendall(ANSWER)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield ("127.0.0.1", running.server_address[1])
        running.shutdown()


def everything(connection: socket.socket) -> bytes:
    found = b""
    while data := connection.recv(65536):
        found += data
    return found


def asked(proxy: CountingProxy, request: str) -> tuple[bytes, socket.socket]:
    connection = socket.create_connection(("127.0.0.1", int(proxy.url.rpartition(":")[2])))
    connection.sendall(request.encode())
    return connection.recv(1000), connection


def test_the_proxy_counts_every_byte_that_comes_back_through_it(
    server: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    monkeypatch.delenv("https_proxy", raising=False)
    with CountingProxy() as proxy:
        for times in (1, 2):
            said, connection = asked(proxy, f"CONNECT {server[0]}:{server[1]} HTTP/1.1\r\n\r\n")
            with connection:
                assert said.startswith(b"HTTP/1.1 200 ")
                connection.sendall(b"go")
                assert everything(connection) == ANSWER
            assert proxy.fetched_bytes == times * len(ANSWER)


def test_the_proxy_goes_through_the_one_that_this_machine_has(
    server: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A proxy that answers what it is asked for, whatever that is.
    monkeypatch.setenv("HTTPS_PROXY", f"http://{server[0]}:{server[1]}")
    with CountingProxy() as proxy:
        said, connection = asked(proxy, "CONNECT no-such-host.invalid:443 HTTP/1.1\r\n\r\n")
        with connection:
            assert said + everything(connection) == ANSWER


def test_the_proxy_says_that_it_cannot_reach_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    monkeypatch.delenv("https_proxy", raising=False)
    with CountingProxy() as proxy:
        said, connection = asked(proxy, "CONNECT 127.0.0.1:1 HTTP/1.1\r\n\r\n")
        connection.close()
        assert said.startswith(b"HTTP/1.1 502 cannot reach 127.0.0.1:1")
        said, connection = asked(proxy, "GET http://example.org/ HTTP/1.1\r\n\r\n")
        connection.close()
        assert said.startswith(b"HTTP/1.1 405 ")


@pytest.fixture
def machine(repository: Path) -> Iterator[BareMachine]:
    # Not below `tmp_path`: pytest lets no other user into its folders.
    with tempfile.TemporaryDirectory() as folder:
        machine = BareMachine(Path(folder))
        machine.take(repository)
        yield machine


def test_a_bare_machine_has_no_compiler_and_an_empty_home(machine: BareMachine) -> None:
    script = "for one in gcc cc c++ g++ clang cmake rustc cargo pip uv; do command -v $one; done; ls -A $HOME; echo end"
    assert machine.run(["bash", "-c", script]) == (0, "end\n")


def test_on_a_bare_machine_python_runs_and_makes_environments(machine: BareMachine) -> None:
    status, said = machine.run(["bash", "-c", "python3 -c 'import venv, sys; print(sys.version_info[0])'"])
    assert (status, said) == (0, "3\n")


def test_on_a_bare_machine_nothing_of_this_process_is_seen_but_the_way_to_the_network(
    machine: BareMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_CERT", "/a/certificate")
    monkeypatch.setenv("PIP_FIND_LINKS", "/wheels")
    monkeypatch.setenv("SECRET", "secret")
    status, said = machine.run(["env"])
    names = {line.partition("=")[0] for line in said.splitlines()}
    assert status == 0
    assert {"PATH", "HOME", "PIP_CERT"} <= names
    assert names.isdisjoint({"PIP_FIND_LINKS", "SECRET"})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_runs_a_bare_machine_as_nobody(machine: BareMachine) -> None:
    assert machine.run(["bash", "-c", "id -un; touch $HOME/mine && echo $?"]) == (0, "nobody\n0\n")


def test_a_command_that_fails_or_does_not_end_as_it_should_is_an_error(machine: BareMachine) -> None:
    with pytest.raises(RuntimeError, match="`false` ended with status 1"):
        machine.measure("false")
    with pytest.raises(RuntimeError, match="`echo one` did not print 'two'"):
        machine.measure("echo", "one", ends_with="two")


def test_no_process_of_a_command_is_left(machine: BareMachine) -> None:
    _, said = machine.run(["bash", "-c", "sleep 100 > /dev/null 2>&1 & echo $!"])
    assert wait_for(lambda: not alive(int(said)))


def test_the_figures_are_a_table() -> None:
    rows = [Measured("make demo", 31.06, 81.14, 46), Measured("make environment", 7.0, 0.0, 180)]
    assert table(rows).splitlines() == [
        "command           seconds  MB fetched  packages",
        "make demo            31.1        81.1        46",
        "make environment      7.0         0.0       180",
    ]


def test_another_debian_needs_root_and_debootstrap_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert debian_python.main(["trixie"]) == 1
    assert capsys.readouterr().err.startswith("test-python: only root may change the root folder: run it as root")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", "/nowhere")
    assert debian_python.main(["trixie"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(
        "test-python: debootstrap is not on this machine. Debian, Ubuntu: apt-get install debootstrap"
    )


def test_what_is_no_suite_is_refused_before_anything_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    assert debian_python.main(["../trixie"]) == 1
    assert "'../trixie' is no release of Debian" in capsys.readouterr().err
