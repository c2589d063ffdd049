"""Every shipped scenario runs from the command line, and does what its first lines say."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness.files.packaged import shipped_scenarios

NAMES = {
    "article_pipeline",
    "cpu_bound",
    "failing",
    "headlines",
    "joke_translations",
    "limited",
    "multi_format_export",
    "three_jokes",
    "translations",
}


def run(folder: Path, name: str, *options: str, exit_status: int = 0) -> dict[str, Any]:
    """What ``makespan run`` writes for the scenario."""
    command = [sys.executable, "-m", "harness.cli", "run", str(shipped_scenarios()[name]), "--json", "result.json"]
    done = subprocess.run(
        [*command, *options], check=False, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == exit_status, done.stdout + done.stderr
    (result,) = json.loads((folder / "result.json").read_text(encoding="utf-8"))["results"]
    return dict(result)


def outputs(result: dict[str, Any]) -> dict[str, Any]:
    return {step["step_id"]: step["output"] for step in result["steps"]}


def statuses(result: dict[str, Any]) -> dict[str, str]:
    return {step["step_id"]: step["status"] for step in result["steps"]}


def test_the_scenarios_are_the_nine_that_the_documents_speak_of() -> None:
    assert set(shipped_scenarios()) >= NAMES


@pytest.mark.parametrize("name", ["article_pipeline", "headlines", "joke_translations", "three_jokes"])
def test_every_step_of_a_scenario_succeeds(name: str, tmp_path: Path) -> None:
    result = run(tmp_path, name, "--set", "scale=0.005")
    assert set(statuses(result).values()) == {"succeeded"}
    assert all(isinstance(output, str) and output for output in outputs(result).values())


def test_joke_translations_gives_the_same_on_every_executor_that_runs_tools(tmp_path: Path) -> None:
    results = [
        outputs(run(tmp_path, "joke_translations", "--set", "scale=0.005", "--executor", executor))
        for executor in ("serial", "threads", "processes", "asyncio")
    ]
    assert results[1:] == results[:1] * 3


@pytest.mark.parametrize("n", [1, 14])
def test_translations_makes_as_many_copies_as_asked_for(n: int, tmp_path: Path) -> None:
    result = run(tmp_path, "translations", "--set", "scale=0.005", "--set", f"n={n}")
    assert [step["step_id"] for step in result["steps"]] == ["source", *(f"translation-{i}" for i in range(1, n + 1))]
    assert set(statuses(result).values()) == {"succeeded"}


def test_multi_format_export_writes_three_files_and_says_where(tmp_path: Path) -> None:
    result = run(tmp_path, "multi_format_export", "--set", "output_folder=mine")
    written = {path.suffix: path.stat().st_size for path in (tmp_path / "mine").iterdir()}
    assert set(written) == {".pdf", ".docx", ".html"}
    sizes = {Path(output["path"]).suffix: output["size_bytes"] for output in outputs(result).values()}
    assert sizes == written


def test_cpu_bound_counts_the_same_on_processes_as_on_one_thread(tmp_path: Path) -> None:
    small = ("--set", "start=90000", "--set", "numbers=2500")
    results = [
        outputs(run(tmp_path, "cpu_bound", *small, "--executor", executor)) for executor in ("serial", "processes")
    ]
    assert results[0] == results[1]
    assert results[0]["total"] == {"ranges": 4, "primes": 9_592 - 8_713}  # π(100,000) − π(90,000)


def test_limited_never_exceeds_its_limits_and_publishes_at_the_third_try(tmp_path: Path) -> None:
    result = run(tmp_path, "limited", "--set", "scale=0.05", "--workers", "8")
    assert set(statuses(result).values()) == {"succeeded"}
    attempts = {step["step_id"]: step["attempts"] for step in result["steps"]}
    assert [attempt["outcome"] for attempt in attempts["publish"]] == ["failed", "failed", "succeeded"]
    for prefix, limit in (("fetch_", 2), ("note_", 2), ("file_", 1)):
        held = [attempt for step, tries in attempts.items() if step.startswith(prefix) for attempt in tries]
        edges = sorted([(a["granted"], 1) for a in held] + [(a["known"], -1) for a in held])
        running = 0
        for _, change in edges:
            running += change
            assert running <= limit, prefix


def test_failing_skips_what_needs_the_failed_step_and_runs_the_rest(tmp_path: Path) -> None:
    result = run(tmp_path, "failing", "--set", "scale=0.005", exit_status=1)
    found = statuses(result)
    assert {step for step, status in found.items() if status == "failed"} == {"check"}
    assert {step for step, status in found.items() if status == "skipped"} == {"report", "send"}
    assert Counter(found.values())["succeeded"] == 4
