"""The tests are tested: each planted fault is found by the properties, and within how many examples.

`pytest -s` prints the table of the documentation.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from harness.testing.fuzz import fuzzing
from harness.testing.fuzz.faults import NO_FAULTS, draw_crash
from harness.testing.fuzz.faulty_run_judging import OWN_PROPERTIES
from harness.testing.fuzz.fuzzing import SAMPLE, Settings, examine, quiet_instruments
from harness.testing.fuzz.shrinking import Candidate
from harness.testing.oracle.judge import PROPERTIES
from tests.properties.planted.faults import FAULTS
from tests.properties.planted.planting import Fault, function_of, planted
from tests.properties.scheduler_machine import SchedulerMachine

# Hundreds of runs for each fault.
pytestmark = pytest.mark.slow

MOST_RUNS = 3000
MOST_MACHINES = 300
SEED = 7
FOCUSES = sorted({(fault.focus, fault.size, fault.crashes) for fault in FAULTS if not fault.by_calls})


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some faults make a run go round in circles."""
    monkeypatch.setattr(fuzzing, "SIMULATION_LIMIT_SECONDS", 2.0)


def drawn(number: int, focus: tuple[str, ...], size: int, *, crashes: bool, seed: int = SEED) -> Candidate:
    """A run with faults, or with nothing but crashes."""
    candidate = Settings(seed=seed, size=size, features=focus or None).draw(number)
    if not crashes:
        return candidate
    return Candidate(candidate.run, replace(NO_FAULTS, crash=draw_crash(number, candidate.run)))


def first_found(focus: tuple[str, ...], most: int, size: int = 12, *, crashes: bool = False) -> tuple[int, set[str]]:
    """How many runs it takes to find anything, and the properties that are broken then; none: an empty set."""
    with quiet_instruments():
        for number in range(most):
            found = examine(drawn(number, focus, size, crashes=crashes), thorough=number % SAMPLE == 0)
            if found:
                return number + 1, {violation.property for violation in found}
    return most, set()


class Counted(SchedulerMachine):
    """The machine, with its runs counted."""

    runs: ClassVar[int] = 0

    def __init__(self) -> None:
        type(self).runs += 1
        super().__init__()


def machines_until_failure() -> int | None:
    """How many machines it takes until one fails; None: none did."""
    Counted.runs = 0
    quick: Any = settings(
        max_examples=MOST_MACHINES,
        stateful_step_count=30,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(seed(SEED)(Counted), settings=quick)
    except Exception:
        return Counted.runs
    return None


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if not fault.by_calls], ids=lambda fault: fault.name)
def test_a_planted_fault_is_found_in_random_runs(fault: Fault) -> None:
    with planted(fault):
        count, properties = first_found(fault.focus, MOST_RUNS, fault.size, crashes=fault.crashes)
    # The very run that shows the fault is in order without it: what was found is the fault, and no other.
    run = drawn(count - 1, fault.focus, fault.size, crashes=fault.crashes)
    with quiet_instruments():
        assert examine(run) == []
    print(f"| {fault.name} | {fault.sentence} | {', '.join(sorted(properties))} | {count} |")
    assert properties, f"{fault.sentence} Nothing found that in {count} runs"
    assert properties <= PROPERTIES.keys() | OWN_PROPERTIES.keys()


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.by_calls], ids=lambda fault: fault.name)
def test_a_planted_fault_is_found_by_random_calls(fault: Fault) -> None:
    with planted(fault):
        count = machines_until_failure()
    print(f"| {fault.name} | {fault.sentence} | random calls | {count} |")
    assert count is not None, f"{fault.sentence} Nothing found that in {MOST_MACHINES} machines"


@pytest.mark.parametrize(("focus", "size", "crashes"), FOCUSES, ids=str)
def test_without_a_planted_fault_nothing_is_found(focus: tuple[str, ...], size: int, crashes: bool) -> None:
    assert first_found(focus, 300, size, crashes=crashes)[1] == set()


def test_a_planted_fault_leaves_nothing_behind() -> None:
    for fault in FAULTS:
        function = function_of(fault.target)
        healthy = function.__code__
        with planted(fault):
            assert function.__code__ is not healthy
        assert function.__code__ is healthy


def test_at_least_forty_different_faults_are_planted() -> None:
    assert len({(fault.target, fault.old, fault.new) for fault in FAULTS}) == len(FAULTS) >= 40
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
