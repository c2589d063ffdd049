"""A small soak among the tests, and that a hang becomes stacks and a saved state."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

from development.soak.footprint import Footprint, growth
from development.soak.watchdog import HUNG_STATUS
from tests.integration.calling import folder

__all__ = ["folder"]

ROOT = Path(__file__).parents[2]


def test_a_small_soak_holds_threads_descriptors_and_children() -> None:
    sizes = ["--steps", "2000", "--runs", "40", "--hours", "1", "--executors", "threads,asyncio"]
    done = subprocess.run(
        [sys.executable, "-m", "development.soak", *sizes], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    head, _, *rows = done.stdout.splitlines()
    assert head.startswith("| soak |")
    assert len(rows) == 4


def test_a_run_that_hangs_becomes_stacks_and_a_saved_state(folder: Path) -> None:
    (folder / "hanging.py").write_text(
        textwrap.dedent("""
        import threading
        from pathlib import Path
        from development.soak.watchdog import Watchdog
        from executor import run
        from executor.model.workflow import Step, Workflow

        watchdog = Watchdog(Path("saved"), 0.3)
        watchdog.about = {"run": 7}

        def hang() -> None:
            # What comes before may take its time on a busy machine.
            with watchdog:
                threading.Event().wait()

        steps = (Step(step_id="fine", tool="noop"), Step(step_id="stuck", tool="hang", depends_on=("fine",)),
                 Step(step_id="behind", tool="noop", depends_on=("stuck",)))
        run(Workflow(workflow_id="w", steps=steps), tools={"hang": hang}, instruments=[watchdog], workers=2, seed=5)
        """)
    )
    done = subprocess.run(
        [sys.executable, "hanging.py"],
        env={"PYTHONPATH": str(ROOT)},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == HUNG_STATUS, done.stderr
    assert "hung: nothing has happened for 0.3 s" in done.stderr
    assert ", line 14 in hang" in (folder / "saved" / "stacks.txt").read_text()
    state = json.loads((folder / "saved" / "state.json").read_text())
    assert (state["run"], state["seed"], state["backend"]) == (7, 5, "threads")
    assert [step_id for step_id, _ in state["not_final"]] == ["stuck", "behind"]


def test_growth_is_told() -> None:
    flat = [Footprint(100, 2, 6, 0)] * 10
    assert growth(flat, judge_memory=True) == []
    assert growth([*flat, Footprint(109, 2, 6, 0)], judge_memory=True) == []
    assert "1.11 ×" in growth([*flat, Footprint(111, 2, 6, 0)], judge_memory=True)[0]
    assert "3 threads" in growth([*flat, Footprint(100, 3, 6, 0)], judge_memory=False)[0]
    assert "1 children" in growth([*flat, Footprint(100, 2, 6, 1)], judge_memory=False)[0]
