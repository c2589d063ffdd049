"""What is deprecated says so where it is used, and is gone when it said that it would be."""

from __future__ import annotations

import ast
import tomllib
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.version import Version

from executor.deprecation import warn_deprecated

ROOT = Path(__file__).resolve().parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def old_name() -> int:
    warn_deprecated("`old_name`", since="0.2", removed_in="0.4", instead="`new_name`")
    return 7


def test_the_warning_says_what_goes_when_and_what_to_use_at_the_line_of_the_caller() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        line = 1 + old_name.__code__.co_firstlineno
        assert old_name() == 7
    (warning,) = caught
    assert warning.category is DeprecationWarning
    assert str(warning.message) == (
        "`old_name` is deprecated since makespan 0.2 and will be gone in 0.4: use `new_name`"
    )
    assert warning.filename == __file__
    assert warning.lineno > line


def overdue(text: str, version: str) -> Iterator[str]:
    """What the code calls deprecated that should be gone in this version."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "warn_deprecated":
            (removed_in,) = (ast.literal_eval(word.value) for word in node.keywords if word.arg == "removed_in")
            if Version(version) >= Version(removed_in):
                yield ast.unparse(node.args[0])


@pytest.mark.parametrize(("version", "found"), [("0.3.9", []), ("0.4", ["'`old_name`'"]), ("1.0", ["'`old_name`'"])])
def test_what_should_be_gone_is_found(version: str, found: list[str]) -> None:
    assert list(overdue(Path(__file__).read_text(encoding="utf-8"), version)) == found


def test_nothing_is_there_that_should_be_gone() -> None:
    files = [path for package in ("executor", "harness") for path in (ROOT / package).rglob("*.py")]
    found = [(str(path), what) for path in files for what in overdue(path.read_text(encoding="utf-8"), VERSION)]
    assert found == []
