"""Backend `dask` on a cluster of another owner that changes: workers come, go and are killed, have clocks of their own,
lack modules or makespan; the scheduler ends, or is of another version. All of it with real programs.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from executor import BackendError, Retry, Run, Step, Workflow, run
from executor.backends import make_backend
from executor.backends.worker_check import must_fit
from executor.backends.worker_facts import portable_look, worker_facts
from harness.analysis.run_analysis import RunAnalysis
from tests.conformance.dask_programs import DaskPrograms
from tests.integration.otlp_receiver import OtlpReceiver
from tests.integration.test_tracing import opens_spans, prompted, step_spans, traced_run

SHIFT_SECONDS = 5
SECOND = 1_000_000_000
# A worker on which makespan is not installed.
BARE = """
import importlib.abc, importlib.metadata, sys
class Lacking(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("executor", "harness"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Lacking())
real = importlib.metadata.version
def version(name):
    if name == "makespan":
        raise importlib.metadata.PackageNotFoundError(name)
    return real(name)
importlib.metadata.version = version
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskPrograms]:
    """A scheduler with two workers; one has a clock that is seconds ahead."""
    with DaskPrograms(tmp_path_factory.mktemp("dask")) as programs:
        programs.scheduler()
        programs.worker("near")
        programs.worker("ahead", inside=["unshare", "--time", "--monotonic", str(SHIFT_SECONDS)])
        programs.wait_for_workers(2)
        yield programs


