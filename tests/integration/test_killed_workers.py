"""A few of the kills of :mod:`tests.integration.killed_workers`: what is finished stays, and nothing is left behind."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.integration.killed_workers import kill_workers


@pytest.mark.slow
def test_a_run_whose_workers_are_killed_loses_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    counts = kill_workers(tmp_path, random.Random(3), seconds=0.3, steps=80)
    assert counts.kills >= 3
    assert counts.steps == 80
