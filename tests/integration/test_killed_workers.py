"""A few of the kills of :mod:`tests.integration.killed_workers`: what is finished stays, and nothing is left behind."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.integration.killed_workers import kill_workers


@pytest.mark.slow
def test_a_run_whose_workers_are_killed_loses_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    # On a busy machine the killer comes to its turn less often.
    draw, kills = random.Random(3), 0
    for number in range(5):
        (folder := tmp_path / str(number)).mkdir()
        counts = kill_workers(folder, draw, seconds=0.3, steps=80)
        assert counts.steps == 80
        kills += counts.kills
        if kills >= 3:
            return
    pytest.fail(f"{kills} workers were killed in 5 runs")
