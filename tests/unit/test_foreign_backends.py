"""Backends of other packages, by their entry points."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from executor import BackendError, find_backend
from tests.integration.calling import called

BROKEN = {
    "no_module": ("there_is_none_of_this_name:Backend", "", "No module named 'there_is_none_of_this_name'"),
    "no_name": ("foreign_a:Backend", "", "has no attribute 'Backend'"),
    "raises": ("foreign_b:Backend", "1 / 0", "division by zero"),
    "no_python": ("foreign_c:Backend", "def", "invalid syntax"),
    "no_backend": ("foreign_d:Backend", "Backend = dict", "is no subclass of executor.backends.Backend"),
}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = tmp_path / "foreign-1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Name: foreign\nVersion: 1\n", encoding="utf-8")
    points = "".join(f"{name} = {reference}\n" for name, (reference, _, _) in BROKEN.items())
    (facts / "entry_points.txt").write_text(f"[makespan.backends]\n{points}", encoding="utf-8")
    for reference, text, _ in BROKEN.values():
        if reference.startswith("foreign"):
            (tmp_path / f"{reference.partition(':')[0]}.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.startswith("foreign_")]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("name", BROKEN)
def test_one_that_is_broken_is_named_with_its_place_and_what_is_wrong(name: str) -> None:
    reference, _, says = BROKEN[name]
    with pytest.raises(BackendError) as caught:
        find_backend(name)
    assert f"executor {name!r} ({reference})" in str(caught.value)
    assert says in str(caught.value)


@pytest.mark.usefixtures("installed")
def test_the_list_of_executors_has_the_broken_ones_beside_the_others() -> None:
    listed = called("executors")
    assert listed.exit_code == 0
    assert "threads" in listed.output
    assert listed.output.count("not available: executor") == len(BROKEN)
