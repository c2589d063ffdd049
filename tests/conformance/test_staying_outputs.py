"""Large outputs on Dask and Ray: they stay on the cluster, and what becomes of them."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from executor import BackendError, Step, Workflow, run
from executor.backends import find_backend, make_backend
from executor.backends.batches import BatchingBackend
from executor.record.remote_outputs import OutputGoneError, RemoteOutput, RemoteOutputs
from executor.tracing import attribute_names

SIZE = 200_000_000


def made(size: int) -> bytes:
    return bytes(size)


def longer(data: bytes) -> bytes:
    return data + b"x"


def length(data: Any, other: Any = b"") -> int:
    return len(data) + len(other)


def noted(folder: str, size: int) -> bytes:
    """Something large; and a file that says which process made it."""
    (Path(folder) / f"{os.getpid()}").touch()
    return bytes(size)


def ends_the_worker_of(folder: str, data: bytes = b"") -> int:
    """Ends the process that made something."""
    for path in Path(folder).iterdir():
        if int(path.name) != os.getpid():
            os.kill(int(path.name), signal.SIGKILL)
    return len(data)


TOOLS = {f.__name__: f for f in (made, longer, length, noted, ends_the_worker_of)}


CLUSTERS = pytest.mark.parametrize("cluster", ["dask", "ray"])


@pytest.fixture(scope="module", autouse=True)
def ray() -> Iterator[None]:
    """One Ray for all runs here; a run leaves it all the same."""
    with find_backend("ray")(2):
        yield


def peak_bytes() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the kernel says nothing of the peak")


@pytest.mark.slow
@CLUSTERS
def test_steps_hand_200_mb_to_one_another_and_the_driver_stays_as_it_is(cluster: str) -> None:
    steps = (
        Step(step_id="a", tool="made", args={"size": SIZE}),
        Step(step_id="b", tool="longer", args={"data": "{{ steps.a.output }}"}),
        Step(step_id="c", tool="length", args={"data": "{{ steps.b.output }}", "other": "{{ steps.small.output }}"}),
        Step(step_id="small", tool="made", args={"size": 10}),
    )
    with make_backend(cluster, 2) as backend:
        assert run(Workflow(steps=steps[3:]), backend=backend, tools=TOOLS).ok
        before = peak_bytes()
        done = run(Workflow(steps=steps), backend=backend, tools=TOOLS)
        assert done.ok, done.errors
        assert done.outputs["c"] == SIZE + 11
        assert peak_bytes() - before < 50_000_000
        by_step = {attempt.step_id: attempt for attempt in done.timeline.attempts}
        assert done.facts[by_step["b"]][attribute_names.OUTPUT_BYTES] >= SIZE
        # Its input had to be read where it lay, or brought there first.
        assert [wait.reason for wait in by_step["b"].waits if wait.start >= by_step["b"].granted] == ["transfer"]
        # Read by a person, it is fetched.
        assert len(done.outputs["a"]) == SIZE


@pytest.mark.slow
@CLUSTERS
def test_outputs_that_stayed_come_along_when_the_run_leaves_its_cluster(cluster: str, tmp_path: Path) -> None:
    steps = (
        Step(step_id="a", tool="noted", args={"folder": str(tmp_path), "size": 2000}),
        Step(step_id="b", tool="longer", args={"data": "{{ steps.a.output }}"}),
        Step(step_id="moved", tool="length", args={"data": "{{ steps.a.output }}", "other": "{{ steps.z.output }}"}),
        Step(step_id="z", tool="made", args={"size": 3000}),
        Step(step_id="text", tool="noop", prompt="{{ steps.a.output | length }}"),
        Step(step_id="once", tool="made", args={"size": 2500}, idempotent=False),
        Step(step_id="after", tool="length", args={"data": "{{ steps.once.output }}"}),
        # The one that made it dies: Dask makes it once more, Ray has it in a store beside its workers. `once` would die
        # with it where it is on the same worker.
        Step(
            step_id="end",
            tool="ends_the_worker_of",
            args={"folder": str(tmp_path)},
            depends_on=("b", "moved", "once"),
        ),
        Step(step_id="again", tool="length", args={"data": "{{ steps.a.output }}"}, depends_on=("end",)),
    )
    backend = make_backend(cluster, 2, {"output_stays_bytes": "1000"})
    done = run(Workflow(steps=steps), backend=backend, tools=TOOLS)
    assert done.ok, done.errors
    assert (done.outputs["moved"], done.outputs["again"], done.outputs["after"]) == (5000, 2000, 2500)
    assert done.outputs["text"] == "2000"
    assert len(done.outputs["b"]) == 2001
    # What must not run twice is brought here at once: it would be made again where it is lost.
    assert len(done.outputs["once"]) == 2500
    assert len(done.outputs["a"]) == 2000


def test_short_steps_that_take_an_output_along_leave_it_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    fetch = RemoteOutput.fetch

    def counted(remote: RemoteOutput) -> Any:
        fetched.append(remote.name)
        return fetch(remote)

    monkeypatch.setattr(RemoteOutput, "fetch", counted)
    takes = [Step(step_id=f"s{n}", tool="length", args={"data": "{{ steps.a.output }}"}) for n in range(30)]
    # The second half is there when the tool is known to be short.
    late = [step.model_copy(update={"step_id": f"late_{step.step_id}", "depends_on": ("s9",)}) for step in takes]
    made_all = [Step(step_id=f"m{n}", tool="made", args={"size": 2000 + n}, depends_on=("s9",)) for n in range(12)]
    steps = (Step(step_id="a", tool="made", args={"size": 5000}), *takes, *late, *made_all)
    with make_backend("ray", 2, {"output_stays_bytes": "1000"}) as backend:
        done = run(Workflow(steps=steps), backend=backend, tools=TOOLS)
        assert done.ok, done.errors
        assert fetched == []
        assert all(done.outputs[step.step_id] == 5000 for step in (*takes, *late))
        assert [len(done.outputs[step.step_id]) for step in made_all] == [2000 + n for n in range(12)]
        assert fetched


def grown(number: int) -> bytes:
    """Nothing for the first ones, which show that the tool is short; then a good deal."""
    return bytes(2000 if number >= 20 else 0)


def test_of_several_short_steps_in_one_call_each_large_output_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    of_batch = BatchingBackend._of_batch

    def counted(backend: Any, engine: Any, attempt: Any, end: Any, rest: list[int]) -> Any:
        ended.append(len(end.result()))
        return of_batch(backend, engine, attempt, end, rest)

    monkeypatch.setattr(BatchingBackend, "_of_batch", counted)
    steps = [Step(step_id=f"s{n}", tool="grown", args={"number": n}) for n in range(60)]
    with make_backend("ray", 1, {"output_stays_bytes": "1000"}) as backend:
        done = run(Workflow(steps=tuple(steps)), backend=backend, tools={"grown": grown})
        assert done.ok, done.errors
        assert max(ended) > 1
        outputs = cast("RemoteOutputs", done.outputs)
        remote = outputs.all_remote()
        assert set(remote) == {step.step_id for step in steps[20:]}
        # One of a batch, whose other steps do not run again with it.
        for step_id in ("s20", "s59"):
            remote[step_id].reference.reference = None
            assert len(outputs[step_id]) == 2000


def test_an_output_goes_with_its_record_and_is_gone_with_its_cluster() -> None:
    with make_backend("ray", 1, {"output_stays_bytes": "1000"}) as backend:

        def made_once(size: int) -> RemoteOutputs:
            step = Step(step_id="a", tool="made", args={"size": size})
            return cast("RemoteOutputs", run(Workflow(steps=(step,)), backend=backend, tools=TOOLS).outputs)

        dropped = made_once(1500).all_remote()["a"].reference
        first, last = made_once(2000), made_once(3000)
        gc.collect()
        assert dropped.reference is None
        assert first.all_remote()["a"].reference.reference is not None
    assert len(last["a"]) == 3000
    with pytest.raises(OutputGoneError, match="stayed on Ray, which the program has left"):
        first["a"]


@CLUSTERS
def test_a_size_that_is_none_is_refused(cluster: str) -> None:
    with pytest.raises(BackendError, match="output_stays_bytes 'much' is no number of bytes"):
        make_backend(cluster, 2, {"output_stays_bytes": "much"})


@pytest.mark.parametrize("name", ["dask", "ray"])
def test_what_cannot_be_fetched_at_the_end_of_a_run_says_why_when_it_is_read(name: str) -> None:
    def lost(remote: RemoteOutput) -> Any:
        raise OutputGoneError(f"the output ({remote}) cannot be fetched: its worker died again")

    there = RemoteOutput("a", 3_000_000, "str", None, lambda _: "x")
    gone = RemoteOutput("b", 3_000_000, "str", None, lost)
    backend: Any = make_backend(name, 1, {})
    backend._staying.update({there, gone})
    outputs = RemoteOutputs(a=there, b=gone)
    backend._engine = SimpleNamespace(outputs=outputs)
    backend.bring_home()
    assert outputs["a"] == "x"
    with pytest.raises(
        OutputGoneError, match=r"^the output \(str, 3\.0 MB\) cannot be fetched: its worker died again$"
    ):
        outputs["b"]
    with pytest.raises(OutputGoneError, match="which the program has left"):
        there.fetch()
