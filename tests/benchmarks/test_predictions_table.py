"""The table of predictions and what then really happened: 20 pipelines each for ``analyze`` and ``simulate``."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.integration.predicting import Row, analyzed, check, rows, simulated, table_of


@pytest.mark.timeout(0)
@pytest.mark.parametrize("make", [analyzed, simulated], ids=["analyze", "simulate"])
def test_predictions_and_what_really_happened(
    benchmark: BenchmarkFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: object
) -> None:
    monkeypatch.chdir(tmp_path)
    found: list[Row] = []

    def run() -> None:
        found.extend(rows(make, tmp_path))  # type: ignore[arg-type] # one of the two above

    benchmark.pedantic(run, rounds=1)
    print("\n" + table_of(found))
    check(found)
