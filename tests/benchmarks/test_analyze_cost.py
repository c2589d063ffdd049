"""What ``makespan analyze FILE`` costs in full against ``json.loads`` of the same file: processor time and memory.

Each is a process of its own, in turn; the time of a Python that does nothing is taken off the yardstick alone, so the
start of makespan counts. ``json.loads`` is called as one would: with the garbage collector, which looks at all that was
read again and again. Beside it stands the ratio to one with the collector paused, which nobody writes but which is the
harder yardstick.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.benchmarks.measure import ROWS
from tests.benchmarks.trace_files import write_traces

SPANS, MANY_SPANS = 100_000, 1_000_000
TRACES = 10_000
AT_MOST = 8.0
HOLDS_AT_MOST = 3.0
GROWS_AT_MOST = 1.2
ROUNDS = 3
_LOADS = "import gc, json, sys\nif sys.argv[2] == 'paused': gc.disable()\n"
_LOADS += "held = [json.loads(line) for line in open(sys.argv[1], 'rb')]\n"


# A process inherits the peak of the one that starts it, so a small one does.
_STARTER = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
process.returncode = os.waitstatus_to_exitcode(status)
print(process.returncode, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
"""


def cost(*command: str) -> tuple[float, int]:
    """Processor seconds of a process, and its peak memory in bytes."""
    starter = [sys.executable, "-I", "-S", "-c", _STARTER, sys.executable, *command]
    status, seconds, peak = subprocess.run(starter, check=True, capture_output=True, text=True).stdout.split()
    assert status == "0", command
    return float(seconds), int(peak)


def loads(path: Path, collector: str) -> tuple[float, int]:
    """What the standard library needs for the file."""
    nothing, _ = cost("-c", "import json")
    seconds, held = cost("-c", _LOADS, str(path), collector)
    return seconds - nothing, held


def analyze(path: Path) -> tuple[float, int]:
    return cost("-m", "harness.cli", "analyze", str(path))


@pytest.mark.timeout(0)
@pytest.mark.parametrize(
    ("name", "lean", "traces"),
    [
        ("realistic, one trace", False, 1),
        ("realistic, 10,000 traces", False, TRACES),
        ("lean, one trace", True, 1),
        ("lean, 10,000 traces", True, TRACES),
    ],
)
def test_analyzing_a_file_of_100_000_spans_against_json_loads(
    benchmark: BenchmarkFixture, tmp_path: Path, name: str, lean: bool, traces: int
) -> None:
    path = write_traces(tmp_path / "spans.jsonl", SPANS, lean=lean, traces=traces)
    usual, paused, ours, memory = [], [], [], []
    for _ in range(ROUNDS):
        seconds, held = loads(path, "usual")
        hard, _ = loads(path, "paused")
        mine, peak = analyze(path)
        usual.append(mine / seconds)
        paused.append(mine / hard)
        ours.append(mine)
        memory.append(peak / held)
    ratio, hard_ratio = statistics.median(usual), statistics.median(paused)
    microseconds = statistics.median(ours) / SPANS * 1e6
    size = path.stat().st_size // SPANS
    limit = "shown beside" if lean else f"{AT_MOST:g}"
    what = f"analyze of 100,000 spans ({name}, {size} bytes a span) ÷ json.loads"
    spread = f"{min(usual):.1f} – {max(usual):.1f}"
    ROWS.append((what, f"{microseconds:.1f}", f"{microseconds / ratio:.1f}", f"{ratio:.1f}", spread, limit))
    hard_what = f"{what}, garbage collector paused"
    hard_spread = f"{min(paused):.1f} – {max(paused):.1f}"
    by_hand = f"{microseconds / hard_ratio:.1f}"
    ROWS.append((hard_what, f"{microseconds:.1f}", by_hand, f"{hard_ratio:.1f}", hard_spread, "shown beside"))
    peak_ratio = statistics.median(memory)
    memory_limit = "shown beside" if lean else f"{HOLDS_AT_MOST:g}"
    ROWS.append((f"{what}: peak memory", "", "", f"{peak_ratio:.2f}", "", memory_limit))
    benchmark.extra_info.update(ratio=ratio, paused_ratio=hard_ratio, memory_ratio=peak_ratio)
    benchmark.pedantic(lambda: None, rounds=1)
    if not lean:
        assert ratio <= AT_MOST
        assert peak_ratio <= HOLDS_AT_MOST


@pytest.mark.timeout(0)
@pytest.mark.parametrize(("name", "traces"), [("one trace", 1), ("100,000 ÷ 10,000 traces", TRACES)])
def test_a_span_of_a_million_costs_as_much_as_one_of_100_000(
    benchmark: BenchmarkFixture, tmp_path: Path, name: str, traces: int
) -> None:
    small = write_traces(tmp_path / "small.jsonl", SPANS, lean=True, traces=traces)
    ten = MANY_SPANS // SPANS
    large = write_traces(tmp_path / "large.jsonl", MANY_SPANS, lean=True, traces=traces * ten if traces > 1 else 1)
    before, _ = analyze(small)
    seconds, _ = analyze(large)
    after, _ = analyze(small)  # a machine that becomes slower does so for both
    usual = (before + after) / 2
    grows = seconds / ten / usual
    what = f"analyze, lean, {name}: a span of 1,000,000 ÷ one of 100,000"
    row = (what, f"{seconds / MANY_SPANS * 1e6:.1f}", f"{usual / SPANS * 1e6:.1f} (of 100,000)", f"{grows:.2f}")
    ROWS.append((*row, "", f"{GROWS_AT_MOST}"))
    benchmark.extra_info["grows"] = grows
    benchmark.pedantic(lambda: None, rounds=1)
    assert grows <= GROWS_AT_MOST
