"""Ctrl-C at the instants at which no command handles it: while the program starts, and while it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

AT_AN_IMPORT = """
import signal, sys
class CtrlC:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[-1]:
            sys.meta_path.remove(self)
            signal.raise_signal(signal.SIGINT)
from harness.program import program
sys.meta_path.insert(0, CtrlC())
sys.argv[1:-1] = ["scenarios"]
program()
"""
AT_THE_END = """
import atexit, os, signal, sys
import harness.cli, harness.program
class Freed:
    def __del__(self, again=signal.raise_signal, number=signal.SIGINT, write=os.write):
        again(number)
        write(1, b"freed")
command = harness.cli.main
def main():
    atexit.register(signal.raise_signal, signal.SIGINT)
    sys.freed = Freed()
    command()
harness.cli.main = main
harness.program.END_SECONDS = float(sys.argv.pop())
harness.program.program()
"""


def program(text: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", text, *arguments],
        check=False, capture_output=True, text=True, cwd=folder, stdin=subprocess.DEVNULL, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("module", ["harness.cli", "typer", "harness.cli.requests.shared"])
def test_ctrl_c_while_the_program_starts_shows_no_traceback(module: str, tmp_path: Path) -> None:
    done = program(AT_AN_IMPORT, module, folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_ctrl_c_while_the_program_ends_changes_nothing(tmp_path: Path) -> None:
    done = program(AT_THE_END, "scenarios", "10", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "three_jokes" in done.stdout
    assert done.stdout.endswith("freed")


def test_ctrl_c_ends_a_program_that_takes_long_to_end(tmp_path: Path) -> None:
    done = program(AT_THE_END, "scenarios", "0", folder=tmp_path)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")
    assert "three_jokes" in done.stdout


def test_the_installed_command_is_that_program() -> None:
    with (Path(__file__).parents[2] / "pyproject.toml").open("rb") as file:
        assert tomllib.load(file)["project"]["scripts"] == {"makespan": "harness.program:program"}