@pytest.fixture
def time_namespaces() -> None:
    """Fails in CI where there are none: the machine there has them."""
    done = subprocess.run(["unshare", "--time", "true"], capture_output=True, text=True, check=False)
    if done.returncode and "CI" not in os.environ:
        pytest.skip(f"no time namespaces here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr


def clock() -> tuple[int, int]:
    began = time.perf_counter_ns()
    time.sleep(0.05)
    return began, time.perf_counter_ns()


def nap(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def on(cluster: DaskPrograms, *steps: Step, tools: dict[str, Callable[..., object]] | None = None, **more: str) -> Run:
    backend = make_backend("dask", None, {"address": cluster.address, **more})
    return run(Workflow(steps=steps), backend=backend, tools=tools or {"nap": nap, "clock": clock})


def marked_nap(mark: str, seconds: float) -> int:
    Path(mark).touch()
    return nap(seconds)


def until(mark: str) -> int:
    """Return when there is such a file."""
    late = time.monotonic() + 60
    while not Path(mark).exists():
        assert time.monotonic() < late, "it never came to that"
        time.sleep(0.02)
    return os.getpid()


def begun_until(folder: str, name: str, mark: str) -> int:
    """Leave a file that names this process, and return when there is another."""
    (Path(folder) / f"{name}-{os.getpid()}").touch()
    return until(mark)


def marked_step(folder: Path, step_id: str, seconds: float, **more: Any) -> Step:
    """It leaves a file when it begins."""
    return Step(step_id=step_id, tool="nap", args={"mark": str(folder / step_id), "seconds": seconds}, **more)


def when(holds: Callable[[], bool], act: Callable[[], object]) -> None:
    """Act in a thread once something holds."""

    def wait() -> None:
        while not holds():
            time.sleep(0.02)
        act()

    threading.Thread(target=wait, daemon=True).start()


def kill(program: subprocess.Popen[bytes]) -> None:
    os.killpg(program.pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.usefixtures("time_namespaces")
def test_times_of_a_worker_whose_clock_is_seconds_ahead_are_right_within_the_stated_error(
    cluster: DaskPrograms,
) -> None:
    done = on(cluster, *[Step(step_id=f"s{number}", tool="clock") for number in range(10)])
    assert done.ok, done.errors
    [(ahead, reading)] = done.timeline.clocks.items()
    assert abs(reading.offset_nanoseconds - SHIFT_SECONDS * SECOND) <= reading.error_nanoseconds
    workers = {attempt.worker for attempt in done.timeline.attempts}
    assert ahead in workers
    assert len(workers) == 2
    # A step reads its clock after it has begun, and before it ends: so t = 0 by that clock, less what is known of the
    # shift, lies between the two, however much later or earlier that is. All steps have the same t = 0.
    earliest, latest = [], []
    for attempt in done.timeline.attempts:
        assert attempt.ready <= attempt.granted <= (attempt.started or 0) <= (attempt.ended or 0)
        assert (attempt.ended or 0) <= (attempt.known or 0)
        shift = SHIFT_SECONDS * SECOND if attempt.worker == ahead else 0
        began, ended = done.outputs[attempt.step_id]
        earliest.append(ended - shift - (attempt.ended or 0))
        latest.append(began - shift - (attempt.started or 0))
    assert max(earliest) <= min(latest) + 2 * reading.error_nanoseconds
    analysis = RunAnalysis(done.timeline)
    assert sum(analysis.lost_time.by_cause.values()) == done.timeline.makespan_nanoseconds
    assert analysis.lower_bound.nanoseconds <= done.timeline.makespan_nanoseconds


@pytest.mark.slow
def test_spans_of_step_code_come_from_such_a_worker_under_the_right_parent_at_the_right_time(
    cluster: DaskPrograms,
) -> None:
    backend = make_backend("dask", None, {"address": cluster.address})
    with OtlpReceiver() as receiver:
        done, *_ = traced_run(receiver.endpoint, prompted(20), backend=backend, tools={"own": opens_spans})
        spans = receiver.spans
    assert len(done.timeline.clocks) == 1
    [reading] = done.timeline.clocks.values()
    steps = step_spans(spans)
    for (step_id, _), step in steps.items():
        [outer] = [span for span in spans if span.name == f"outer of {step_id}"]
        assert outer.parent_span_id == step.span_id
        error = 2 * reading.error_nanoseconds
        assert step.start_time_unix_nano - error <= outer.start_time_unix_nano
        assert outer.end_time_unix_nano <= step.end_time_unix_nano + error
    assert len(steps) == 20


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_its_own_step_alone_and_one_that_comes_is_used(tmp_path: Path) -> None:
    with DaskPrograms(tmp_path) as programs:
        programs.scheduler()
        first = programs.worker("a")
        programs.wait_for_workers(1)
        backend = make_backend("dask", None, {"address": programs.address})

        begun, lost = tmp_path / "begun", tmp_path / "lost"
        begun.mkdir()

        def both_run() -> bool:
            return {path.name.rpartition("-")[2] for path in begun.iterdir()} > {str(first.pid)}

        def kill_first() -> None:
            kill(first)
            when(lambda: backend.capacity == 1, lost.touch)

        # Each comes once what was before it is so, and no step ends before the loss is known.
        when(lambda: any(begun.iterdir()), lambda: programs.worker("b"))
        when(lambda: backend.capacity == 2 and both_run(), kill_first)
        retry = Retry(max_attempts=2)
        words = {"folder": str(begun), "mark": str(lost)}
        steps = [Step(step_id=f"s{n}", tool="work", args={**words, "name": f"s{n}"}, retry=retry) for n in range(8)]
        done = run(Workflow(steps=tuple(steps)), backend=backend, tools={"work": begun_until})
    assert done.ok, done.errors
    died = [attempt for attempt in done.timeline.attempts if attempt.outcome != "succeeded"]
    assert [attempt.outcome for attempt in died] == ["worker_died"]
    assert len(done.timeline.attempts) == 9
    assert [workers for _, workers in done.timeline.worker_changes] == [1, 2, 1]
    assert done.timeline.workers == 2
    assert RunAnalysis(done.timeline).lower_bound.nanoseconds <= done.timeline.makespan_nanoseconds


@pytest.mark.slow
def test_what_must_not_run_twice_fails_with_its_worker_and_what_ended_is_kept_when_the_scheduler_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from executor.backends.dask import dask_backend

    monkeypatch.setattr(dask_backend, "CONNECT_SECONDS", 3)
    with DaskPrograms(tmp_path) as programs:
        scheduler = programs.scheduler()
        programs.worker("a")
        second = programs.worker("b")
        programs.wait_for_workers(2)
        tools: dict[str, Callable[..., object]] = {"nap": marked_nap, "until": begun_until}
        begun = tmp_path / "begun"
        begun.mkdir()
        killed = tmp_path / "killed"

        def kill_second() -> None:
            kill(second)
            second.wait()
            killed.touch()

        words = {"folder": str(begun), "mark": str(killed)}
        once = [
            Step(step_id=f"o{n}", tool="until", args={**words, "name": f"o{n}"}, idempotent=False) for n in range(2)
        ]
        when(lambda: len(list(begun.iterdir())) == 2, kill_second)
        done = on(programs, *once, tools=tools)
        [error] = done.errors.values()
        assert error.outcome == "worker_died"
        assert "is not tried again: it is `idempotent: false`" in error.message
        assert sorted(done.statuses.values()) == ["failed", "succeeded"]

        chain = [marked_step(begun, f"s{n}", 0.5 + n, depends_on=(f"s{n - 1}",) if n else ()) for n in range(3)]
        when((begun / "s1").exists, lambda: kill(scheduler))
        began = time.monotonic()
        done = on(programs, *chain, tools=tools)
        assert time.monotonic() - began < 60
    assert done.statuses["s0"] == "succeeded"
    assert not done.ok
    assert any(
        "the scheduler at tcp://" in error.message and "is gone" in error.message for error in done.errors.values()
    )


@pytest.mark.slow
def test_a_module_that_workers_lack_is_named_and_can_be_sent_along(
    cluster: DaskPrograms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lacking_alone.py").write_text("def greet(name):\n    return 'hello ' + name\n")
    (tmp_path / "lacking_folder").mkdir()
    (tmp_path / "lacking_folder" / "__init__.py").write_text("from .inner import shout\n")
    (tmp_path / "lacking_folder" / "inner.py").write_text("def shout(name):\n    return name.upper()\n")
    monkeypatch.syspath_prepend(tmp_path)
    from lacking_alone import greet  # type: ignore[import-not-found]  # written above
    from lacking_folder import shout  # type: ignore[import-not-found]  # written above

    steps = [Step(step_id=name, tool=name, args={"name": "x"}) for name in ("greet", "shout")]
    tools = {"greet": greet, "shout": shout}
    lacking = on(cluster, *steps, tools=tools).errors["greet"]
    assert lacking.error_type == "ModuleNotFoundError"
    assert re.search(
        r"cannot import 'lacking_alone'.*\(worker process-\d+ on .*\).*--backend-option files=", lacking.message
    )
    files = f"{tmp_path / 'lacking_alone.py'},{tmp_path / 'lacking_folder'}"
    assert on(cluster, *steps, tools=tools, files=files).outputs == {"greet": "hello x", "shout": "X"}


@pytest.mark.slow
def test_the_example_of_the_page_on_clusters_runs(cluster: DaskPrograms) -> None:
    example = Path(__file__).parents[2] / "docs" / "examples" / "clusters" / "on_a_cluster.py"
    command = [sys.executable, str(example), cluster.address]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    assert f"outputs {[number * number for number in range(12)]}" in done.stdout
    assert "workers (from, how many) [(0, 2)]" in done.stdout


@pytest.mark.slow
def test_a_worker_without_makespan_is_named_before_the_first_step(cluster: DaskPrograms, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(BARE)
    bare = cluster.worker("bare", environment={"PYTHONPATH": str(tmp_path)})
    try:
        cluster.wait_for_workers(3)
        with pytest.raises(BackendError, match=r"worker tcp://.* makespan missing there.*install the same"):
            on(cluster, Step(step_id="a", tool="clock"))
    finally:
        kill(bare)


def test_what_is_no_address_and_where_nobody_listens_is_said_at_once() -> None:
    for address in ("127.0.0.1", "nonsense://x:1", "tcp://127.0.0.1:222222", ""):
        with pytest.raises(BackendError, match=r"is none: write tcp://HOST:PORT"):
            make_backend("dask", None, {"address": address})
    with pytest.raises(BackendError, match=r"no scheduler answers at tcp://127\.0\.0\.1:9: .*refused"):
        make_backend("dask", None, {"address": "tcp://127.0.0.1:9"})


def test_files_that_are_not_there_or_no_modules_are_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("1,2")
    for files, said in (
        (str(tmp_path / "none.py"), "there is no such file"),
        (str(tmp_path / "data.csv"), "modules come as"),
    ):
        with pytest.raises(BackendError, match=said):
            make_backend("dask", 1, {"files": files})


def test_workers_that_cannot_run_the_steps_are_refused_and_others_warned_of() -> None:
    here = worker_facts()
    warnings: list[str] = []
    must_fit({"w": here}, "dask", warnings)
    assert warnings == []
    must_fit({"w": {**here, "pydantic": "1.0"}}, "dask", warnings)
    assert "worker w on" in warnings[0]
    assert "pydantic 1.0 there" in warnings[0]
    for fault in ({**here, "python": "3.1.4"}, {**here, "makespan": None}, ValueError("no")):
        with pytest.raises(BackendError, match=r"^dask: worker w .*install the same Python"):
            must_fit({"w": fault}, "dask", [])


def test_a_look_needs_no_makespan_where_it_is_made(tmp_path: Path) -> None:
    (tmp_path / "look.pickle").write_bytes(portable_look())
    program = f"{BARE}\nimport pickle\nprint(pickle.load(open('look.pickle', 'rb'))['makespan'])"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("None\n", "")
