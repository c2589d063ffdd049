"""`makespan bench` judging itself: against a run before, and with suspects measured again before it says no."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from harness.result import run_schema
from tests.integration.calling import called, folder

__all__ = ["folder"]

# Sleeps long in its first calls alone: bad luck, as a busy machine would be.
UNLUCKY = """
import itertools, time
CALLS = itertools.count()

def work():
    time.sleep(0.5 if next(CALLS) < 4 else 0.0)
"""

LUCK = """
scenario: luck
tools: {work: {kind: python, callable: "%s:work"}}
steps: [{step_id: work, tool: work}]
benchmark: {executors: [threads], workers: [1], repetitions: 2, warmup: 0}
expect: ["threads@1 makespan_seconds < 0.3", "errors == 0"]
"""

SLEEP = """
scenario: nap
steps:
  - {step_id: a, tool: sleep, args: {seconds: %s}}
  - {step_id: b, tool: sleep, args: {seconds: 0.02}}
benchmark: {executors: [threads], workers: [2], repetitions: 8, warmup: 0}
"""


@pytest.fixture(autouse=True)
def own_data_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
    monkeypatch.syspath_prepend(str(folder))


def unlucky(folder: Path, module: str) -> None:
    (folder / f"{module}.py").write_text(UNLUCKY, encoding="utf-8")
    (folder / "luck.yaml").write_text(LUCK % module, encoding="utf-8")


def written(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.validate(found, run_schema(), cls=jsonschema.Draft202012Validator)
    return dict(found)


def test_bad_luck_fails_a_bench_unless_it_is_asked_to_confirm(folder: Path) -> None:
    unlucky(folder, "unlucky_alone")
    assert called("bench", "luck.yaml", "--no-store").exit_code == 3


def test_a_suspect_that_is_fine_when_measured_again_does_not_fail(folder: Path) -> None:
    unlucky(folder, "unlucky_confirmed")
    done = called("bench", "luck.yaml", "--confirm", "3", "--json", "out.json")
    assert done.exit_code == 0, done.output
    assert "not met at first" in done.stdout
    assert "and met in 3 more repetitions" in done.stdout
    found = written(folder / "out.json")
    assert [one["repetitions"] for one in found["results"]] == [5, 5]
    assert found["benchmark"]["confirmed"] == ["luck threads@1/dataflow"]
    assert found["benchmark"]["rounds"] == 5
    assert next((one["met"], one["confirmed"]) for one in found["expectations"]) == (True, False)


def test_a_suspect_that_is_found_bad_again_fails_and_says_so(folder: Path) -> None:
    text = (folder / "joke.yaml").read_text(encoding="utf-8")
    block = "\nbenchmark: {executors: [threads, asyncio], workers: [2], repetitions: 2, warmup: 0}\n"
    (folder / "joke.yaml").write_text(text + block + 'expect: ["threads@2 speedup_ratio > 50"]\n', encoding="utf-8")
    done = called("bench", "joke.yaml", "--confirm", "2", "--no-store", "--json", "out.json")
    assert done.exit_code == 3
    assert "not met in 2 more repetitions either" in done.stdout
    found = written(folder / "out.json")
    # The suspect and what it is compared with, and nothing else.
    assert {one["executor"]: one["repetitions"] for one in found["results"]} == {
        "serial": 4, "threads": 4, "asyncio": 2,
    }  # fmt: skip
    assert found["expectations"][0]["confirmed"] is True
    assert all(sample["baseline_seconds"] for one in found["results"] for sample in one["samples"])


def test_an_error_is_no_bad_luck_and_is_not_measured_again(folder: Path) -> None:
    text = """
scenario: broken
steps: [{step_id: a, tool: flaky, args: {fail_times: 9}, retry: {max_attempts: 1}}]
benchmark: {executors: [threads], workers: [1], repetitions: 1, warmup: 0}
expect: ["errors == 0"]
"""
    (folder / "broken.yaml").write_text(text, encoding="utf-8")
    done = called("bench", "broken.yaml", "--confirm", "5", "--no-store", "--json", "out.json")
    assert done.exit_code == 3
    assert all(one["repetitions"] == 1 for one in written(folder / "out.json")["results"])


@pytest.mark.slow
def test_a_bench_fails_against_a_run_that_was_faster_and_not_against_its_like(folder: Path) -> None:
    scenario = folder / "nap.yaml"
    scenario.write_text(SLEEP % 0.06, encoding="utf-8")
    assert called("bench", "nap.yaml", "--json", "before.json").exit_code == 0
    limit = ("--fail-if", "makespan +25%", "--confirm", "8")
    again = called("bench", "nap.yaml", "--against", "before.json", *limit)
    assert again.exit_code == 0, again.output
    assert "met: makespan +25%" in again.stdout
    scenario.write_text(SLEEP % 0.12, encoding="utf-8")
    slower = called("bench", "nap.yaml", "--against", "@last~1", *limit, "--json", "out.json")
    assert slower.exit_code == 3, slower.output
    assert "NOT MET: makespan +25%" in slower.stdout
    found = written(folder / "out.json")
    assert found["against"]["limits"][0]["failed"]
    assert found["benchmark"]["confirmed"]
    assert all(one["repetitions"] == 16 for one in found["results"])


def test_too_little_history_judges_nothing(folder: Path) -> None:
    (folder / "nap.yaml").write_text(SLEEP % 0.01, encoding="utf-8")
    done = called("bench", "nap.yaml", "-n", "2", "--against", "median(14)", "--fail-if", "makespan +5%")
    assert done.exit_code == 0
    assert "not enough history" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--fail-if", "makespan +5%"), "give --against"),
        (("--against", "@last", "--fail-if", "makespam +5%"), "did you mean 'makespan'"),
        (("--against", "mean(14)"), "is no baseline"),
        (("--against", "nothing.json"), "nothing.json"),
        (("--against", "@last"), "there is no history of runs"),
    ],
)
def test_a_baseline_that_makes_no_sense_is_refused_before_anything_runs(
    folder: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = called("bench", "joke.yaml", *arguments)
    assert done.exit_code == 2
    assert words in done.stderr
    assert "Benchmark of" not in done.output


def test_a_run_of_other_cells_is_refused_before_anything_runs(folder: Path) -> None:
    (folder / "nap.yaml").write_text(SLEEP % 0.01, encoding="utf-8")
    assert called("bench", "nap.yaml", "-n", "1", "--no-store", "--json", "nap.json").exit_code == 0
    done = called("bench", "joke.yaml", "--against", "nap.json")
    assert done.exit_code == 2
    assert "none of the cells" in done.stderr
