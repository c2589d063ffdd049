"""The combined draw of the suite for schedulers finds each planted fault within its default number of examples."""

from __future__ import annotations

import pytest

from harness.testing.schedulers.case_play import Patience
from harness.testing.schedulers.graph_case import SUPPORTS
from harness.testing.schedulers.scheduler_suite import first_fault
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
