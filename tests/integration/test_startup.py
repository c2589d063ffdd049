"""Start-up counts: it is reported, with a warning where it exceeds the gain, and workers are kept where runs follow."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from unittest.mock import patch

import pytest

from executor.backends import find_backend
from executor.backends.base import BackendError
from executor.backends.processes.process_backend import ProcessesBackend
from executor.model.workflow import Step, Workflow
from executor.running import Run, run
from harness.benchmark.bench_figures import bench_document
from harness.benchmark.matrix import MatrixRequest, build_matrix
from harness.benchmark.runner import Runner
from harness.benchmark.session import Session
from harness.config import load_config
from harness.report.terminal import summary_text
from harness.report.terminal.bench_text import bench_lines
from harness.result.cell_key import cell_of


def pid(seconds: float = 0.0) -> int:
    return os.getpid()


def greeting(name: str) -> str:
    return f"hello {name}"


def die() -> None:
    os._exit(3)


def done(backend: ProcessesBackend, *steps: Step, **tools: object) -> Run:
    made = steps or tuple(Step(step_id=f"s{number}", tool="pid") for number in range(8))
    return run(Workflow(steps=made), backend=backend, tools={"pid": pid, **tools})


def alive(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


def test_runs_that_share_an_executor_share_its_workers() -> None:
    with ProcessesBackend(2) as backend:
        first = done(backend)
        workers = set(backend.worker_pids)
        second = done(backend)
        assert set(backend.worker_pids) == workers
        assert set(first.outputs.values()) | set(second.outputs.values()) <= workers
        assert second.startup_seconds < first.startup_seconds / 2
    assert not any(map(alive, workers))


def test_a_worker_that_calls_python_functions_loads_neither_the_engine_nor_its_libraries(tmp_path: Path) -> None:
    # In a module of its own: this one imports the engine.
    (tmp_path / "loaded_in_worker.py").write_text(
        "import sys\ndef loaded(names): return [n for n in names if n in sys.modules]"
    )
    heavy = ["pydantic", "asyncio", "ssl", "executor.engine", "executor.scheduler", "executor.model.workflow"]
    with patch.object(sys, "path", [str(tmp_path), *sys.path]), ProcessesBackend(1) as backend:
        from loaded_in_worker import loaded  # type: ignore[import-not-found]  # written above

        before = Step(step_id="a", tool="sleep", args={"seconds": 0})
        after = Step(step_id="b", tool="loaded", args={"names": heavy}, depends_on=("a",))
        assert done(backend, before, after, loaded=loaded).outputs["b"] == []


@pytest.mark.parametrize("trace", [None, {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}])
def test_a_worker_loads_tracing_before_its_first_step_where_the_run_is_traced(trace: dict[str, str] | None) -> None:
    # Until a worker is ready its time counts as start-up, and after that into the first steps.
    code = (
        "import pickle, sys; from executor.backends.processes.serving import _unpack; "
        "from executor.tools.tool import RunContext; "
        f"_unpack({{'': pickle.dumps(RunContext(trace={trace!r}))}}); "
        "print('executor.tracing.worker_spans' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{trace is not None}\n"


def test_each_run_has_its_own_tools_inputs_and_failures() -> None:
    with ProcessesBackend(2) as backend:
        done(backend)
        step = Step(step_id="a", tool="greet", args={"name": "{{ inputs.who }}"})
        for who in ("Ada", "Grace"):
            made = run(Workflow(steps=(step,)), {"who": who}, backend=backend, tools={"greet": greeting})
            assert made.outputs == {"a": f"hello {who}"}


def test_a_worker_that_died_is_replaced_for_the_next_run() -> None:
    with ProcessesBackend(2) as backend:
        broken = done(backend, Step(step_id="a", tool="die", idempotent=False), die=die)
        assert broken.statuses == {"a": "failed"}
        assert done(backend).ok
        assert len(backend.worker_pids) == 2


def test_a_step_past_its_timeout_does_not_reach_into_the_next_run() -> None:
    with ProcessesBackend(1) as backend:
        late = done(backend, Step(step_id="a", tool="sleep", args={"seconds": 60}, timeout=0.2))
        assert late.errors["a"].outcome == "timed_out"
        assert late.statuses == {"a": "failed"}
        assert done(backend).ok


def test_what_cannot_be_sent_leaves_the_workers_for_the_next_run() -> None:
    with ProcessesBackend(1) as backend:
        done(backend)
        (worker,) = backend.worker_pids
        lock = threading.Lock()
        with pytest.raises(BackendError, match="cannot be pickled"):
            run(Workflow(steps=(Step(step_id="a", tool="t"),)), backend=backend, tools={"t": lambda: lock})
        assert set(done(backend).outputs.values()) == {worker}


def test_an_executor_without_workers_to_keep_is_shared_all_the_same() -> None:
    with find_backend("threads")(2) as backend:
        assert [run(Workflow(steps=(Step(step_id="a", tool="noop", prompt="x"),)), backend=backend).ok] == [True]


SCENARIO = """
scenario: short
steps:
  - {step_id: a, tool: sleep, args: {seconds: 0.02}}
  - {step_id: b, tool: sleep, args: {seconds: 0.02}}
"""


@pytest.fixture(scope="module")
def benched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """A bench whose runs are far shorter than the start of a worker process."""
    path = tmp_path_factory.mktemp("startup") / "short.yaml"
    path.write_text(SCENARIO)
    request = MatrixRequest(executors=("serial", "processes"), workers=(2,), repetitions=5, warmup=0)
    matrix = build_matrix([str(path)], request, load_config(None))
    with Runner(matrix) as runner:
        outcome = Session(matrix, runner).run()
    assert outcome.failure is None
    head = {"schema": "makespan.run/1", "run_id": "r", "scenario": "short", "started_at": "2026-01-01T00:00:00+00:00"}
    return bench_document(outcome, {**head, "environment": {}}, seed=0, predictions=False)


def test_a_bench_keeps_its_workers_and_tells_what_their_start_took(benched: dict[str, object]) -> None:
    (serial, processes) = sorted(benched["results"], key=lambda one: cell_of(one, "").executor != "serial")  # type: ignore[call-overload]  # a document
    cold = processes["cold_startup_seconds"]
    startups = [sample["startup_seconds"] for sample in processes["samples"]]
    assert startups[0] == cold
    assert max(startups[1:]) < cold / 2
    assert serial["cold_startup_seconds"] < cold / 2
    assert all(sample["cpu_seconds"] > 0 for sample in processes["samples"])


def test_start_up_has_a_column_and_a_caution_where_it_exceeds_the_gain(
    benched: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A fast machine starts two processes in less than is worth a column.
    monkeypatch.setattr(summary_text, "_LEAST_STARTUP_SECONDS", 0.0)
    text = "\n".join(line.text for line in bench_lines(benched))
    assert "start-up" in text.splitlines()[1]
    assert "workers took" in text
    assert "that a run gains" in text
