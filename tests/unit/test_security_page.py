"""The page on security names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[name for _, name in NAMED])
def test_a_test_that_the_page_names_exists(file: str, name: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    assert re.search(rf"^ *(async )?def {name}\(", text, flags=re.MULTILINE)


def test_each_line_of_the_table_names_one_but_the_line_of_clusters_which_nothing_holds() -> None:
    table = PAGE.split("| test |")[1].split("\n\n")[0]
    without = [line for line in table.splitlines()[2:] if "tests/" not in line]
    assert len(NAMED) > 20
    assert [line.split(" | ")[0] for line in without] == ["| a Dask or Ray cluster"]
