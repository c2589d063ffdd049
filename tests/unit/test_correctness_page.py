"""docs/correctness.md names every property that is judged, with its sentence, and every fault that is planted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.testing.fuzz.faulty_run_judging import OWN_PROPERTIES
from harness.testing.oracle.judge import PROPERTIES
from tests.properties.planted.faults import FAULTS

PAGE = (Path(__file__).parents[2] / "docs" / "correctness.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "sentence"), [*PROPERTIES.items(), *OWN_PROPERTIES.items()])
def test_a_property_stands_in_the_page_with_its_sentence(name: str, sentence: str) -> None:
    assert f"| `{name}` | {sentence} |" in PAGE


def test_the_table_of_planted_faults_is_that_of_the_tests() -> None:
    table = PAGE.partition("| fault | found by | examples |")[2].partition("\n\n")[0]
    named = [row.split("|")[1].strip() for row in table.splitlines()[2:]]
    assert named == [fault.name for fault in FAULTS]
    assert f"| {len(FAULTS)} planted faults |" in PAGE


def test_every_property_of_the_table_of_planted_faults_is_one() -> None:
    table = PAGE.partition("| fault | found by | examples |")[2].partition("\n\n")[0]
    found = {name.strip() for row in table.splitlines()[2:] for name in re.split(",", row.split("|")[2])}
    assert found - {"random calls"} <= PROPERTIES.keys() | OWN_PROPERTIES.keys()
