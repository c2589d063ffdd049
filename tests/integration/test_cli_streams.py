"""Standard streams that are closed, full or not what they should be stop no work, and are reported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
import typer.main

from development.documentation.command_line_page import commands_of
from harness.cli import app
from harness.files.standard_streams import SteadyFile
from tests.integration.calling import COMMAND, called, folder, the_result

__all__ = ["folder"]

ROOT = Path(__file__).parents[2]
# Each command so that it ends at once and well; those that would serve or fetch show their help.
COMMANDS: dict[str, list[str]] = {
    "--help": ["--help"],
    "--version": ["--version"],
    "a wrong option": ["run", "--nonsense"],
    "a missing file": ["run", "missing.yaml"],
    "run": ["run", "joke.yaml"],
    "run --json -": ["run", "joke.yaml", "--json", "-"],
    "bench": ["bench", "joke.yaml", "-n", "1", "-e", "virtual", "-w", "2"],
    "analyze": ["analyze", "trace.json"],
    "simulate": ["simulate", "joke.yaml"],
    "history": ["history"],
    "history --json -": ["history", "--json", "-"],
    "compare": ["compare", "@last", "@last"],
    "report": ["report", "@last", "-o", "report.html"],
    "report -o -": ["report", "@last", "-o", "-"],
    "plan": ["plan", "joke.yaml"],
    "plan --save -": ["plan", "joke.yaml", "--save", "-"],
    "scenarios": ["scenarios"],
    "tools": ["tools"],
    "executors": ["executors"],
    "doctor": ["doctor"],
    "fuzz": ["fuzz", "--dags", "3", "--seed", "1", "--jobs", "1"],
    "record": ["record", "-h"],
    "workloads list": ["workloads", "list"],
    "workloads make": ["workloads", "make", "trivial", "--width", "2", "--timesteps", "2"],
    "workloads metg": ["workloads", "metg", "-h"],
    "llm install": ["llm", "install", "-h"],
    "llm serve": ["llm", "serve", "-h"],
    "dashboards push": ["dashboards", "push", "-h"],
    "dashboards up": ["dashboards", "up", "-h"],
    "dashboards validate": ["dashboards", "validate", "--offline"],
}
BAD = {"a wrong option", "a missing file"}
# Those that are called for what they do.
ACTING = {"run", "bench", "report", "fuzz", "dashboards validate"}
STREAMS: dict[str, dict[str, str]] = {
    "whole": {},
    "stdout closed": {"stdout": "closed"},
    "stdout full": {"stdout": "full"},
    "stdout without reader": {"stdout": "no reader"},
    "stdout read-only": {"stdout": "read-only"},
    "stderr closed": {"stderr": "closed"},
    "stderr full": {"stderr": "full"},
    "stdin closed": {"stdin": "closed"},
    "stdin write-only": {"stdin": "write-only"},
    "output closed": {"stdout": "closed", "stderr": "closed"},
    "all closed": {"stdin": "closed", "stdout": "closed", "stderr": "closed"},
    "all full": {"stdin": "closed", "stdout": "full", "stderr": "full"},
}


@pytest.fixture
def kept(folder: Path) -> Path:
    """A folder with a run that was kept, and a trace."""
    done = called("run", "joke.yaml", "--trace-file", "trace.json")
    assert done.exit_code == 0, done.output
    return folder


def faults_of(cases: Sequence[tuple[str, str]], place: Path) -> str:
    """What is not as it should be, a line each."""
    (place / "cases.json").write_text(json.dumps([[COMMANDS[command], STREAMS[streams]] for command, streams in cases]))
    subprocess.run(
        [sys.executable, "-m", "tests.integration.broken_streams", "cases.json", "results.json"],
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=300,
    )
    results = json.loads((place / "results.json").read_text())
    found = []
    for (command, streams), (status, output, errors) in zip(cases, results, strict=True):
        where = f"{command} with {streams}: "
        if any(words in output + errors for words in ("internal error", "Traceback", "Exception ignored")):
            found.append(where + output[-300:] + errors[-300:])
        bad = command in BAD
        lost = STREAMS[streams].get("stdout") not in (None, "no reader") and not bad
        # What is missing on this machine makes a diagnosis end with 1.
        expected = {2} if bad or (lost and command not in ACTING) else {0}
        if status not in (expected if command != "doctor" else expected | {1}):
            found.append(f"{where}exit status {status}, not {expected}: {errors[-300:]}")
        reported = " is lost: " in errors or "to stdout: " in errors
        if reported != (lost and "stderr" not in STREAMS[streams]):
            found.append(f"{where}reported is {reported}: {errors[-300:]}")
    return "\n".join(found)


def test_every_command_with_a_broken_stream_and_a_run_with_every_one(kept: Path) -> None:
    streams = [one for one in STREAMS if one != "whole"]
    cases = [("run", one) for one in streams] + [("run --json -", "stdout full"), ("bench", "stdout full")]
    cases += [(one, streams[number % len(streams)]) for number, one in enumerate(COMMANDS) if one != "run"]
    assert faults_of(cases, kept) == ""
    kept_runs = len(json.loads(called("history", "--json", "-", "--limit", "99").stdout)["runs"])
    assert kept_runs == 1 + sum(
        COMMANDS[command][:2] in (["run", "joke.yaml"], ["bench", "joke.yaml"]) for command, _ in cases
    )


@pytest.mark.slow
@pytest.mark.parametrize("streams", STREAMS)
def test_every_command_with_every_broken_stream(streams: str, kept: Path) -> None:
    assert faults_of([(command, streams) for command in COMMANDS], kept) == ""


@pytest.mark.parametrize(
    ("redirection", "reason"), [(">&-", "it is closed"), (">/dev/full", "No space left on device")]
)
def test_a_run_without_a_stdout_is_done_kept_and_says_what_is_lost(redirection: str, reason: str, folder: Path) -> None:
    command = " ".join([*COMMAND, "run", "joke.yaml", "--json", "out.json", redirection])
    done = subprocess.run(["bash", "-c", command], check=False, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0
    assert done.stderr == f"warning: what was to be shown on stdout is lost: {reason}\n"
    assert the_result((folder / "out.json").read_text(encoding="utf-8"))["samples"][0]["errors"] == 0


def test_what_a_step_prints_goes_to_no_file_of_the_run_where_stdout_is_closed(folder: Path) -> None:
    (folder / "shouting.py").write_text(
        "import os\ndef shout():\n    for number in (1, 2):\n        os.write(number, b'SHOUTED' * 1000)\n"
    )
    (folder / "printing.yaml").write_text(
        "tools: {shout: {kind: python, callable: 'shouting:shout'}}\nsteps: [{step_id: a, tool: shout}]"
    )
    command = " ".join([*COMMAND, "run", "printing.yaml", "--store", "kept.db", "--json", "out.json", ">&-", "2>&-"])
    done = subprocess.run(["bash", "-c", command], check=False, env={**os.environ, "PYTHONPATH": str(folder)})
    assert done.returncode == 0
    for file in folder.glob("*"):
        if file.is_file() and file.name != "shouting.py":
            assert b"SHOUTED" not in file.read_bytes(), file


def test_a_pipe_that_does_not_block_is_waited_for_and_nothing_of_the_text_is_lost() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    text = b"0123456789" * 100_000
    read = bytearray()

    def drain() -> None:
        while data := os.read(reading, 65_536):
            read.extend(data)

    thread = threading.Thread(target=drain)
    file = SteadyFile(writing)
    left = memoryview(text)
    thread.start()
    while left:
        left = left[file.write(left) :]
    os.close(writing)
    thread.join(30)
    os.close(reading)
    assert bytes(read) == text
    assert file.fault is None


def test_every_command_is_in_the_table() -> None:
    names = {name for name, _ in commands_of(typer.main.get_command(app))}
    assert names <= set(COMMANDS)
