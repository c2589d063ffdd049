"""Nothing that a run has started outlives it, however it ends: programs, what they start, nodes, Python steps' own."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from executor import run
from executor.model.workflow import Step, Workflow
from executor.tools import process_guard
from executor.tools.guard_program import marked
from tests.integration.calling import COMMAND, folder

__all__ = ["folder"]

# Each starts what does not end by itself, known among all else on this machine by its argument.
SCENARIO = """
tools:
  own: {{kind: python, callable: "starting:start"}}
steps:
  - {{step_id: program, tool: command, args: {{argv: [sleep, "{mark}"]}}}}
  - {{step_id: background, tool: command, args: {{argv: [sh, -c, "sleep {mark} & sleep {mark}"]}}}}
  - {{step_id: session, tool: command, args: {{argv: [sh, -c, "setsid sleep {mark} & sleep {mark}"]}}}}
  - {{step_id: node, tool: node, args: {{source: "import os\\ndef main(): os.system('sleep {mark}')"}}}}
  - {{step_id: python, tool: own, args: {{mark: "{mark}"}}}}
  - {{step_id: short, tool: command, args: {{argv: ["true"]}}}}
"""
# As many as there are once all have begun: sh is there beside its sleep, and the node beside its own.
ALL_OF_THEM = 7
STARTING = "import subprocess\ndef start(mark):\n    subprocess.run(['sleep', mark])\n"


def bearing(argument: str) -> list[int]:
    """The processes that have that argument."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if argument.encode() in (place / "cmdline").read_bytes().split(b"\0"):
                found.append(int(place.name))
    return found


def wait_until_gone(argument: str, seconds: float = 20) -> list[int]:
    end = time.monotonic() + seconds
    while (left := bearing(argument)) and time.monotonic() < end:
        time.sleep(0.02)
    return left


@pytest.fixture
def argument() -> Iterator[str]:
    """One that no other process has."""
    found = f"86400.{os.getpid()}{random.randrange(10**9)}"
    yield found
    for pid in bearing(found):
        os.kill(pid, signal.SIGKILL)


def kill_a_run(executor: str, argument: str, folder: Path, *, after: float | None) -> int:
    """Kill a run so many seconds after its first program has begun, or when all have.

    Returns how many there were.
    """
    (folder / "starting.py").write_text(STARTING, encoding="utf-8")
    (folder / "w.yaml").write_text(SCENARIO.format(mark=argument), encoding="utf-8")
    process = subprocess.Popen(
        [*COMMAND, "run", "w.yaml", "-e", executor, "-w", "6", "--no-store", "-q"],
        env={**os.environ, "PYTHONPATH": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 60
        wanted = ALL_OF_THEM if after is None else 1
        while len(bearing(argument)) < wanted and time.monotonic() < end:
            time.sleep(0.005)
        time.sleep(after or 0)
        programs = len(bearing(argument))
    finally:
        process.kill()
        process.wait()
    return programs


@pytest.mark.parametrize("executor", ["threads", "asyncio", "processes"])
def test_a_killed_run_leaves_nothing_of_what_its_steps_started(executor: str, argument: str, folder: Path) -> None:
    assert kill_a_run(executor, argument, folder, after=None) >= ALL_OF_THEM
    assert wait_until_gone(argument) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("executor", ["threads", "asyncio", "processes"])
def test_runs_killed_at_random_instants_leave_nothing(executor: str, argument: str, folder: Path) -> None:
    drawn = random.Random(17)
    programs = 0
    for _ in range(12):
        programs += kill_a_run(executor, argument, folder, after=drawn.choice([0, drawn.uniform(0, 0.2)]))
        assert wait_until_gone(argument) == []
    assert programs > 12
    print(f"{executor}: 12 runs killed, {programs} programs had begun, none was left")


@pytest.mark.parametrize("backend", ["threads", "asyncio"])
def test_what_made_a_session_of_its_own_dies_at_the_timeout_of_its_step(backend: str, argument: str) -> None:
    script = f"setsid sleep {argument} & sleep {argument}"
    step = Step(step_id="a", tool="command", args={"argv": ["sh", "-c", script]}, timeout=0.5)
    done = run(Workflow(workflow_id="w", steps=(step,)), backend=backend, workers=1)
    assert "a" in done.errors
    assert wait_until_gone(argument) == []


def test_a_guard_that_was_killed_is_replaced_and_knows_what_runs(argument: str, folder: Path) -> None:
    script = folder / "program.py"
    script.write_text(
        textwrap.dedent(f"""
        import os, signal, sys, time
        from executor.tools import process_guard
        from executor.tools.child_process import ChildProcess

        def start():
            # Without a mark: only the guard's list knows of it.
            return ChildProcess(
                ["env", "-i", "sleep", "{argument}"], env={{"PATH": os.environ["PATH"]}}, output_limit_bytes=1
            )
        first = start()
        guard = process_guard._programs._guard._process
        os.kill(guard.pid, signal.SIGKILL)
        guard.wait()
        second = start()
        third = start()
        assert process_guard._programs._guard._process.pid != guard.pid
        time.sleep(1)
        print("ready", flush=True)
        time.sleep(60)
        """)
    )
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    assert len(bearing(argument)) == 3
    process.kill()
    process.wait()
    process.stdout.close()
    assert wait_until_gone(argument) == []


def test_the_mark_of_one_program_is_not_the_beginning_of_that_of_another() -> None:
    marks = [process_guard.next_mark() for _ in range(20)]
    assert not [(one, other) for one in marks for other in marks if one is not other and other.startswith(one)]


def test_code_of_steps_is_marked_in_a_block_and_not_after(argument: str) -> None:
    with process_guard.code_guarded():
        started = subprocess.Popen(["sleep", argument])
        assert started.pid in marked(process_guard._programs.mark)
    other = subprocess.Popen(["sleep", argument])
    assert other.pid not in marked(process_guard._programs.mark)
    for process in (started, other):
        process.kill()
        process.wait()


def test_a_program_that_ends_in_peace_ends_its_guard() -> None:
    script = (
        "from executor.tools.child_process import ChildProcess; from executor.tools import process_guard\n"
        "ChildProcess(['true'], env={}, output_limit_bytes=1).run(); print(process_guard._programs._guard._process.pid)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, capture_output=True, text=True)
    assert done.stderr == ""
    command = Path(f"/proc/{int(done.stdout)}/cmdline")
    # It is waited for, but not for long: it may not even have begun.
    end = time.monotonic() + 20
    while is_guard(command) and time.monotonic() < end:
        time.sleep(0.02)
    assert not is_guard(command)


def is_guard(command: Path) -> bool:
    try:
        return b"guard_program" in command.read_bytes()
    except OSError:
        return False
