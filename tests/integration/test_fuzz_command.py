"""`makespan fuzz`: its exit status, what it prints, and what it leaves for the person who mends the faults."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from harness.testing.fuzz import fuzzing
from tests.properties.planted.faults import FAULTS
from tests.properties.planted.planting import planted

PRIORITY_REVERSED = next(fault for fault in FAULTS if fault.name == "priority reversed")


def makespan(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "makespan"), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_it_says_how_many_how_fast_and_what_was_covered(tmp_path: Path) -> None:
    done = makespan("fuzz", "--dags", "300", "--seed", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "300 workflows on virtual in" in done.stdout
    assert "a second" in done.stdout
    assert "transitions reached:" in done.stdout
    assert "nothing was found" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_thousand_workflows_go_through_every_transition_and_break_no_rule(tmp_path: Path) -> None:
    done = makespan("fuzz", "--dags", "20000", "--seed", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "transitions reached: all " in done.stdout


@pytest.mark.slow
def test_several_jobs_play_the_same_workflows(tmp_path: Path) -> None:
    one = makespan("fuzz", "--dags", "250", "--size", "6", cwd=tmp_path)
    two = makespan("fuzz", "--dags", "250", "--size", "6", "--jobs", "2", cwd=tmp_path)
    assert one.returncode == two.returncode == 0
    injected = [next(line for line in done.stdout.splitlines() if "faults injected" in line) for done in (one, two)]
    assert injected[0] == injected[1]


def test_a_real_backend_is_played_for_real(tmp_path: Path) -> None:
    done = makespan("fuzz", "--backend", "threads", "--dags", "20", "--size", "8", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "20 workflows on threads" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--backend", "nowhere"), "there is no executor 'nowhere'"),
        (("--features", "nothing"), "no such feature: nothing"),
        (("--replay", "nowhere.json"), "nowhere.json"),
        (("--dags", "0"), "--dags"),
        (("--unknown",), "--unknown"),
    ],
)
def test_bad_usage_is_told_in_words_and_with_status_2(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    done = makespan("fuzz", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_found_can_be_replayed_and_run(tmp_path: Path) -> None:
    runner = CliRunner()
    folder = tmp_path / "found"
    with planted(PRIORITY_REVERSED):
        result = runner.invoke(app, ["fuzz", "--dags", "20", "--size", "10", "--no-faults", "--out", str(folder)])
        assert result.exit_code == 1
        assert "FAULT start_order" in result.output
        replay = next(folder.glob("fuzz-start-order-*.json"))
        scenario = replay.with_suffix(".yaml")
        assert f"makespan fuzz --replay {replay}" in result.output
        assert f"makespan run {scenario} --executor virtual" in result.output
        again = runner.invoke(app, ["fuzz", "--replay", str(replay)])
        assert again.exit_code == 1
        assert "the fault is there" in again.output
    mended = runner.invoke(app, ["fuzz", "--replay", str(replay)])
    assert mended.exit_code == 0
    assert "nothing is wrong with it" in mended.output
    run = makespan("run", str(scenario), "--executor", "virtual", "--no-progress", cwd=tmp_path)
    assert run.returncode in (0, 1), run.stderr
    assert "Traceback" not in run.stderr


def test_what_was_found_until_an_interrupt_is_shown_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "found"
    # It comes while the first counterexample is made small.
    monkeypatch.setattr(fuzzing, "_smallest", lambda *_: signal.raise_signal(signal.SIGINT))
    with planted(PRIORITY_REVERSED):
        result = CliRunner().invoke(app, ["fuzz", "--dags", "1000", "--no-faults", "--out", str(folder)])
        assert result.exit_code == 130
        assert "interrupted: this is what was played until then" in result.output
        assert "FAULT start_order" in result.output
        (replay,) = folder.glob("fuzz-start-order-*.json")
        assert "the fault is there" in CliRunner().invoke(app, ["fuzz", "--replay", str(replay)]).output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_leaves_the_count_of_what_was_played(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = fuzzing.Settings.draw

    def interrupted(settings: fuzzing.Settings, place: int) -> fuzzing.Candidate:
        if place == 230:
            # Who stops a program often signals it twice.
            signal.raise_signal(number)
            signal.raise_signal(number)
        return draw(settings, place)

    monkeypatch.setattr(fuzzing.Settings, "draw", interrupted)
    result = CliRunner().invoke(app, ["fuzz", "--dags", "1000", "--size", "4"])
    assert result.exit_code == 130
    assert result.output.startswith("230 workflows on virtual")
    assert "nothing was found" in result.output


FOREIGN = """
from concurrent.futures import ThreadPoolExecutor
from executor.backends.submit import SubmitBackend

class Pool(SubmitBackend):
    name = "pool"

    def make_executor(self):
        return ThreadPoolExecutor(self.capacity)
"""


def test_on_a_backend_of_ones_own_without_a_way_back_no_calls_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = tmp_path / "pool-1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Name: pool\nVersion: 1\n", encoding="utf-8")
    (facts / "entry_points.txt").write_text("[makespan.backends]\npool = drawn_pool:Pool\n", encoding="utf-8")
    (tmp_path / "drawn_pool.py").write_text(FOREIGN, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = makespan("fuzz", "--backend", "pool", "--dags", "30", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "steps on pool cannot call tools: no calls were drawn" in done.stdout


EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def test_somebody_elses_scheduler_in_the_current_folder_is_tested_and_its_fault_told(
    tmp_path: Path,
) -> None:
    shutil.copytree(EXAMPLES, tmp_path, dirs_exist_ok=True)
    done = makespan("fuzz", "--target", "test_tiny_scheduler:TestTinyScheduler", "--dags", "100", cwd=tmp_path)
    assert done.returncode == 1
    assert (tmp_path / "fuzz-findings" / "target-seed-0.json").is_file()
    assert "the scheduler broke a rule" in done.stderr
    assert "what happened:" in done.stderr


@pytest.mark.parametrize("target", ["no_such_module:run", "test_tiny_scheduler:nothing", "without_a_colon"])
def test_a_target_that_is_not_there_is_refused_with_its_name(target: str) -> None:
    done = makespan("fuzz", "--target", target, cwd=EXAMPLES)
    assert done.returncode == 2
    assert target.partition(":")[0] in done.stderr
    assert "Traceback" not in done.stderr


def test_random_workflows_need_no_hypothesis() -> None:
    blocked = "import runpy, sys; sys.modules['hypothesis'] = None; sys.argv = ['makespan', 'fuzz', '--dags', '3']"
    command = [sys.executable, "-c", f"{blocked}; runpy.run_module('harness.cli', run_name='__main__')"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_replay_file_that_is_nested_too_deeply_is_refused_by_name(tmp_path: Path) -> None:
    deep = tmp_path / "deep.json"
    deep.write_text("[" * 100_000)
    done = CliRunner().invoke(app, ["fuzz", "--replay", str(deep)])
    assert done.exit_code == 2, done.output
    assert "deep.json" in done.stderr
