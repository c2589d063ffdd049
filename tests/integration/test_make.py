"""``make demo`` on machines where something is wrong: it ends with one line that says what, and what to do; and where
nothing is wrong any more, a second try works.

Each fault is really made: no network is a proxy at a closed port, a login page is a server that answers everything
with HTML, a full disk is a small file system of its own.
"""

from __future__ import annotations

import http.server
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from development.bare_machine import NETWORK
from development.working_tree import clone
from tests.child_programs import Program
from tests.integration.prometheus_server import free_port
from tests.missing import not_here

ROOT = Path(__file__).resolve().parents[2]
# The interpreter itself, not that of the environment in which the tests run.
PYTHON = os.path.realpath(sys.executable)
PATIENCE_SECONDS = 300.0
SUMMARY = "Summary of joke_translations"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What is looked at before anything is installed."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "development", folder / "development")
    return folder


@pytest.fixture
def whole_checkout(tmp_path: Path) -> Path:
    clone(ROOT, tmp_path / "whole")
    return tmp_path / "whole"


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """What a user's shell has: nothing of the environment in which the tests run but the way to the network."""
    kept = {name: os.environ[name] for name in (*NETWORK, "HTTPS_PROXY", "HOME") if name in os.environ}
    return {**kept, "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHON": PYTHON, "UV": "", **more}


def make_demo(
    folder: Path, *, prefix: Sequence[str] = (), user: int | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, "make", "demo"], cwd=folder, env=environment(more), capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL, timeout=PATIENCE_SECONDS, user=user,
    )  # fmt: skip


def fault(done: subprocess.CompletedProcess[str]) -> str:
    """The one line, without the name before it. Make's own word on it comes last."""
    assert done.returncode != 0
    *before, line, last = done.stderr.splitlines()
    assert before == []
    assert re.fullmatch(r"make: \*\*\* \[.*\] Error 1", last)
    assert line.startswith("makespan: ")
    assert "Traceback" not in done.stdout
    return line.removeprefix("makespan: ")


class LoginPage(http.server.BaseHTTPRequestHandler):
    """Answers whatever it is asked with a page in which one logs in."""

    def answer(self) -> None:
        page = b"<!DOCTYPE html><html><body><form>Log in to this network</form></body></html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    do_GET = do_HEAD = do_CONNECT = answer  # noqa: N815 - so the base class calls them

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - so the base class names it
        """It is not read."""


