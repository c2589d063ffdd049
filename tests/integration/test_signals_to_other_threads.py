"""Signals that another thread takes are heard, too.

The kernel may give a signal to any thread, and one that comes just before the main thread begins to wait is the same:
CPython notes it, and the main thread carries out its handler when it waits no longer. Here each signal is sent to
another thread, which makes that certain.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.child_programs import Program
from tests.integration.calling import COMMAND, folder, the_result
from tests.integration.test_cli_terminal import SLEEPER, sleeping, wait_for

__all__ = ["folder"]


def send_to_another_thread(pid: int, number: signal.Signals) -> None:
    others = [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir() if int(task.name) != pid]
    assert others, "it has no other thread"
    assert ctypes.CDLL(None, use_errno=True).tgkill(pid, others[0], int(number)) == 0, os.strerror(ctypes.get_errno())


@pytest.mark.parametrize("executor", ["serial", "threads", "processes", "asyncio"])
def test_a_run_is_interrupted(executor: str, folder: Path) -> None:
    (folder / "w.yaml").write_text(SLEEPER, encoding="utf-8")
    command = [*COMMAND, "run", "w.yaml", "-e", executor, "--json", "out.json", "--no-store"]
    with Program(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        assert wait_for(lambda: sleeping(process.pid))
        send_to_another_thread(process.pid, signal.SIGTERM)
        stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in stdout
    steps = the_result((folder / "out.json").read_text(encoding="utf-8"))["steps"]
    assert [step["status"] for step in steps] == ["succeeded", "cancelled", "cancelled"]


def test_a_recording_of_services_ends(folder: Path) -> None:
    command = [*COMMAND, "record", "--listen", "--port", "0", "--no-store"]
    with Program(command, stderr=subprocess.PIPE, text=True) as listening:
        assert listening.stderr is not None
        while not listening.stderr.readline().startswith("Ctrl-C ends it"):
            pass
        send_to_another_thread(listening.pid, signal.SIGINT)
        _, said = listening.communicate(timeout=60)
    assert listening.returncode == 0, said
    assert "0 spans came." in said


def test_a_recorded_program_gets_what_its_recorder_is_sent(folder: Path) -> None:
    program = "import sys, time; print('ready', flush=True); time.sleep(60)"
    command = [*COMMAND, "record", "--no-store", "--", sys.executable, "-c", program]
    with Program(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as recording:
        assert recording.stdout is not None
        assert recording.stdout.readline() == "ready\n"
        send_to_another_thread(recording.pid, signal.SIGTERM)
        recording.communicate(timeout=30)
    assert recording.returncode == 128 + signal.SIGTERM


IN_A_LOOP = """
import asyncio
from executor import Interrupted, Step, Workflow, run

async def main():
    print("ready", flush=True)
    return run(Workflow(steps=(Step(step_id="slow", tool="sleep", args={"seconds": 60}),)))

try:
    asyncio.new_event_loop().run_until_complete(main())
except Interrupted as interrupted:
    print(interrupted.run.statuses)
"""


def test_a_run_within_a_running_event_loop_is_interrupted(folder: Path) -> None:
    with Program([sys.executable, "-c", IN_A_LOOP], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert wait_for(lambda: len(list(Path(f"/proc/{process.pid}/task").iterdir())) > 1)
        send_to_another_thread(process.pid, signal.SIGINT)
        stdout, _ = process.communicate(timeout=30)
    assert stdout == "{'slow': 'cancelled'}\n"
