"""`cache: inputs` from the command line: what run, history, report, bench, plan and simulate say and do."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from harness.cli.history import SCHEMA
from tests.integration.calling import called, folder, the_result

__all__ = ["folder"]

SCENARIO = """
scenario: noted
tools:
  note: {kind: command, argv: [sh, -c, 'echo "$1" >> done; echo "$1"', sh]}
steps:
  - {step_id: first, tool: note, args: {arguments: [one]}, cache: inputs, ttl: 86400}
  - {step_id: second, tool: note, args: {arguments: ["{{ steps.first.output }}, two"]}}
"""


@pytest.fixture
def noted(folder: Path) -> Path:
    (folder / "noted.yaml").write_text(SCENARIO, encoding="utf-8")
    return folder


def lines_of(folder: Path) -> list[str]:
    return (folder / "done").read_text(encoding="utf-8").splitlines()


def run(*arguments: str) -> Any:
    done = called("run", "noted.yaml", "--store", "runs.sqlite", *arguments)
    assert done.exit_code == 0, done.output
    return done


def test_a_hit_is_marked_wherever_a_run_is_shown_and_counts_in_no_figure(noted: Path) -> None:
    first = run("--json", "first.json")
    assert "cached" not in first.stdout
    run_id = json.loads((noted / "first.json").read_text(encoding="utf-8"))["run_id"]
    second = run("--json", "out.json", "--trace-file", "trace.json")
    assert lines_of(noted) == ["one", "one, two", "one, two"]
    assert re.search(rf"first +succeeded +cached from run {run_id[:12]}", second.stdout)
    assert re.search(r"cached +1 step of earlier runs, in none of these figures", second.stdout)
    assert (
        "1 of 2 steps took their output from the cache" in the_result((noted / "out.json").read_text())["cautions"][0]
    )
    result = the_result((noted / "out.json").read_text(encoding="utf-8"))
    taken, made = result["steps"]
    assert (taken["cached"], taken["reused_from"], taken["attempts"], taken["output"]) == (True, run_id, [], "one")
    assert "cached" not in made
    assert [part["step_id"] for part in result["critical_path"]] == ["second"]
    assert '"makespan.step.cached"' in (noted / "trace.json").read_text(encoding="utf-8")
    listed = called("history", "--store", "runs.sqlite")
    assert "cached steps" in listed.stdout
    found = json.loads(called("history", "--store", "runs.sqlite", "--json", "-").stdout)
    assert found["schema"] == SCHEMA
    assert [one["cached_steps"] for one in found["runs"]] == [1, 0]
    assert called("report", "@last", "--store", "runs.sqlite", "-o", "report.html").exit_code == 0
    assert "succeeded, from the cache" in (noted / "report.html").read_text(encoding="utf-8")


def test_no_cache_takes_nothing_and_leaves_anew(noted: Path) -> None:
    run("-q")
    run("-q", "--no-cache")
    assert lines_of(noted).count("one") == 2
    called("run", "noted.yaml", "--no-store", "-q")
    assert lines_of(noted).count("one") == 3
    run("-q")
    assert lines_of(noted).count("one") == 3


def test_a_benchmark_takes_nothing_from_the_cache_and_says_so(noted: Path) -> None:
    run("-q")
    done = called(
        "bench", "noted.yaml", "-e", "threads", "-w", "2", "-n", "2", "--warmup", "0", "--store", "runs.sqlite"
    )
    assert done.exit_code == 0, done.output
    assert "A benchmark takes nothing from the cache: steps with `cache: inputs` run each time." in done.stdout
    assert lines_of(noted).count("one") == 5


@pytest.mark.parametrize(
    "command", [("plan", "noted.yaml"), ("simulate", "noted.yaml"), ("run", "noted.yaml", "-e", "virtual")]
)
def test_what_runs_nothing_says_what_it_assumes(noted: Path, command: tuple[str, ...]) -> None:
    done = called(*command)
    assert done.exit_code == 0, done.output
    words = " ".join(done.output.split())
    assert "only a run knows what is in the cache: 'first' is taken to run" in words


def test_a_fault_names_file_line_and_field(noted: Path) -> None:
    (noted / "noted.yaml").write_text(SCENARIO.replace("ttl: 86400", "idempotent: false"), encoding="utf-8")
    done = called("run", "noted.yaml")
    assert done.exit_code == 2
    assert (
        "noted.yaml:6, step 'first', steps[0].cache: `cache: inputs` does not go with `idempotent: false`"
        in done.stderr
    )
