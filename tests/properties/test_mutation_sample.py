"""A sample of the mutants of the core; `make mutation` takes them all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_of_two_hundred_mutants_all_are_found_but_those_that_are_listed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.mutation", "--sample", "200", "--seed", "5", "--jobs", "1"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "200 of " in done.stdout
