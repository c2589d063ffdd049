"""What `executor` promises to have."""

from __future__ import annotations

import doctest
import subprocess
import sys

import pytest

import executor


def test_every_public_name_can_be_had() -> None:
    assert all(getattr(executor, name) is not None for name in executor.__all__)
    assert dir(executor) == sorted(executor.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        executor.nothing  # noqa: B018  # the access is the test


def test_the_example_in_the_package_is_true() -> None:
    assert doctest.testmod(executor).failed == 0


def test_importing_the_package_imports_nothing_heavy() -> None:
    program = (
        "import sys, executor; print(sorted({m.split('.')[0] for m in sys.modules} & {'pydantic','jinja2','httpx'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_executor_imports_none_of_the_harness_libraries() -> None:
    program = (
        "import sys, executor.prepared_run, executor.backends.threads, executor.tools.llm;"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'typer','rich','yaml','httpx','scipy','harness'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
