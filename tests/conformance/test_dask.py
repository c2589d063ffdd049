"""Backend `dask` beside its suite: a cluster that runs already, and what it says when it cannot be had."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from executor import BackendError, Step, Workflow, run
from executor.backends import find_backend
from executor.backends.dask import cluster_worker
from tests.child_programs import Program

NAP = Step(step_id="a", tool="sleep", args={"seconds": 0.01})


CLUSTER = """
from distributed import LocalCluster
options = {"processes": False, "protocol": "tcp://", "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
with LocalCluster(n_workers=1, threads_per_worker=2, **options) as cluster:
    print(cluster.scheduler_address, flush=True)
    input()
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of another owner, with one worker of two threads."""
    with Program([sys.executable, "-c", CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        yield program.stdout.readline().strip()
        program.communicate("\n", timeout=30)


def test_a_step_on_a_cluster_in_the_users_own_process_leaves_its_stdout_as_it_is() -> None:
    program = CLUSTER.partition("    print")[0] + (
        "    import sys; from executor import Step, Workflow, find_backend, run\n"
        "    steps = (Step(step_id='a', tool='noop'),)\n"
        "    done = run(Workflow(steps=steps), backend=find_backend('dask')(1, address=cluster.scheduler_address))\n"
        "    print(done.ok, sys.stdout.line_buffering)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"


def test_dask_is_imported_when_it_is_asked_for_and_not_before() -> None:
    program = (
        "import sys, executor.backends, executor; executor.find_backend('threads'); print('distributed' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_where_dask_is_missing_the_error_names_the_extra() -> None:
    program = (
        "import sys; sys.modules['distributed'] = None\n"
        "from executor import BackendError, find_backend\n"
        "try: find_backend('dask')\n"
        "except BackendError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'makespan[dask]'" in done.stdout


@pytest.mark.slow
def test_dask_does_not_warn_of_large_arguments_here_and_still_does_elsewhere(address: str) -> None:
    import dask
    import distributed  # noqa: F401  # its settings are there from now on

    named = "distributed.admin.large-graph-warning-threshold"
    with dask.config.set({named: "1 MB"}), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        backend = find_backend("dask")(address=address)  # type: ignore[call-arg]  # an option of this backend
        assert run(Workflow(steps=(Step(step_id="a", tool="noop", prompt="x" * 2_000_000),)), backend=backend).ok
        assert dask.config.get(named) == "1 MB"
    assert [str(warning.message) for warning in warned if "large graph" in str(warning.message)] == []


@pytest.mark.slow
def test_a_running_cluster_is_used_and_left_as_it_was(address: str) -> None:
    for _ in range(2):
        backend = find_backend("dask")(address=address)  # type: ignore[call-arg]  # an option of this backend
        steps = [NAP, Step(step_id="b", tool="noop", prompt="{{ steps.a.output.slept_seconds }}")]
        done = run(Workflow(steps=tuple(steps)), backend=backend)
        assert done.ok, done.errors
        assert done.workers == 2
        assert done.outputs["b"] == "0.01"


@pytest.mark.slow
def test_where_no_scheduler_answers_the_address_is_named() -> None:
    with pytest.raises(BackendError, match=r"no scheduler answers at tcp://127\.0\.0\.1:9"):
        run(Workflow(steps=(NAP,)), backend=find_backend("dask")(2, address="tcp://127.0.0.1:9"))  # type: ignore[call-arg]  # an option of this backend


@pytest.mark.slow
def test_a_worker_that_takes_long_to_start_is_waited_for(tmp_path: Path) -> None:
    # As on a machine that does other things. Ten seconds were too few.
    import dask
    import distributed  # noqa: F401  # its settings are there from now on

    (tmp_path / "takes_long.py").write_text("import time\ntime.sleep(11)\n")
    with dask.config.set({"distributed.worker.preload": [str(tmp_path / "takes_long.py")]}):
        assert run(Workflow(steps=(NAP,)), backend=find_backend("dask")(1)).ok


def process_id() -> int:
    return os.getpid()


def alive(pid: int) -> bool:
    """Whether it runs: one that has ended stays a zombie until process 1 looks after it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def slept(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


@pytest.mark.slow
def test_runs_that_share_an_executor_share_its_cluster_and_nothing_is_left_of_it() -> None:
    workflow = Workflow(steps=tuple(Step(step_id=f"s{number}", tool="pid") for number in range(6)))
    with find_backend("dask")(2) as backend:
        first = run(workflow, backend=backend, tools={"pid": process_id})
        workers = set(backend.worker_pids)
        second = run(workflow, backend=backend, tools={"pid": process_id})
        assert len(workers) == 2
        assert set(first.outputs.values()) | set(second.outputs.values()) <= workers
        assert set(backend.worker_pids) == workers
        assert all(map(alive, workers))
    # Dask asks its workers to end, and a busy machine lets them do so later.
    until = time.monotonic() + 30
    while any(map(alive, workers)):
        assert time.monotonic() < until, "workers were left"
        time.sleep(0.05)


@pytest.mark.slow
def test_a_cluster_on_which_a_call_still_runs_is_not_kept() -> None:
    endless = Step(step_id="a", tool="slept", args={"seconds": 60}, timeout=0.5)
    quick = Step(step_id="a", tool="slept", args={"seconds": 0})
    with find_backend("dask")(1) as backend:
        assert run(Workflow(steps=(endless,)), backend=backend, tools={"slept": slept}).statuses == {"a": "failed"}
        assert backend.worker_pids == []
        assert run(Workflow(steps=(quick,)), backend=backend, tools={"slept": slept}).ok


def end_group() -> None:
    os.killpg(0, signal.SIGKILL)


@pytest.mark.slow
def test_a_step_that_ends_its_process_group_ends_its_worker_which_comes_again() -> None:
    one = Workflow(steps=(Step(step_id="a", tool="tool"),))
    with find_backend("dask")(1) as backend:
        assert run(one, backend=backend, tools={"tool": end_group}).errors["a"].outcome == "worker_died"
        assert run(one, backend=backend, tools={"tool": process_id}).ok


def semaphores_of(process: int) -> set[str]:
    """Those in shared memory that it and all below it use."""
    found: set[str] = set()
    for one in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):
            words = (one / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            if int(words[1]) == process:
                lines = (one / "maps").read_text(encoding="utf-8").splitlines()
                found |= {line.split()[5] for line in lines if "/dev/shm/" in line}
                found |= semaphores_of(int(one.name))
    return found


@pytest.mark.slow
def test_a_cluster_of_our_own_leaves_nothing_in_shared_memory() -> None:
    with find_backend("dask")(2) as backend:
        assert run(Workflow(steps=(NAP,)), backend=backend).ok
        used = semaphores_of(os.getpid())
        assert len(used) > 1
    assert [name for name in used if Path(name).exists()] == []


@pytest.mark.slow
@pytest.mark.timeout(100)
def test_a_worker_that_is_gone_for_long_comes_again() -> None:
    # Dask looks so long after a worker was lost, by default, and so did it end for good what died again just then.
    import dask
    import distributed  # noqa: F401  # its settings are there from now on

    one = Workflow(steps=(Step(step_id="a", tool="tool"),))
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "0.1 s"}), find_backend("dask")(1) as backend:
        assert run(one, backend=backend, tools={"tool": end_group}).errors["a"].attempt == 3
        assert run(one, backend=backend, tools={"tool": process_id}).ok


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_a_nanny_that_ends_itself_as_it_starts_its_worker_is_started_again(
    times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As Dask's does where a step has ended the worker before the nanny has heard that it is there.
    ends_itself = f"""
import os, sys
try:
    os.rmdir(os.path.join({str(tmp_path)!r}, min(os.listdir({str(tmp_path)!r}))))
except (OSError, ValueError):
    pass
else:
    sys.exit(1)
"""
    for number in range(times):
        (tmp_path / str(number)).mkdir()
    monkeypatch.setattr(cluster_worker, "PROGRAM", ends_itself + cluster_worker.PROGRAM)
    with find_backend("dask")(1) as backend:
        assert run(Workflow(steps=(NAP,)), backend=backend).ok
    assert list(tmp_path.iterdir()) == []


def end_nanny() -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


@pytest.mark.slow
def test_a_run_ends_and_keeps_what_ended_where_what_starts_its_workers_again_is_gone() -> None:
    steps = (
        Step(step_id="a", tool="pid"),
        Step(step_id="b", tool="end_nanny", depends_on=("a",)),
        Step(step_id="c", tool="pid", depends_on=("b",)),
    )
    tools = {"pid": process_id, "end_nanny": end_nanny}
    with find_backend("dask")(1) as backend:
        done = run(Workflow(steps=steps), backend=backend, tools=tools)
        assert done.statuses == {"a": "succeeded", "b": "failed", "c": "skipped"}
        assert "dask: the program of one of its own workers has ended (status -9)" in done.errors["b"].message
        # The next run has a cluster of its own.
        assert run(Workflow(steps=steps[:1]), backend=backend, tools=tools).ok


@pytest.mark.slow
def test_steps_that_are_sent_together_travel_in_one_graph(address: str) -> None:
    from distributed import Client

    naps = [Step(step_id=f"s{n}", tool="sleep", args={"seconds": 0.02}, expected_seconds=0.02) for n in range(60)]
    with Client(address, set_as_default=False) as client:  # type: ignore[no-untyped-call]  # Dask has few types

        def graphs() -> int:
            events = client.get_events("scheduler")  # type: ignore[no-untyped-call]  # as above
            return sum(event["action"] == "update-graph" for _, event in events)

        before = graphs()
        backend = find_backend("dask")(address=address)  # type: ignore[call-arg]  # an option of this backend
        assert run(Workflow(steps=tuple(naps)), backend=backend).ok
        assert 0 < graphs() - before < len(naps) / 2


def write_and_die() -> None:
    print("a line of stdout")
    os.write(2, b"and one of stderr")
    os._exit(3)


@pytest.mark.slow
def test_what_a_dead_worker_of_our_own_cluster_wrote_last_is_part_of_its_steps_failure(
    capfd: pytest.CaptureFixture[str],
) -> None:
    others = [Step(step_id=f"s{number}", tool="say", args={"text": f"of step {number}"}) for number in range(4)]
    dies = Step(step_id="a", tool="die", idempotent=False, depends_on=tuple(step.step_id for step in others))
    workflow = Workflow(steps=(*others, dies))
    result = run(workflow, backend=find_backend("dask")(2), tools={"die": write_and_die, "say": print_line})
    assert "it wrote last: " in result.errors["a"].message
    assert "a line of stdout\nand one of stderr; it may have done its work" in result.errors["a"].message
    # What had ended on that worker is not run again.
    assert sorted(capfd.readouterr().out.splitlines()) == ["a line of stdout", *(f"of step {n}" for n in range(4))]


def print_line(text: str) -> None:
    print(text)
