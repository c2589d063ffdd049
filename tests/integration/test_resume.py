"""Runs that were killed go on: from the command line, and hundreds of them by fork."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from executor.journal.kept_run import read_journal
from harness.store.journals import Journals
from tests.integration.calling import COMMAND, called, folder, the_result

__all__ = ["folder"]

ROOT = Path(__file__).parents[2]

# Each step says that it ran by a line of its own in a file, and the third waits for a file before it ends.
SCENARIO = """
scenario: slow
tools:
  say:
    kind: command
    argv: [sh, -c, 'echo "$1" >> done; while [ -n "$2" ] && [ ! -e "$2" ]; do sleep 0.02; done; echo "$1"', sh]
steps:
  - {step_id: first, tool: say, args: {arguments: ["one"]}}
  - {step_id: second, tool: say, args: {arguments: ["{{ steps.first.output }}, two"]}}
  - step_id: third
    tool: say
    args: {arguments: ["{{ steps.second.output }}, three", "go"]}
    idempotent: false
  - {step_id: fourth, tool: say, args: {arguments: ["four, {{ steps.third.output }}"]}}
"""


def journal_of(store: Path) -> Path:
    (path,) = Journals(store).folder.glob("*.sqlite")
    return path


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run leaves that SIGKILL ended in its third step."""
    folder = tmp_path_factory.mktemp("left")
    (folder / "slow.yaml").write_text(SCENARIO, encoding="utf-8")
    process = subprocess.Popen(
        [*COMMAND, "run", "slow.yaml", "--store", "runs.sqlite", "-q"],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        cwd=folder,
    )
    deadline = time.monotonic() + 100
    while True:
        assert process.poll() is None
        assert time.monotonic() < deadline, "it never came to its third step"
        time.sleep(0.02)
        if (folder / "done").exists() and "three" in (folder / "done").read_text(encoding="utf-8"):
            break
    while set(read_journal(journal_of(folder / "runs.sqlite")).steps) != {"first", "second"}:
        assert time.monotonic() < deadline, "what is finished was never durable"
        time.sleep(0.02)
    process.kill()
    process.wait()
    (folder / "go").touch()
    return folder


@pytest.fixture
def killed(left: Path, folder: Path) -> Path:
    """The same for one test."""
    shutil.copytree(left, folder, dirs_exist_ok=True)
    return folder


def resumed(*arguments: str) -> Result:
    return called("run", "slow.yaml", "--resume", "@last", "--store", "runs.sqlite", *arguments)


def test_a_killed_run_does_what_is_missing_and_the_report_shows_both_halves(killed: Path) -> None:
    done = resumed("--rerun-unsure", "--json", "out.json")
    assert done.exit_code == 0, done.output
    assert "of slow, which was cut off: 2 of 4 steps are reused." in done.stdout
    assert "third runs: it was running when the run ended" in done.stdout
    assert "fourth runs: it had not begun" in done.stdout
    assert len(re.findall(r"succeeded  reused from run [0-9a-f]{12}", done.stdout)) == 2
    lines = (killed / "done").read_text(encoding="utf-8").splitlines()
    assert lines[:4] == ["one", "one, two", "one, two, three", "one, two, three"]
    result = the_result((killed / "out.json").read_text(encoding="utf-8"))
    steps = {step["step_id"]: step for step in result["steps"]}
    assert {name: step["output"] for name, step in steps.items()} == {
        "first": "one", "second": "one, two", "third": "one, two, three", "fourth": "four, one, two, three",
    }  # fmt: skip
    assert [name for name, step in steps.items() if "reused_from" in step] == ["first", "second"]
    assert [attempt["step_id"] for attempt in result["resumed"]["attempts"]] == ["first", "second", "third"]
    # What was reused is in no figure.
    assert {part["step_id"] for part in result["critical_path"]} == {"third", "fourth"}
    assert sum(result["lost_seconds"].values()) == pytest.approx(result["makespan_seconds"]["median"], abs=1e-8)
    assert "2 of 4 steps were reused from an earlier run" in result["cautions"][-1]
    page = called("report", "@last", "--store", "runs.sqlite", "-o", "report.html")
    assert page.exit_code == 0, page.output
    text = (killed / "report.html").read_text(encoding="utf-8")
    drawn = json.loads(re.search(r'<script[^>]*id="makespan-data"[^>]*>(.*?)</script>', text, re.DOTALL)[1])  # type: ignore[index]  # it is there
    (cell,) = drawn["cells"]
    assert cell["seam"] == round(result["resumed"]["seconds"] * 1e9)
    assert len(cell["attempts"]["step"]) == 5
    again = resumed()
    assert "4 of 4 steps are reused" in again.stdout
    assert len((killed / "done").read_text(encoding="utf-8").splitlines()) == len(lines)


