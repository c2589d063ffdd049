"""Predictions come true: of ``analyze`` from a serial trace, and of ``simulate`` for a limit and a step that change.

Ten pipelines each; `tests/benchmarks/test_predictions_table.py` takes twenty.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.calling import folder
from tests.integration.predicting import analyzed, check, rows, simulated, table_of

__all__ = ["folder"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_the_trace_of_a_serial_run_predicts_is_what_running_side_by_side_takes(folder: Path) -> None:
    found = rows(analyzed, folder, 10)
    print("\n" + table_of(found))
    check(found)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_simulate_says_of_a_higher_limit_and_a_faster_step_is_what_they_bring(folder: Path) -> None:
    found = rows(simulated, folder, 10)
    print("\n" + table_of(found))
    check(found)
