"""Task Bench's patterns have its own numbers; METG is found where the efficiency is crossed; the commands."""

from __future__ import annotations

import json
import math
from pathlib import Path

import jsonschema
import pytest

from harness.plain_text import duration_text
from harness.scenario.scenario_file import load
from harness.workloads import PATTERNS, PatternError, Shape, granularity_schema, scenario_of
from harness.workloads.granularity import LONGEST_SECONDS, SHORTEST_SECONDS, Measured, crossing, interpolated
from harness.workloads.siphash import siphash_2_4
from harness.workloads.task_bench import steps_of
from tests.integration.calling import called, folder

__all__ = ["folder"]

# Tasks and different dependencies as Task Bench's own core has them (its revision bf4ad19), by shape: width, timesteps,
# radix, period, fraction.
COUNTED = {
    (8, 40, 3, 3, 0.25): {
        "trivial": (320, 0),
        "no_comm": (320, 312),
        "stencil_1d": (320, 858),
        "stencil_1d_periodic": (320, 936),
        "dom": (264, 487),
        "tree": (303, 302),
        "fft": (320, 754),
        "all_to_all": (320, 2496),
        "nearest": (320, 858),
        "spread": (320, 936),
        "random_nearest": (320, 442),
    },
    (13, 17, 5, 4, 0.5): {
        "trivial": (221, 0),
        "no_comm": (221, 208),
        "stencil_1d": (221, 592),
        "stencil_1d_periodic": (221, 624),
        "dom": (81, 140),
        "tree": (184, 183),
        "fft": (221, 504),
        "all_to_all": (221, 2704),
        "nearest": (221, 944),
        "spread": (221, 988),
        "random_nearest": (221, 572),
    },
    (5, 30, 4, 7, 0.1): {
        "trivial": (150, 0),
        "no_comm": (150, 145),
        "stencil_1d": (150, 377),
        "stencil_1d_periodic": (150, 435),
        "dom": (130, 229),
        "tree": (142, 141),
        "fft": (150, 303),
        "all_to_all": (150, 725),
        "nearest": (150, 464),
        "spread": (150, 520),
        "random_nearest": (150, 197),
    },
}


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("shape", COUNTED)
def test_a_pattern_has_the_numbers_of_task_bench(shape: tuple[int, int, int, int, float], pattern: str) -> None:
    steps = list(steps_of(pattern, Shape(*shape)))
    assert (len(steps), sum(len(before) for _, before in steps)) == COUNTED[shape][pattern]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_loads_as_a_scenario(tmp_path: Path, pattern: str) -> None:
    made = scenario_of(pattern, Shape(4, 5), seconds=0.002)
    (tmp_path / "made.json").write_text(json.dumps(made), encoding="utf-8")
    assert len(load(tmp_path / "made.json").graph.steps) == len(made["steps"])


def test_the_hash_is_that_of_its_papers_example() -> None:
    assert siphash_2_4(bytes(range(15)), bytes(range(16))) == 0xA129CA6149BE45E5


@pytest.mark.parametrize(
    ("pattern", "shape"),
    [("fftt", Shape()), ("spread", Shape(width=2)), ("random_nearest", Shape(radix=0)), ("tree", Shape(0)),
     ("tree", Shape(10_000, 10_000)), ("tree", Shape(fraction=2))],
)  # fmt: skip
def test_what_makes_no_pattern_says_what_to_do(pattern: str, shape: Shape) -> None:
    with pytest.raises(PatternError) as raised:
        list(steps_of(pattern, shape))
    assert raised.value.fix


# METG


@pytest.mark.parametrize("cost", [3e-6, 40e-6, 1e-3, 0.03, 0.4])
def test_metg_is_the_cost_of_a_step_where_each_costs_the_same(cost: float) -> None:
    found = crossing(lambda seconds: Measured(seconds, 40 * (seconds + cost), 40 * seconds), 0.5)
    metg = interpolated(found, 0.5)
    assert metg is not None
    assert math.isclose(metg, cost, rel_tol=0.03)


@pytest.mark.parametrize(("cost", "last"), [(0.0, SHORTEST_SECONDS), (100.0, LONGEST_SECONDS)])
def test_metg_is_not_named_where_no_duration_is_on_the_other_side(cost: float, last: float) -> None:
    found = crossing(lambda seconds: Measured(seconds, seconds + cost, seconds), 0.5)
    assert interpolated(found, 0.5) is None
    assert any(last / 2 <= one.step_seconds <= last * 2 for one in found)


# The commands


def test_the_list_names_every_pattern(folder: Path) -> None:
    done = called("workloads", "list")
    assert done.exit_code == 0
    assert all(name in done.stdout for name in PATTERNS)


def test_what_was_made_simulates_to_its_critical_path(folder: Path) -> None:
    assert called("workloads", "make", "stencil_1d", "--seconds", "0.5", "--save", "made.yaml").exit_code == 0
    done = called("simulate", "made.yaml")
    assert f"(8 workers, policy dataflow): {duration_text(20)}" in done.stdout


def test_metg_is_measured_on_a_real_executor_and_written(folder: Path) -> None:
    done = called(
        "workloads", "metg", "no_comm", "--width", "2", "--timesteps", "3", "-n", "1", "-w", "2", "--json", "metg.json"
    )
    assert done.exit_code == 0, done.stderr
    assert "METG(50%) of no_comm, 2 × 3, sleep, threads, 2 workers" in done.stdout
    written = json.loads((folder / "metg.json").read_text(encoding="utf-8"))
    jsonschema.validate(written, granularity_schema(), cls=jsonschema.Draft202012Validator)
    assert written["workers"] == 2
    assert written["measured"]


@pytest.mark.parametrize(
    "arguments",
    [("metg", "-e", "virtual"), ("metg", "--kernel", "noop"), ("metg", "none"), ("metg", "-e", "none"),
     ("make", "tree", "--kernel", "spin"), ("make", "tree", "--save", "no/such/folder.yaml")],
)  # fmt: skip
def test_what_cannot_be_is_refused(folder: Path, arguments: tuple[str, ...]) -> None:
    done = called("workloads", *arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
