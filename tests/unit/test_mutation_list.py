"""The list of mutants that change nothing: it names mutants that there are, and the page has it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.mutation.mutants import all_mutants
from tests.mutation.rooms import MODULES, TESTS
from tests.mutation.survivors import LISTED, SURVIVORS, table

ROOT = Path(__file__).parents[2]


def test_each_listed_survivor_is_a_mutant_of_the_code_as_it_stands() -> None:
    assert {mutant.key for mutant in all_mutants(MODULES)} >= LISTED


def test_no_survivor_is_listed_twice_or_without_a_reason() -> None:
    assert [key for key, count in Counter(survivor.key for survivor in SURVIVORS).items() if count > 1] == []
    assert [survivor for survivor in SURVIVORS if len(survivor.reason.split()) < 4] == []


def test_at_most_two_in_a_hundred_mutants_are_listed() -> None:
    assert len(LISTED) <= 0.02 * len(all_mutants(MODULES))


def test_the_page_lists_the_survivors() -> None:
    assert table() in (ROOT / "docs" / "correctness.md").read_text("utf-8"), (
        "python -m tests.mutation --table writes it"
    )


def test_the_tests_that_are_asked_are_there() -> None:
    assert [path for path in TESTS if not (ROOT / path).exists()] == []
