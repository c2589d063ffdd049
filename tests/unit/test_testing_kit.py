"""What the testing kit shows by short names: all of it can be had, and is paid for when it is used."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

PACKAGES = ("backends", "drawing", "oracle", "schedulers")


@pytest.mark.parametrize("name", PACKAGES)
def test_every_name_of_the_kit_can_be_had_and_is_listed(name: str) -> None:
    package = import_module(f"harness.testing.{name}")
    assert all(getattr(package, shown) is not None for shown in package.__all__)
    assert dir(package) == sorted(package.__all__)


@pytest.mark.parametrize("name", PACKAGES)
def test_importing_a_part_of_the_kit_imports_no_test_library(name: str) -> None:
    program = (
        f"import sys, harness.testing.{name}; print(sorted({{'hypothesis', 'pytest', 'pydantic'}} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_random_runs_are_drawn_played_and_judged_without_hypothesis() -> None:
    program = (
        "import sys\n"
        "from harness.testing.drawing import judge, random_workflow, simulate\n"
        "run = random_workflow(1, 5)\n"
        "print(judge(*run, simulate(*run)), 'hypothesis' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[] False\n"
