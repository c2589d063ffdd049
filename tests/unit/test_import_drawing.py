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
    rows = dict(row.split("  →  ") for row in drawing("executor").splitlines() if "→" in row)
    arrows = {name.strip(): set(imported.split(", ")) for name, imported in rows.items()}
    assert "record" in arrows["scheduler"]
    assert "model" not in arrows["scheduler"]


def test_each_package_stands_above_those_that_it_imports() -> None:
    order = [row.split()[0] for row in drawing("harness").splitlines()[1:-1]]
    for name, imported in imports_between_packages("harness").items():
        assert all(order.index(name) < order.index(one) for one in imported), name
