"""`makespan plan TEXT` and `makespan run --task TEXT` as people call them."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import time
from pathlib import Path

import pytest

from harness.scenario.scenario_file import load
from tests.integration.calling import COMMAND, called, folder, started, the_result

__all__ = ["folder"]

JOKES = "write 3 different jokes about cats, dogs, and birds"
TRANSLATED = "write a joke and translate to french and spanish"


def test_a_task_is_planned_and_nothing_runs(folder: Path) -> None:
    done = called("plan", TRANSLATED)
    assert done.exit_code == 0
    assert "Workflow Plan (3 steps):\n  1. Write a joke\n" in done.stdout
    assert "  2. step2, step3\n" in done.stdout
    assert "Findings: none" in done.stdout
    assert "Executing" not in done.stdout


def test_three_jokes_run_in_parallel_from_a_sentence(folder: Path) -> None:
    done = called("run", "--task", JOKES, "--set", "scale=0.2", "--json", "out.json")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert "Executing 3 steps in parallel:" in done.stdout
    result = the_result((folder / "out.json").read_text(encoding="utf-8"))
    assert [step["status"] for step in result["steps"]] == ["succeeded"] * 3
    assert result["concurrency"]["max"] == 3
    topics = ["cats", "dogs", "birds"]
    assert all(topic in step["output"].lower() for topic, step in zip(topics, result["steps"], strict=True))


@pytest.mark.parametrize("name", ["plan.yaml", "plan.json"])
@pytest.mark.parametrize("task", [TRANSLATED, JOKES, "convert document to PDF, DOCX, and HTML"])
def test_a_saved_plan_is_a_file_that_means_the_same(task: str, name: str, folder: Path) -> None:
    assert called("plan", task, "--save", name, "--quiet").exit_code == 0
    loaded = load(name)
    assert loaded.scenario.task == task
    again = called("plan", task, "--json", "-", "--quiet")
    assert [step["step_id"] for step in json.loads(again.stdout)["steps"]] == [s.step_id for s in loaded.workflow.steps]
    assert json.loads(again.stdout)["steps"][-1].get("depends_on", []) == list(loaded.workflow.steps[-1].depends_on)
    assert called("plan", name).exit_code == 0


def test_a_run_saves_its_plan_too(folder: Path) -> None:
    done = called("run", "--task", TRANSLATED, "--save", "p.yaml", "--set", "scale=0.05", "--yes", "--quiet")
    assert done.exit_code == 0, done.stderr
    assert len(load("p.yaml").workflow.steps) == 3


def test_a_model_plans_while_its_steps_run(folder: Path) -> None:
    done = called("run", "--task", TRANSLATED, "--planner", "llm", "--save", "p.yaml", "--json", "o.json")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert "stand-in-plans" in done.stderr
    assert "Steps start while the plan is still being written." in done.stdout
    result = the_result((folder / "o.json").read_text(encoding="utf-8"))
    assert result["lost_seconds"]["arrival"] > 0
    assert [step.depends_on for step in load("p.yaml").workflow.steps] == [(), ("step1",), ("step1",)]


def test_the_clock_that_jumps_gets_the_whole_plan_first(folder: Path) -> None:
    done = called("run", "--task", TRANSLATED, "--planner", "llm", "--executor", "virtual")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert "SIMULATED" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run"], "give a SCENARIO, or --task TEXT"),
        (["run", "joke.yaml", "--task", JOKES], "not both"),
        (["run", JOKES], "makespan run --task"),
        (["run", "joke.yaml", "--planner", "llm"], "go with --task"),
        (["run", "--task", " "], "the task is empty"),
        (["run", "--task", JOKES, "--planner", "oracle"], "use one of: auto, rules, llm"),
        (["run", "--task", JOKES, "--save", "missing/plan.yaml"], "no folder"),
        (["run", "--task", JOKES, "--save", "-"], "name of a file"),
        (["run", "--task", JOKES, "--set", "topic=x"], "no input 'topic'"),
        (["plan", "write 5000 jokes"], "more than 1,000 steps"),
        (["plan", JOKES, "--planner", "rule"], "rules"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_what_to_do(arguments: list[str], words: str, folder: Path) -> None:
    done = called(*arguments)
    assert done.exit_code == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_that_does_not_answer_ends_the_command_with_a_message(folder: Path) -> None:
    (folder / "config.yaml").write_text("llm: {base_url: 'http://127.0.0.1:9/v1', model: m}", encoding="utf-8")
    for arguments in (["plan", JOKES], ["run", "--task", JOKES]):
        done = called(*arguments, "--planner", "llm")
        assert done.exit_code == 2
        assert "error[no-answer]" in done.stderr
        assert "--planner rules" in done.stderr


def test_no_question_is_asked_where_nobody_can_answer(folder: Path) -> None:
    done = started("run", "--task", JOKES, "--set", "scale=0.05")
    assert done.returncode == 0
    assert "Run this plan?" not in done.stdout + done.stderr


@pytest.mark.parametrize(("answer", "runs"), [(b"n\n", False), (b"\n", True), (b"y\n", True)])
def test_on_a_terminal_the_plan_is_shown_and_a_question_is_asked(answer: bytes, runs: bool, folder: Path) -> None:
    shown, status = on_a_terminal(answer, "run", "--task", JOKES, "--set", "scale=0.05")
    assert "Workflow Plan (3 steps):" in shown
    assert "Run this plan?" in shown
    assert ("Summary of" in shown) is runs
    assert ("Nothing was run." in shown) is not runs
    assert status == 0


def test_yes_answers_the_question(folder: Path) -> None:
    shown, status = on_a_terminal(b"", "run", "--task", JOKES, "--set", "scale=0.05", "--yes")
    assert "Run this plan?" not in shown
    assert status == 0


def on_a_terminal(answer: bytes, *arguments: str) -> tuple[str, int]:
    """What a command shows on a terminal where ``answer`` is typed, and its exit status."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm"}
    process = subprocess.Popen([*COMMAND, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    typed = not answer
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if select.select([ours], [], [], 0.1)[0]:
            try:
                data = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not data:
                break
            shown += data
        if not typed and b"Run this plan?" in shown:
            os.write(ours, answer)
            typed = True
    os.close(ours)
    return shown.decode(errors="replace"), process.wait(timeout=30)
