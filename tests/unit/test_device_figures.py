"""What the figures say of devices: lower bound, lost time, lanes of a report, metrics, spans, what more would gain."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from executor import Devices, Resource, Step, Workflow, run
from executor.model.device_needs import with_count
from executor.record.timeline import Attempt, DeviceAttempt, Timeline
from harness.analysis import RunAnalysis
from harness.analysis.device_bound import device_terms
from harness.cli import app
from harness.report.html.gantt import device_lanes
from harness.simulation.changes import SimulationError, refuse_unmet, set_capacity
from harness.telemetry.metrics.device_samples import DEVICES_LABELLED, device_capacities, parts_held
from harness.telemetry.metrics.time_series import curves_of
from harness.testing.drawing.generator import random_workflow
from harness.testing.drawing.simulated_run import simulate
from tests.unit.test_traces_own import run_of, spans_json

SECOND = 1_000_000_000
TWO = {"gpu": Resource(devices=Devices(ids=("0", "1"), memory_gb=24.0))}
UNEQUAL = {"gpu": Resource(devices=Devices(ids=("0", "1"), memory_gb=(48.0, 12.0)))}


def bound(resources: Mapping[str, Resource], *uses: tuple[dict[str, float], float]) -> float:
    """The bound in seconds for steps that need this for so long."""
    terms = device_terms(
        [needs for needs, _ in uses], resources, ((n, round(s * SECOND)) for n, (_, s) in enumerate(uses))
    )
    return terms["gpu"] / SECOND


def ran(*needs: dict[str, float] | None, resources: Mapping[str, Resource] = TWO, workers: int = 8) -> Timeline:
    steps = tuple(
        Step(step_id=f"s{place}", tool="noop", needs=each, expected_seconds=1.0) for place, each in enumerate(needs)
    )
    return run(Workflow(steps=steps), resources=resources, backend="virtual", workers=workers).timeline


# ---------------------------------------------------------------------- the lower bound


@pytest.mark.parametrize(
    ("resources", "uses", "seconds"),
    [
        # Whole devices, and shares by their sum.
        (TWO, [({"gpu": 2}, 1), ({"gpu": 1}, 2)], 2),
        (TWO, [({"gpu": 0.25}, 8)], 1),
        # Memory · time over the total memory.
        (TWO, [({"gpu_memory_gb": 12}, 4)], 1),
        (UNEQUAL, [({"gpu_memory_gb": 12}, 5)], 1),
        # More than half of a device each: no two fit on one.
        (TWO, [({"gpu_memory_gb": 12.5}, 1)] * 4, 2),
        (TWO, [({"gpu": 0.6}, 1)] * 3, 1.5),
        # A large one leaves 8 GB, into which one of 9 does not fit.
        (TWO, [({"gpu_memory_gb": 16}, 2), ({"gpu_memory_gb": 9}, 2)], (2 + 2 * 9 / 24) / 2),
        # A whole device has all its memory.
        (UNEQUAL, [({"gpu": 1, "gpu_memory_gb": 40}, 3)], 48 * 3 / 60),
    ],
)
def test_the_bound_counts_what_cannot_share_a_device(
    resources: Mapping[str, Resource], uses: list[tuple[dict[str, float], float]], seconds: float
) -> None:
    assert bound(resources, *uses) == pytest.approx(seconds)


def test_no_drawn_run_is_faster_than_its_bound_which_devices_often_set() -> None:
    set_by_devices = 0
    for seed in range(250):
        workflow, behaviour = random_workflow(seed, 8, {"devices"})
        timeline = simulate(workflow, behaviour)
        found = RunAnalysis(timeline).lower_bound
        assert found.nanoseconds <= timeline.makespan_nanoseconds
        set_by_devices += found.binding == "resource.gpu"
    assert set_by_devices >= 5


def best(sizes: list[int], devices: int) -> int:
    """The fewest rounds of one second in which these fit, by trying all: 24 GB on each device, one second each."""
    fits: dict[int, bool] = {0: True}
    whole = (1 << len(sizes)) - 1
    for members in range(1, whole + 1):
        fits[members] = sum(size for place, size in enumerate(sizes) if members >> place & 1) <= 24
    bins = {0: 0}
    for members in range(1, whole + 1):
        part, least = members, math.inf
        while part:
            if fits[part]:
                least = min(least, bins[members ^ part] + 1)
            part = (part - 1) & members
        bins[members] = int(least)
    return -(-bins[whole] // devices)


def test_the_bound_is_never_above_the_best_packing_and_often_just_below() -> None:
    close = 0
    for seed in range(60):
        sizes = [(seed * 7 + place * place * 5 + seed * place * 3) % 20 + 3 for place in range(7)]
        packed = best(sizes, 2)
        found = bound(TWO, *[({"gpu_memory_gb": size}, 1.0) for size in sizes])
        assert found <= packed
        close += math.ceil(found) == packed
    assert close > 45


def test_lost_time_and_the_bound_name_the_devices() -> None:
    analysis = RunAnalysis(ran({"gpu_memory_gb": 13}, {"gpu_memory_gb": 13}, {"gpu_memory_gb": 13}))
    assert analysis.lower_bound.binding == "resource.gpu"
    assert analysis.lower_bound.nanoseconds == 1.5 * SECOND
    assert analysis.lost_time.by_cause["resource.gpu"] == SECOND


# ---------------------------------------------------------------------- the chart


def test_each_device_has_a_lane_and_more_where_it_is_shared() -> None:
    lanes = device_lanes(ran({"gpu": 0.5}, {"gpu": 0.5}, {"gpu": 0.25}, None))
    assert lanes.labels == ("gpu 0", "gpu 0 (2)", "gpu 1")
    assert lanes.lanes_of == {0: [0], 1: [1], 2: [2]}


def test_a_step_with_two_devices_is_on_both_lanes_and_an_unused_device_has_one() -> None:
    assert device_lanes(ran({"gpu": 2})).lanes_of == {0: [0, 1]}
    assert device_lanes(ran(None, {"gpu": 1})).labels == ("gpu 0", "gpu 1")


# ---------------------------------------------------------------------- metrics


def test_the_curves_of_devices_are_what_each_had_also_while_blocked() -> None:
    curves = curves_of(ran({"gpu": 0.5, "gpu_memory_gb": 6}, {"gpu": 0.5}, {"gpu": 1}))
    assert curves.devices["gpu", "0"] == [(0, 1_000_000), (SECOND, 0)]
    assert curves.devices["gpu_memory_gb", "0"] == [(0, 6_000_000), (SECOND, 0)]
    assert curves.devices["gpu", "1"] == [(0, 1_000_000), (SECOND, 0)]
    assert curves.devices["gpu_memory_gb", "1"] == [(0, 24_000_000), (SECOND, 0)]
    assert curves.in_use == {}


def test_very_many_devices_share_a_label() -> None:
    many = {"gpu": Resource(devices=Devices(ids=DEVICES_LABELLED + 6))}
    found = device_capacities(many)
    assert len(found) == DEVICES_LABELLED + 1
    assert found[-1] == ("gpu", "others", 6)
    last = (str(DEVICES_LABELLED + 5),)
    assert list(parts_held({"gpu": last}, {"gpu": 1}, many)) == [(("gpu", "others"), 1_000_000)]


# ---------------------------------------------------------------------- spans


def test_the_devices_of_an_attempt_come_back_from_its_span() -> None:
    timeline = ran({"gpu": 2}, {"gpu": 0.5, "gpu_memory_gb": 6.5}, None)
    found = run_of(spans_json(timeline)).timeline
    assert [attempt.devices for attempt in found.attempts] == [attempt.devices for attempt in timeline.attempts]
    assert found.needs == timeline.needs
    assert found.resources == timeline.resources


# ---------------------------------------------------------------------- what more would gain


def test_more_or_fewer_devices_have_the_memory_of_the_last() -> None:
    assert with_count(UNEQUAL["gpu"], 3).devices == Devices(ids=("0", "1", "added-1"), memory_gb=(48.0, 12.0, 12.0))
    assert with_count(UNEQUAL["gpu"], 1).devices == Devices(ids=("0",), memory_gb=(48.0,))
    assert with_count(TWO["gpu"], 3).devices == Devices(ids=("0", "1", "added-1"), memory_gb=24.0)


@pytest.mark.parametrize(
    ("typed", "resource", "needs"), [("gpu=1", TWO, {"gpu": 2}), ("r=1", {"r": Resource(capacity=2)}, {"r": 2})]
)
def test_a_change_under_which_a_step_could_never_run_is_refused(
    typed: str, resource: dict[str, Resource], needs: dict[str, float]
) -> None:
    timeline = ran(needs, resources=resource)
    with pytest.raises(SimulationError, match=r"'?s0'? needs 2 .* and would never run"):
        refuse_unmet(set_capacity(typed, timeline.resources), timeline)
    refuse_unmet(set_capacity(typed.replace("1", "2"), timeline.resources), timeline)


def test_a_third_device_is_tried_on_the_virtual_clock(tmp_path: Any) -> None:
    steps = [
        {"step_id": f"s{place}", "tool": "sleep", "args": {"seconds": 1}, "expected_seconds": 1, "needs": {"gpu": 1}}
        for place in range(6)
    ]
    path = tmp_path / "six.yaml"
    path.write_text(yaml.safe_dump({"devices": {"gpu": ["fake-0", "fake-1"]}, "steps": steps}))
    said = CliRunner().invoke(app, ["simulate", str(path), "--set-capacity", "gpu=3"]).output
    assert "gpu.devices 2 → 3" in said
    assert "1 s (33%)" in said
    plan = CliRunner().invoke(app, ["plan", str(path)]).output
    assert "3 s with 8 workers, set by the devices of gpu" in " ".join(plan.split())


def test_attempts_that_follow_on_a_device_do_not_overlap() -> None:
    timeline = ran(*[{"gpu": 1}] * 5)
    by_device: dict[str, list[Attempt]] = {}
    for attempt in timeline.attempts:
        assert isinstance(attempt, DeviceAttempt)
        by_device.setdefault((attempt.devices or {})["gpu"][0], []).append(attempt)
    assert sorted(map(len, by_device.values())) == [2, 3]
    for attempts in by_device.values():
        assert all((one.known or 0) <= other.granted for one, other in pairwise(attempts))
