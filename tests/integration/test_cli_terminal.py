"""Signals, terminals, pipes: the command among the other programs."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.integration.calling import COMMAND, called, folder, started, the_result
from tests.integration.test_programs_left import bearing

__all__ = ["folder"]

SLEEPER = """
steps:
  - {step_id: quick, tool: noop, prompt: finished early}
  - {step_id: long, tool: command, args: {argv: [sleep, "60.25"]}, depends_on: [quick]}
  - {step_id: after, tool: noop, depends_on: [long]}
"""


def children_of(pid: int) -> set[int]:
    # `ps` is no part of the smallest Debian.
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def wait_for(condition: Any, seconds: float = 30.0) -> Any:
    end = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return value


def sleeping(pid: int) -> set[int]:
    return children_of(pid) & set(bearing("60.25"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("executor", ["serial", "threads", "processes", "asyncio"])
def test_an_interrupt_keeps_what_was_finished_and_leaves_no_child(
    executor: str, number: signal.Signals, folder: Path
) -> None:
    (folder / "w.yaml").write_text(SLEEPER, encoding="utf-8")
    process = subprocess.Popen(
        [*COMMAND, "run", "w.yaml", "-e", executor, "--json", "out.json"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert wait_for(lambda: sleeping(process.pid))
    children = children_of(process.pid)
    process.send_signal(number)
    # Who stops a program often signals it twice, by its number and by its group.
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stdout + stderr
    assert "finished early" in stdout
    assert "interrupted" in stdout
    assert "Traceback" not in stderr
    statuses = {
        step["step_id"]: step["status"]
        for step in the_result((folder / "out.json").read_text(encoding="utf-8"))["steps"]
    }
    assert statuses == {"quick": "succeeded", "long": "cancelled", "after": "cancelled"}
    assert wait_for(lambda: not [child for child in children if Path(f"/proc/{child}").exists()])


@pytest.mark.slow
def test_a_command_in_the_background_of_a_script_is_terminated_in_order(folder: Path) -> None:
    (folder / "w.yaml").write_text(SLEEPER, encoding="utf-8")
    # A shell without job control has such commands ignore SIGINT.
    script = f"{shlex.join([*COMMAND, 'run', 'w.yaml', '--json', 'out.json'])} & echo $!; wait $!; echo status $?"
    process = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    command = int(process.stdout.readline())
    assert wait_for(lambda: sleeping(command))
    os.kill(command, signal.SIGINT)
    os.kill(command, signal.SIGTERM)
    stdout, _ = process.communicate(timeout=60)
    assert stdout.endswith("status 130\n")
    assert "interrupted" in stdout
    steps = the_result((folder / "out.json").read_text(encoding="utf-8"))["steps"]
    assert [step["status"] for step in steps] == ["succeeded", "cancelled", "cancelled"]


def on_a_terminal(*arguments: str, **environment: str) -> tuple[int, str]:
    """The command with a terminal of its own: exit status, and what it wrote to it."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
        env={**{k: v for k, v in os.environ.items() if k != "NO_COLOR"}, "TERM": "xterm-256color", **environment},
    )
    os.close(terminal)
    text = b""
    try:
        while select.select([controller], [], [], 60)[0]:
            piece = os.read(controller, 65536)
            if not piece:
                break
            text += piece
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(controller)
    return process.wait(), text.decode(errors="replace")


def test_on_a_terminal_there_is_a_live_status_with_colour(folder: Path) -> None:
    code, text = on_a_terminal("run", "joke.yaml", "--set", "scale=0.1")
    assert code == 0
    assert "runs for" in text
    assert "waits for step 'joke'" in text
    assert re.search(r"\x1b\[[0-9;]*32m", text)
    assert "Executing 2 steps in parallel:" in text


@pytest.mark.slow
def test_a_benchmark_on_a_terminal_draws_its_speedups_once_the_progress_is_gone(folder: Path) -> None:
    code, text = on_a_terminal("bench", "joke.yaml", "-n", "2", "-e", "threads", "-w", "2", "--no-store")
    assert code == 0
    progress, _, summary = text.partition("Benchmark of joke")
    assert "runs done" in progress
    assert "runs done" not in summary
    assert "Speedup over one step at a time" in summary
    assert "Where the makespan of" in summary
    assert "█" in summary


def test_no_color_takes_the_colour_and_leaves_the_status(folder: Path) -> None:
    _, text = on_a_terminal("run", "joke.yaml", "--set", "scale=0.1", NO_COLOR="1")
    assert "runs for" in text
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", text)


def test_a_dumb_terminal_gets_plain_lines(folder: Path) -> None:
    _, text = on_a_terminal("run", "joke.yaml", TERM="dumb")
    assert "Executing 2 steps in parallel:" in text
    assert "\x1b" not in text


def test_a_stream_that_cannot_show_a_character_stops_nothing(folder: Path) -> None:
    done = started("run", "joke.yaml", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
    assert "Summary of joke" in done.stdout


def test_a_reader_that_goes_away_stops_no_run_and_loses_no_document(folder: Path) -> None:
    command = " ".join([*COMMAND, "run", "joke.yaml", "--json", "out.json", "|", "head", "-n", "1"])
    done = subprocess.run(["bash", "-c", command], check=False, capture_output=True, text=True)
    assert done.stdout == "Workflow Plan (3 steps):\n"
    assert done.stderr == ""
    result = the_result((folder / "out.json").read_text(encoding="utf-8"))
    assert [step["status"] for step in result["steps"]] == ["succeeded"] * 3


def test_an_internal_error_is_named_as_one_and_debug_shows_where(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object, **_options: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr("harness.cli.run.load", broken)
    done = called("run", "joke.yaml")
    assert done.exit_code == 1
    assert "internal error: ZeroDivisionError: planted" in done.stderr
    assert "Please report it" in done.stderr
    assert "Traceback" not in done.stderr
    monkeypatch.setenv("MAKESPAN_DEBUG", "1")
    assert "Traceback" in called("run", "joke.yaml").stderr
