"""What a run says at its end of the tests that did not run, and that nothing is left out in CI."""

from __future__ import annotations

import pytest

from tests.missing import not_here, program, said_at_the_end

PROMETHEUS = "Skipped: prometheus is not here; to have it: apt-get install prometheus"
STORE = "Skipped: the trace store is not here; to have it: make trace-store"


def test_one_line_counts_all_and_names_each_command_once() -> None:
    (line,) = said_at_the_end([PROMETHEUS, STORE, PROMETHEUS])
    what, _, how = line.partition(". ")
    assert what == "3 tests did not run, for want of prometheus and the trace store"
    assert how == "Bring them: apt-get install prometheus && make trace-store"


def test_what_no_command_brings_is_said_as_well() -> None:
    (line,) = said_at_the_end(["Skipped: there is no /dev/full here"])
    assert line == "1 test did not run: there is no /dev/full here"


def test_a_run_without_gaps_says_nothing() -> None:
    assert said_at_the_end([]) == []


def test_a_missing_program_fails_the_test_in_ci_and_skips_it_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "1")
    with pytest.raises(pytest.fail.Exception, match="to have it: apt-get install nothing"):
        program("no-such-program-anywhere", "nothing")
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception) as skipped:
        program("no-such-program-anywhere", "nothing")
    (line,) = said_at_the_end([str(skipped.value)])
    assert line.startswith("1 test did not run, for want of no-such-program-anywhere.")


def test_what_a_target_has_made_sure_of_may_not_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.fail.Exception, match="to have it: make it"):
        not_here("it", "make it", must_be=True)