@pytest.fixture
def login_page() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), LoginPage)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_python_that_is_too_old_is_named(checkout: Path, tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\necho 9\n", encoding="utf-8")
    old.chmod(0o755)
    assert (
        fault(make_demo(checkout, PYTHON=str(old))) == f"PYTHON={old} is too old: makespan needs Python 3.11 or newer."
    )


def test_a_python_that_is_not_there_is_named(checkout: Path) -> None:
    said = fault(make_demo(checkout, PYTHON="python3.77"))
    assert said == "PYTHON=python3.77 cannot be run: name an interpreter of Python 3.11 or newer."


def test_where_no_python_is_it_says_which_were_looked_for_and_how_to_get_one(checkout: Path, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("make", "bash", "sh", "dirname", "awk", "cksum", "nproc"):
        (programs / name).symlink_to(shutil.which(name) or "")
    said = fault(make_demo(checkout, PYTHON="", PATH=str(programs)))
    assert said.startswith(
        "no Python 3.11 or newer on the PATH (looked for: python3.11 python3.12 python3.13 python3.14"
    )
    assert "apt-get install python3 python3-venv" in said


def test_a_python_without_its_venv_package_is_told_how_to_get_it(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "ensurepip.py").write_text("raise ImportError", encoding="utf-8")
    said = fault(make_demo(checkout, PYTHONPATH=str(tmp_path)))
    assert said.endswith("Debian, Ubuntu: apt-get install python3-venv, then run `make demo` again.")
    assert not (checkout / ".venv").exists()


def test_a_folder_that_cannot_be_written_to_is_named(checkout: Path) -> None:
    checkout.chmod(0o555)
    if os.geteuid() == 0:
        # Root may write anywhere; another user has to get as far as the folder first.
        shutil.copytree(checkout, elsewhere := Path(tempfile.mkdtemp()) / "checkout")
        elsewhere.parent.chmod(0o755)
        checkout = elsewhere
    try:
        said = fault(make_demo(checkout, user=pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None, PYTHON=""))
    finally:
        checkout.chmod(0o755)
        if os.geteuid() == 0:
            shutil.rmtree(checkout.parent)
    assert said == f"{checkout} cannot be written to: copy it to a place of your own, and run `make demo` there."


def test_a_folder_of_that_name_that_is_no_environment_is_left_alone(checkout: Path) -> None:
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "diary.txt").touch()
    said = fault(make_demo(checkout))
    assert said == ".venv is there and holds no Python environment: move it away, then run `make demo` again."
    assert (checkout / ".venv" / "diary.txt").exists()


def test_targets_keep_compiled_modules_also_where_the_environment_forbids_it(checkout: Path) -> None:
    done = subprocess.run(
        ["make", "--eval", "what-is-compiled: ; @$(PYTHON) -c 'import sys; print(sys.dont_write_bytecode)'",
         "what-is-compiled"],
        cwd=checkout, env=environment({"PYTHONDONTWRITEBYTECODE": "1"}), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "False\n"


@pytest.mark.slow
def test_without_a_network_it_says_so_and_leaves_nothing_half_made(checkout: Path) -> None:
    said = fault(make_demo(checkout, HTTPS_PROXY=f"http://127.0.0.1:{free_port()}"))
    assert said == "the package index cannot be reached: check the network, or HTTPS_PROXY, then run `make demo` again."
    assert not (checkout / ".venv").exists()


@pytest.mark.slow
def test_a_proxy_that_answers_with_a_page_is_recognised(checkout: Path, login_page: str) -> None:
    said = fault(make_demo(checkout, HTTPS_PROXY=login_page))
    assert said.startswith("something that is no package index answers in its place, as a proxy or a login page does")


@pytest.mark.slow
def test_an_index_that_answers_with_a_page_is_recognised(checkout: Path, login_page: str) -> None:
    said = fault(make_demo(checkout, PIP_INDEX_URL=f"{login_page}/simple"))
    assert said.startswith("the package index does not answer with the package asked for: a proxy or a login page")


@pytest.mark.parametrize(
    ("name", "said_first"),
    [("HTTPS_PROXY", "something that is no package index answers"), ("UV_DEFAULT_INDEX", "the package index does not")],
)
def test_uv_is_understood_as_well(checkout: Path, login_page: str, name: str, said_first: str) -> None:
    uv = str(Path(sys.executable).with_name("uv"))
    assert fault(make_demo(checkout, UV=uv, **{name: login_page})).startswith(said_first)


@pytest.mark.slow
def test_a_full_disk_is_named_with_what_is_free(checkout: Path) -> None:
    # Space for the checkout, and for half of an environment.
    mount = 'mount -t tmpfs -o size=8m tmpfs "$0" && cp -r "$1"/. "$0" && cd "$0" && exec "${@:2}"'
    place = checkout.parent / "small"
    place.mkdir()
    alone = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    if subprocess.run([*alone, "true"], check=False, capture_output=True).returncode != 0:
        not_here("a file system of one's own", "run the tests as root")
    done = make_demo(checkout, prefix=[*alone, "bash", "-c", mount, str(place), str(checkout)])
    assert re.match(r"the disk is full \(\d+ MB free here, \d+ MB in /tmp\): free about a gigabyte", fault(done))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_second_try_works_whatever_ended_the_first(whole_checkout: Path) -> None:
    with Program(
        ["make", "demo"], cwd=whole_checkout, env=environment({}), stdout=subprocess.DEVNULL, start_new_session=True
    ) as first:
        until = time.monotonic() + PATIENCE_SECONDS
        while not list((whole_checkout / ".venv").glob("lib/*/site-packages/pip")) and time.monotonic() < until:
            time.sleep(0.05)
        os.killpg(first.pid, signal.SIGKILL)
    second = make_demo(whole_checkout)
    assert second.returncode == 0, second.stderr
    assert second.stdout.startswith("Removing .venv, which is half-made")
    assert SUMMARY in second.stdout
    third = make_demo(whole_checkout)
    assert third.stdout.startswith("Workflow Plan")
    # What it lost by itself is put back.
    (whole_checkout / ".venv" / "bin" / "makespan").unlink()
    assert SUMMARY in make_demo(whole_checkout).stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_pip_and_uv_install_the_same_versions_and_none_that_is_not_locked(whole_checkout: Path) -> None:
    listed = (
        "import importlib.metadata as m; print(*sorted(f'{d.name}=={d.version}' for d in m.distributions()), sep='\\n')"
    )
    found = {}
    for uv in ("", str(Path(sys.executable).with_name("uv"))):
        shutil.rmtree(whole_checkout / ".venv", ignore_errors=True)
        done = make_demo(whole_checkout, UV=uv)
        assert SUMMARY in done.stdout, done.stderr
        assert ("and uv" in done.stdout) == bool(uv)
        python = whole_checkout / ".venv" / "bin" / "python"
        lines = subprocess.run([python, "-I", "-c", listed], check=True, capture_output=True, text=True).stdout.split()
        found[uv] = {line for line in lines if line.partition("==")[0] not in {"pip", "setuptools", "makespan"}}
    with_pip, with_uv = found.values()
    assert with_pip == with_uv
    assert with_pip <= set((ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines())