def test_a_killed_run_is_in_the_history_with_the_id_by_which_it_is_resumed(killed: Path) -> None:
    run_id = Journals(killed / "runs.sqlite").find("@last").run_id
    # As it is where no store was named, and no run ended before.
    for path in killed.glob("runs.sqlite*"):
        path.unlink()
    listed = called("history", "--store", "runs.sqlite")
    assert re.search(rf"{run_id[:12]} .* slow .* killed", listed.stdout)
    assert f"What is missing can be done: makespan run --resume {run_id[:12]}" in listed.stdout
    called("run", "joke.yaml", "--store", "runs.sqlite", "-q")
    for arguments, found in (
        ((), ["joke", "slow"]),
        (("--scenario", "slow"), ["slow"]),
        (("--executor", "asyncio"), []),
        (("--executor", "threads"), ["joke", "slow"]),
        (("--since", "2100-01-01"), []),
        (("--limit", "1"), ["joke"]),
    ):
        runs = json.loads(called("history", "--store", "runs.sqlite", "--json", "-", *arguments).stdout)["runs"]
        assert [run["scenario"] for run in runs] == found
    assert called("run", "--resume", run_id[:12], "--rerun-unsure", "--store", "runs.sqlite", "-q").exit_code == 0
    runs = json.loads(called("history", "--store", "runs.sqlite", "--json", "-").stdout)["runs"]
    assert [(run["scenario"], run["status"]) for run in runs] == [("slow", "finished"), ("joke", "finished")]


def test_what_must_not_be_done_twice_is_asked_about_and_nothing_runs_before(killed: Path) -> None:
    before = (killed / "done").read_text(encoding="utf-8")
    refused = resumed()
    assert refused.exit_code == 2
    assert "ended while 'third' was running, which must not be done twice" in refused.stderr
    assert "--rerun-unsure to do it, or --skip-unsure" in refused.stderr
    assert (killed / "done").read_text(encoding="utf-8") == before
    left_out = resumed("--skip-unsure")
    assert left_out.exit_code == 0, left_out.output
    assert "third is left out, as you asked" in left_out.stdout
    assert (killed / "done").read_text(encoding="utf-8").count("three") == 1


def test_a_changed_file_and_steps_that_are_named_run_again(killed: Path) -> None:
    path = killed / "slow.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace(", two", ", 2"), encoding="utf-8")
    done = resumed("--rerun-unsure")
    assert done.exit_code == 0, done.output
    assert "second runs: its arguments have changed" in done.stdout
    again = resumed("--rerun", "first")
    assert "first runs: you asked for it" in again.stdout
    assert "second may run: after 'first'" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "--resume", "@last"), "there is no run to resume"),
        (("run", "joke.yaml", "--rerun", "a"), "--rerun goes with --resume RUN"),
        (("run", "--task", "Tell a joke", "--resume", "@last"), "give either --task or --resume"),
        (("run", "--resume", "@last", "--no-store"), "leave --no-store out"),
        (("run", "--resume", "@last", "--skip-unsure", "--rerun-unsure"), "exclude each other"),
        (("run", "joke.yaml", "--durable", "never"), "--durable"),
    ],
)
def test_what_cannot_be_is_told_before_anything_runs(folder: Path, arguments: tuple[str, ...], words: str) -> None:
    done = called(*arguments, "--store", "runs.sqlite")
    assert (done.exit_code, words in done.stderr) == (2, True), done.stderr


