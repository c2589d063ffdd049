"""Real programs, rewritten by the advice: what was foretold ÷ what they then really took, in one table."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.benchmarks.real_programs import ADVICE, Row, row, table
from tests.integration.predicting import analyzed

MOST_WRONG = 0.05


@pytest.mark.timeout(0)
def test_what_was_foretold_of_real_programs_and_what_then_was(
    benchmark: BenchmarkFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found: list[Row] = []

    def measure() -> None:
        for advice in ADVICE:
            found.append(row(advice, tmp_path))
            print(table(found[-1:])[-1], flush=True)

    benchmark.pedantic(measure, rounds=1)
    ours = analyzed(tmp_path, 0)
    lines = table(found)
    lines.append(
        f"| makespan's own, {ours.what} | sure | {ours.before:.2f} | {ours.predicted:.2f} | {ours.real:.2f} "
        f"| {ours.predicted / ours.real:.3f} |"
    )
    print("\n" + "\n".join(lines))
    for one in found:
        if one.advice.is_sure:
            assert one.ratio is not None
            assert abs(one.ratio - 1) <= MOST_WRONG, lines
