"""The combined draw of the suite for schedulers finds each planted fault within its default number of examples."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from harness.testing.schedulers.case_files import CaseError, case_data, read_case
from harness.testing.schedulers.case_play import Patience, play
from harness.testing.schedulers.graph_case import SUPPORTS, Case, Graph
from harness.testing.schedulers.scheduler_suite import BrokenRuleError, SchedulerConformance, first_fault
from tests.conformance import schedulers
from tests.conformance.planted_schedulers import PLANTED, Run
from tests.conformance.schedulers import Decisions, on_threads

QUICK = Patience(settle=0.002, idle=0.15, standstill=0.3)
ALL = frozenset(SUPPORTS) - {"fail_fast"}
SEEDS = 20
NEEDED = 19
LEAKS = [name for name in PLANTED if name.startswith("leaks")]


def found(run: Run, seeds: range) -> list[bool]:
    return [first_fault(run, ALL, patience=QUICK, seed_value=seed) is not None for seed in seeds]


@pytest.mark.parametrize("name", LEAKS)
def test_what_is_not_given_back_at_an_exception_is_found(name: str) -> None:
    assert sum(found(PLANTED[name], range(3))) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found_in_nineteen_of_twenty_seeds(name: str) -> None:
    assert sum(found(PLANTED[name], range(SEEDS))) >= NEEDED


def test_there_are_more_than_twenty_planted_faults_and_none_without_one() -> None:
    assert len(PLANTED) >= 20
    assert found(lambda graph, call, workers: on_threads(Decisions, graph, call, workers), range(1)) == [False]


# ---------------------------------------------------------------------- how a fault is shown, and kept


def leaking(graph: Graph, call: Callable[[str], object], workers: int) -> dict[str, str]:
    """A target by its name."""
    return PLANTED["leaks a slot at an exception"](graph, call, workers)


def test_a_fault_is_told_with_graph_and_story_first_and_the_stacks_of_its_own_threads() -> None:
    stopped = threading.Event()
    stranger = threading.Thread(target=stopped.wait, name="a-stranger")
    stranger.start()
    try:
        played = play(schedulers.stands_still, Case((("a", ()), ("b", ("a",)), ("c", ("b",))), 1), patience=QUICK)
    finally:
        stopped.set()
        stranger.join()
    message = played.message()
    assert message.index("the graph, on ") < message.index("what happened:") < message.index("The threads:")
    assert "a-stranger" not in message
    assert "  run:" in message


def test_a_target_writes_its_case_to_a_file_that_is_played_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    target = f"{__name__}:leaking"
    monkeypatch.setattr(leaking, "supports", {"failures"}, raising=False)
    monkeypatch.setattr(leaking, "patience", QUICK, raising=False)
    found = CliRunner().invoke(app, ["fuzz", "--target", target, "--seed", "3"])
    assert found.exit_code == 1, found.output
    path = "fuzz-findings/target-seed-3.json"
    assert f"makespan fuzz --replay {path}" in found.output
    assert read_case(path).target == target
    again = CliRunner().invoke(app, ["fuzz", "--replay", path])
    assert again.exit_code == 1
    assert "the fault is there" in again.output

    class Pinned(SchedulerConformance):
        pinned = (path,)
        patience = QUICK
        run = staticmethod(leaking)

    with pytest.raises(BrokenRuleError):
        Pinned().test_pinned_cases()


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "Expecting"), ("{}", "no case of a scheduler"), ('{"schema": "makespan.target-case/1"}', "cannot be read")],
)
def test_a_file_that_is_no_case_is_told_so(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "case.json"
    path.write_text(text)
    with pytest.raises(CaseError, match=words):
        read_case(path)


@pytest.mark.parametrize("seed", range(5))
def test_a_case_is_the_same_when_it_is_read_again(tmp_path: Path, seed: int) -> None:
    fault = first_fault(PLANTED["one step too many"], ALL, patience=QUICK, seed_value=seed)
    assert fault is not None
    path = tmp_path / "case.json"
    path.write_text(json.dumps(case_data("a:b", fault.case, ALL)))
    assert read_case(path) == ("a:b", fault.case, tuple(sorted(ALL)))