def test_runs_are_named_and_those_that_do_not_fit_are_refused(folder: Path) -> None:
    assert called("run", "joke.yaml", "--store", "runs.sqlite").exit_code == 0
    unknown = called("run", "--resume", "nothing", "--store", "runs.sqlite")
    assert (unknown.exit_code, "no run 'nothing' was kept" in unknown.stderr) == (2, True)
    (folder / "other.yaml").write_text("steps: [{step_id: a, tool: noop}]", encoding="utf-8")
    other = called("run", "other.yaml", "--resume", "@last", "--store", "runs.sqlite")
    assert other.exit_code == 2
    assert "is of the workflow 'joke', and this one is 'other'" in other.stderr
    path = journal_of(folder / "runs.sqlite")
    assert called("run", "--resume", path.stem[:6], "--store", "runs.sqlite").exit_code == 0
    path.write_bytes(path.read_bytes()[:5000])
    cut = called("run", "--resume", "@last", "--store", "runs.sqlite")
    assert (cut.exit_code, "is damaged: it was cut off" in cut.stderr) == (2, True)


def test_a_task_is_resumed_with_the_plan_that_it_had(folder: Path) -> None:
    first = called("run", "--task", "Tell a joke, then translate it to French", "--yes", "--store", "runs.sqlite")
    assert first.exit_code == 0, first.output
    second = called("run", "--resume", "@last", "--store", "runs.sqlite")
    assert second.exit_code == 0, second.output
    assert "2 of 2 steps are reused" in second.stdout


def test_the_trace_of_a_resumed_run_links_to_that_of_the_run_before(folder: Path) -> None:
    def spans(name: str) -> list[dict[str, Any]]:
        lines = (folder / name).read_text(encoding="utf-8").splitlines()
        scopes = [scope for line in lines for one in json.loads(line)["resourceSpans"] for scope in one["scopeSpans"]]
        return [span for scope in scopes for span in scope["spans"]]

    assert called("run", "joke.yaml", "--store", "runs.sqlite", "--trace-file", "a.jsonl").exit_code == 0
    done = called("run", "--resume", "@last", "--store", "runs.sqlite", "--trace-file", "b.jsonl", "--rerun", "french")
    assert done.exit_code == 0, done.output
    first, second = (
        next(span for span in spans(name) if not span.get("parentSpanId")) for name in ("a.jsonl", "b.jsonl")
    )
    (link,) = second["links"]
    assert (link["traceId"], link["spanId"]) == (first["traceId"], first["spanId"])
    reused = [
        span for span in spans("b.jsonl") if any(one["key"] == "makespan.step.reused" for one in span["attributes"])
    ]
    assert len(reused) == 2


def test_a_run_is_resumed_as_it_was_started(folder: Path) -> None:
    started_as = ("-e", "asyncio", "-w", "2", "--set", "topic=dogs", "--seed", "7")
    assert called("run", "joke.yaml", "--store", "runs.sqlite", *started_as).exit_code == 0
    second = called("run", "--resume", "@last", "--store", "runs.sqlite", "--json", "out.json")
    assert "3 of 3 steps are reused" in second.stdout, second.output
    result = the_result((folder / "out.json").read_text(encoding="utf-8"))
    assert (result["executor"], result["workers"], result["parameters"]) == ("asyncio", 2, {"topic": "dogs"})
    third = called("run", "--resume", "@last", "--store", "runs.sqlite", "--set", "topic=owls", "-w", "4")
    assert "joke runs: its prompt has changed" in third.stdout
    assert "on asyncio, 4 workers" in third.stdout


def test_a_run_that_cannot_be_kept_runs_all_the_same_and_says_so(folder: Path) -> None:
    (folder / "runs.journals").write_text("a file where the folder belongs", encoding="utf-8")
    done = called("run", "joke.yaml", "--store", "runs.sqlite")
    assert done.exit_code == 0, done.output
    assert "the run was not kept while it went on" in done.stdout


def killed_runs(count: int, *backends: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.killed_runs", str(count), *backends],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_whatever_kills_a_run_nothing_durable_is_done_again() -> None:
    assert killed_runs(1, "threads").count("1 runs") == 5


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["threads", "asyncio"])
def test_dozens_of_killed_runs_come_to_the_end_of_undisturbed_ones(backend: str) -> None:
    assert killed_runs(8, backend).count("8 runs") == 5
