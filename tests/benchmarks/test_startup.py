"""What a start costs, in CPU time, against Python alone and against `import typer, rich`, in turns."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.benchmarks.measure import paired, report

ROUNDS = 10
YARDSTICKS = {"python": "pass", "typer and rich": "import typer, rich"}
STARTS = {
    "from executor import run": ("python", ["-c", "from executor import run"]),
    "makespan --help": ("typer and rich", ["-m", "harness.cli", "--help"]),
    "makespan scenarios": ("typer and rich", ["-m", "harness.cli", "scenarios"]),
    "makespan history": ("typer and rich", ["-m", "harness.cli", "history"]),
    "makespan run -e virtual -q": (
        "typer and rich", ["-m", "harness.cli", "run", "joke_translations", "-e", "virtual", "-q", "--no-store"],
    ),
}  # fmt: skip


def cpu_seconds_of(arguments: list[str], folder: Path) -> Callable[[], float]:
    def start() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True, cwd=folder)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return start


@pytest.mark.parametrize("name", STARTS)
def test_a_start(name: str, benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    yardstick, arguments = STARTS[name]
    start = cpu_seconds_of(arguments, tmp_path)
    found = paired(start, cpu_seconds_of(["-c", YARDSTICKS[yardstick]], tmp_path), ROUNDS)
    report(f"start of {name}, against {yardstick}", found, 1, "")
    benchmark.pedantic(start, rounds=1)
