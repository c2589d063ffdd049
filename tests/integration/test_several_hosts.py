"""A run over several hosts, really: driver, scheduler and two workers on a network with delays, in network namespaces.
The link of one worker is cut and comes back, the host of the other vanishes; nothing is lost.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.analysis.run_analysis import RunAnalysis
from harness.result import timeline_from_document
from tests.conformance.dask_programs import DaskPrograms
from tests.integration.network_hosts import NetworkHosts, why_there_can_be_none
from tests.missing import program

SHIFT_SECONDS = 5
NAPS = """
import pathlib, time
from distributed import get_worker

def nap(folder, name, seconds, before=None):
    began = time.perf_counter()
    pathlib.Path(folder, f"{name} on {get_worker().name}").touch()
    time.sleep(seconds)
    return {"name": name, "after": before, "took": time.perf_counter() - began}
"""
# Connections that hear nothing for so long are given up; Dask takes no less.
SETTINGS = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s", "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "10s"}
CUT_SECONDS = 2.0
NAP_SECONDS = 0.7
SECOND = 1_000_000_000


@pytest.fixture
def namespaces() -> None:
    """They can be made here."""
    program("ip", "iproute2")
    reason = why_there_can_be_none()
    if reason is not None:
        pytest.skip(reason)


def workflow(folder: Path) -> dict[str, object]:
    """Three chains of four steps."""
    steps = []
    for chain in "abc":
        for number in range(4):
            name = f"{chain}{number}"
            step = {"step_id": name, "tool": "naps:nap", "retry": {"max_attempts": 3, "backoff_seconds": 0.1}}
            args = {"folder": str(folder), "name": name, "seconds": NAP_SECONDS}
            if number:
                args["before"] = f"{{{{ steps.{chain}{number - 1}.output.name }}}}"
            steps.append({**step, "args": args})
    return {"workflow_id": "hosts", "steps": steps}


def wait_for(folder: Path, count: int, driver: subprocess.Popen[str], on: str = "") -> None:
    """Until so many steps have begun (``on`` that worker)."""
    until = time.monotonic() + 60
    while len(list(folder.glob(f"* on {on or '*'}"))) < count:
        if time.monotonic() > until or driver.poll() is not None:
            driver.kill()
            pytest.fail(f"the steps do not begin: {driver.communicate()[0]}")
        time.sleep(0.02)


def ran(inside: list[str], folder: Path, *options: str) -> subprocess.Popen[str]:
    """The command, in the folder with the workflow."""
    command = [*inside, sys.executable, "-m", "harness.cli", "run", "hosts.json", *options]
    environment = {**os.environ, **SETTINGS}
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


@pytest.mark.slow
@pytest.mark.usefixtures("namespaces")
def test_a_link_that_is_cut_and_a_host_that_vanishes_lose_nothing(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    begun.mkdir()
    (tmp_path / "naps.py").write_text(NAPS)
    (tmp_path / "hosts.json").write_text(json.dumps(workflow(begun)))
    with NetworkHosts("driver", "middle", "one", "two") as hosts, DaskPrograms(tmp_path, SETTINGS) as programs:
        for name, there, back in (("middle", 2, 1), ("one", 5, 1), ("two", 1, 8)):
            hosts.delay(name, there, back)
        programs.scheduler(host=hosts.addresses["middle"], inside=hosts.inside("middle"))
        programs.worker("one", host=hosts.addresses["one"], inside=hosts.inside("one"))
        shifted = [*hosts.inside("two"), "unshare", "--time", "--monotonic", str(SHIFT_SECONDS)]
        programs.worker("two", host=hosts.addresses["two"], inside=shifted)
        options = ["--executor", "dask", "--backend-option", f"address={programs.address}"]
        options += ["--backend-option", "files=naps.py", "--json", "there.json"]
        driver = ran(hosts.inside("driver"), tmp_path, *options)
        wait_for(begun, 2, driver)
        hosts.cut("two")
        time.sleep(CUT_SECONDS)
        hosts.join("two")
        wait_for(begun, 7, driver)
        # In the midst of a step.
        wait_for(begun, len(list(begun.glob("* on one"))) + 1, driver, on="one")
        hosts.cut("one")
        said, _ = driver.communicate(timeout=100)
    assert driver.returncode == 0, said
    [result] = json.loads((tmp_path / "there.json").read_text())["results"]
    expected = {
        f"{chain}{number}": {"name": f"{chain}{number}", "after": f"{chain}{number - 1}" if number else None}
        for chain in "abc"
        for number in range(4)
    }
    outputs = {step["step_id"]: step["output"] for step in result["steps"]}
    took = {step_id: output.pop("took") for step_id, output in outputs.items()}
    assert outputs == expected
    timeline = timeline_from_document(result)
    # One step ran on the host that vanished; the cut lost none.
    died = [attempt for attempt in timeline.attempts if attempt.outcome != "succeeded"]
    assert [attempt.outcome for attempt in died] == ["worker_died"]
    assert [workers for _, workers in timeline.worker_changes] == [2, 1]
    [(far, reading)] = timeline.clocks.items()
    assert reading.resets == 0
    assert abs(reading.offset_nanoseconds - SHIFT_SECONDS * SECOND) <= reading.error_nanoseconds
    # The answer of the step that ended during the cut came late, and its times are right all the same.
    late = [attempt for attempt in timeline.attempts if (attempt.known or 0) - (attempt.ended or 0) > 0.5 * SECOND]
    assert far in {attempt.worker for attempt in late}
    for attempt in timeline.attempts:
        times = [attempt.ready, attempt.granted, attempt.started or 0, attempt.ended or 0, attempt.known or 0]
        assert times == sorted(times)
        if attempt.outcome == "succeeded":
            # What the step itself has measured: a busy machine may have it sleep longer.
            assert took[attempt.step_id] <= (times[3] - times[2]) / SECOND + 0.01 < took[attempt.step_id] + 1
    lost = RunAnalysis(timeline).lost_time.by_cause
    assert sum(lost.values()) == timeline.makespan_nanoseconds
