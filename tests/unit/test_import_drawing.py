"""The drawing of imports: what is left out follows from what is drawn, and a circle is named."""

from __future__ import annotations

import pytest

from development.documentation.import_drawing import cycle_in, drawing, imports_between_packages


@pytest.mark.parametrize("root", ["executor", "harness"])
def test_no_package_imports_another_in_a_circle(root: str) -> None:
    assert cycle_in(imports_between_packages(root)) == []


def test_a_circle_is_named_from_its_first_package_back_to_it() -> None:
    cycle = cycle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})
    assert cycle[0] == cycle[-1]
    assert set(cycle) == {"a", "b", "c"}


def test_an_arrow_that_follows_from_others_is_left_out() -> None:
    imports = imports_between_packages("executor")
    assert "model" in imports["scheduler"]
    assert "record" in imports["scheduler"]
    assert "model" in imports["record"]
    drawn = drawing("executor")
    assert "scheduler --> record" in drawn
    assert "scheduler --> model" not in drawn
