"""A program of a test that fails does not hold up the others."""

from __future__ import annotations

import signal
import sys

import pytest

from tests.child_programs import Program


def test_a_program_is_killed_where_its_test_fails_and_left_alone_where_it_does_not() -> None:
    with Program([sys.executable, "-c", "print('whole')"]) as program:
        pass
    assert program.returncode == 0
    with pytest.raises(AssertionError), Program([sys.executable, "-c", "import time; time.sleep(3600)"]) as program:
        raise AssertionError
    assert program.returncode == -signal.SIGKILL
