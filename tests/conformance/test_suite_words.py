"""What the suite for backends says of one with a fault: which fault, and no other."""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import pytest

from executor.backends.submit import SubmitBackend
from harness.testing.backends import BackendConformance

POOL = ThreadPoolExecutor(1)


class OneThreadTooFew(SubmitBackend):
    name = "too_few"

    def make_executor(self) -> Executor:
        return ThreadPoolExecutor(max(1, self.capacity - 1))


class UsesAPoolOfItsModule(SubmitBackend):
    name = "kept_pool"

    def make_executor(self) -> Executor:
        return POOL


class SuiteOfTooFew(BackendConformance):
    backend = OneThreadTooFew


class SuiteOfUses(BackendConformance):
    backend = UsesAPoolOfItsModule


@pytest.mark.parametrize("tool", ["beat", "beat_async"])
def test_a_pool_with_a_thread_too_few_is_not_said_to_stop_calls(tool: str, tmp_path: Path) -> None:
    assert not SuiteOfTooFew().stops(tool, tmp_path)


def test_a_backend_that_cannot_travel_to_a_program_of_its_own_is_said_to_use_what_cannot() -> None:
    with pytest.raises(TypeError, match=r"UsesAPoolOfItsModule.*cannot pickle.*rather than use those of its module"):
        SuiteOfUses().script_command("pass")
