"""Too few processes, threads or descriptors: an exit status of 2 before the run, or a step's failure, with words."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from executor import run
from executor.model.workflow import Retry, Step, Workflow
from executor.shortages import shortage
from executor.tools.node_parent import NodeChannel
from tests.integration.calling import COMMAND, folder

__all__ = ["folder"]

PROGRAMS = """
steps:
  - {step_id: a, tool: command, args: {argv: [sleep, "0.1"]}}
  - {step_id: b, tool: command, args: {argv: [sleep, "0.1"]}}
  - {step_id: c, tool: node, args: {source: "def main(): return 1"}}
"""
# As another user, since root may have as many as it likes; it may still read where the interpreter lies.
CAPABILITIES = "-all,+dac_override"
ANOTHER_USER = [
    "setpriv", "--reuid", "{user}", "--clear-groups", "--inh-caps", CAPABILITIES, "--ambient-caps", CAPABILITIES,
    "--bounding-set", CAPABILITIES,
]  # fmt: skip


def limited(kind: str, most: int, executor: str, user: int = 64_999) -> tuple[int, str]:
    as_user = [part.format(user=user) for part in ANOTHER_USER] if kind == "nproc" else []
    command = [*as_user, "prlimit", f"--{kind}={most}", *COMMAND, "run", "programs.yaml", "-e", executor, "-w", "3"]
    done = subprocess.run([*command, "--no-store", "-q"], check=False, capture_output=True, text=True, timeout=100)
    return done.returncode, done.stdout + done.stderr


def judge(code: int, text: str) -> None:
    assert "internal error" not in text
    assert "Traceback" not in text
    # Before the run, of a step, or there was enough.
    assert code in (0, 1, 2), text
    if code:
        assert ("ulimit" in text) == ("No usable temporary directory" not in text), text


@pytest.fixture
def programs(folder: Path) -> Path:
    folder.chmod(0o777)
    (folder / "programs.yaml").write_text(PROGRAMS, encoding="utf-8")
    return folder


needs_root = pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("setpriv") is None, reason="to become a user with few processes takes root"
)


@needs_root
def test_a_user_who_may_start_no_thread_is_told_so_before_the_run(programs: Path) -> None:
    code, text = limited("nproc", 1, "threads")
    assert code == 2, text
    assert "there may be no more processes or threads; see `ulimit -u`" in text
    judge(code, text)


@needs_root
@pytest.mark.slow
@pytest.mark.parametrize("executor", ["threads", "processes", "asyncio"])
@pytest.mark.parametrize("most", [1, 2, 3, 4, 5, 6, 8])
def test_few_processes_are_told_by_the_run_or_by_its_steps(most: int, executor: str, programs: Path) -> None:
    judge(*limited("nproc", most, executor, user=65_000 + most))


@pytest.mark.parametrize("executor", ["processes", "asyncio"])
def test_too_few_descriptors_are_told(executor: str, programs: Path) -> None:
    code, text = limited("nofile", 8, executor)
    assert code == (2 if executor == "processes" else 1), text
    judge(code, text)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["threads", "processes", "asyncio"])
@pytest.mark.parametrize("most", [6, 7, 10, 14, 20, 26, 32])
def test_few_descriptors_are_told_by_the_run_or_by_its_steps(most: int, executor: str, programs: Path) -> None:
    judge(*limited("nofile", most, executor))


@pytest.fixture
def many_files_open() -> Iterator[None]:
    """More than 1,024, beyond which select() fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2_000:
        pytest.skip("this machine allows no more than 1,024 open files, so that no number can be that high")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2_000), hard))
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(1_100)]
    try:
        yield
    finally:
        for number in opened:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files_open")
@pytest.mark.parametrize("backend", ["threads", "processes", "asyncio"])
def test_a_run_with_deadlines_works_where_more_than_1024_files_are_open(backend: str) -> None:
    steps = (
        Step(step_id="late", tool="command", args={"argv": ["sleep", "9"]}, timeout=0.2),
        Step(
            step_id="again",
            tool="flaky",
            args={"fail_times": 1, "seconds": 0},
            retry=Retry(max_attempts=2, backoff_seconds=0.01),
        ),
        Step(step_id="node", tool="node", args={"source": "def main(): return 3"}),
    )
    done = run(Workflow(workflow_id="w", steps=steps), backend=backend, workers=2)
    assert done.outputs["node"] == 3
    # The tool ends itself at the same instant as the deadline of the run.
    assert done.errors["late"].error_type in ("Timeout", "ToolTimeoutError")


def test_no_thread_for_a_replacement_leaves_the_run_to_the_workers_that_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "makespan-thread-3":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    steps = (
        Step(step_id="stuck", tool="sleep", args={"seconds": 0.5}, timeout=0.05),
        *(Step(step_id=f"s{number}", tool="noop", prompt="done") for number in range(20)),
    )
    done = run(Workflow(workflow_id="w", steps=steps), backend="threads", workers=2)
    assert [done.outputs[f"s{number}"] for number in range(20)] == ["done"] * 20


def test_only_shortages_are_called_so() -> None:
    assert shortage(RuntimeError("can't start new thread")) is not None
    assert shortage(OSError(24, "Too many open files")) is not None
    assert shortage(BlockingIOError(11, "Resource temporarily unavailable")) is not None
    assert shortage(FileNotFoundError(2, "No such file or directory")) is None
    assert shortage(RuntimeError("dictionary changed size")) is None


def receiving(lines: int, line_bytes: int) -> float:
    """CPU seconds for taking in so many lines of one message, whose last byte is a fault."""
    channel: Any = NodeChannel("source", "", 1 << 30)
    data = (b"x" * line_bytes + b"\n") * lines
    place = memoryview(data)

    class Pipe:
        def recv(self, size: int) -> bytes:
            nonlocal place
            if not place:
                raise BlockingIOError
            piece, place = bytes(place[:size]), place[size:]
            return piece

    channel.close()
    channel._ours = Pipe()
    channel._take = lambda line: None
    began = time.process_time()
    assert channel.receive()
    return time.process_time() - began


def test_a_long_line_of_a_node_costs_as_much_as_many_short_ones() -> None:
    ratios = sorted(receiving(1, 24_000_000) / receiving(240, 100_000) for _ in range(3))
    # It was over 100 when every piece had the whole line copied.
    assert ratios[0] < 10
