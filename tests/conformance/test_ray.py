"""Backend `ray` beside its suite: where Ray of our own listens, one that runs already, what is said when none is."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import pytest

from executor import BackendError, Instrument, Step, Workflow, run
from executor.backends import find_backend, make_backend
from executor.backends.batches import BatchCall
from executor.backends.cluster_resources import Amounts, NoWorkerError
from executor.backends.ray.stored_outputs import Stored
from executor.backends.ray.workers import Call, RayWorkers, Worker
from executor.backends.staying_outputs import STAYS_BYTES
from executor.backends.window import RecallError
from executor.record.remote_outputs import OutputGoneError, RemoteOutputs
from executor.record.timeline import Attempt
from harness.testing.backends.suite_steps import STEPS
from tests.child_programs import Program

TOKEN = "0123456789abcdef" * 4  # of a cluster that lives for one test
RUNNING = """
import ray
ray.init(address="local", num_cpus=3, include_dashboard=False, object_store_memory=80 * 2**20, log_to_driver=False)
print(ray.get_runtime_context().gcs_address, flush=True)
input()
"""
JOINING = """
import sys
from executor import *
from executor.backends import make_backend
steps = (Step(step_id="a", tool="sleep", args={"seconds": 0.01}),
         Step(step_id="b", tool="noop", prompt="{{ steps.a.output.slept_seconds }}"))
for _ in range(2):
    done = run(Workflow(steps=steps), backend=make_backend("ray", options={"address": sys.argv[1]}))
    print(done.ok, done.workers, done.outputs["b"], done.errors)
"""


USED_BEFORE = """
import os, sys
import ray
if len(sys.argv) > 1:
    ray.init(address=sys.argv[1])
    ray.shutdown()
from executor import *
for _ in range(2):
    done = run(Workflow(steps=(Step(step_id="a", tool="noop"),)), backend="ray")
    print(done.ok, done.errors)
if len(sys.argv) > 1:
    ray.init(address=sys.argv[1])
    print(ray.cluster_resources()["CPU"])
"""


WITHOUT_HEAD = """
import json, os, signal, sys, time
from executor import *
from executor.backends import find_backend

class EndsAProgram(Instrument):
    def attempt_finished(self, attempt, status):
        if attempt.step_id == "a":
            import ray
            (started,) = ray._private.worker._global_node.all_processes[sys.argv[1]]
            os.kill(started.process.pid, signal.SIGKILL)

steps = [Step(step_id="a", tool="noop"), Step(step_id="b", tool="sleep", args={"seconds": 60}, depends_on=("a",)),
         Step(step_id="c", tool="noop", depends_on=("b",))]
began = time.monotonic()
done = run(Workflow(steps=tuple(steps)), backend=find_backend("ray")(2), instruments=[EndsAProgram()])
print(json.dumps([done.statuses, done.errors["b"].message, time.monotonic() - began]))
"""


@pytest.fixture(scope="module")
def kept() -> Iterator[None]:
    """One Ray for all runs of this process."""
    with find_backend("ray")(2):
        yield


@pytest.fixture(scope="module")
def surroundings() -> dict[str, str]:
    """The environment of a Ray on loopback that asks for a token."""
    return {
        **os.environ,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
    }


@pytest.fixture(scope="module")
def address(surroundings: dict[str, str]) -> Iterator[str]:
    """A Ray of another owner, of three cores."""
    with Program(
        [sys.executable, "-c", RUNNING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=surroundings
    ) as program:
        assert program.stdout is not None
        yield program.stdout.readline().strip()
        program.communicate("\n", timeout=60)


def test_ray_is_imported_when_a_run_begins_and_not_before() -> None:
    program = "import sys, executor; executor.find_backend('ray')(2); print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_where_ray_is_missing_the_error_names_the_extra() -> None:
    program = (
        "import sys; sys.modules['ray'] = None\n"
        "from executor import BackendError, find_backend\n"
        "try: find_backend('ray')\n"
        "except BackendError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'makespan[ray]'" in done.stdout


@pytest.mark.parametrize("address", ["127.0.0.1", "tcp://127.0.0.1:6379", "ray://127.0.0.1:10001", "", "host:port"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(BackendError, match=re.escape(f"address {address!r} is none: write HOST:PORT")):
        make_backend("ray", 2, {"address": address})


def test_where_nobody_listens_the_address_is_named_at_once() -> None:
    with pytest.raises(BackendError, match=r"no Ray answers at 127\.0\.0\.1:9"):
        make_backend("ray", 2, {"address": "127.0.0.1:9"})


def test_ray_of_our_own_runs_steps_ends_one_past_its_timeout_and_listens_on_loopback_alone(kept: None) -> None:
    home = Path.home() / ".ray"
    before = home.exists()
    steps = (
        Step(step_id="a", tool="double", args={"value": 4}),
        Step(step_id="b", tool="double", args={"value": "{{ steps.a.output }}"}),
        Step(step_id="slow", tool="nap", args={"seconds": 60}, timeout=0.3),
    )
    done = run(Workflow(steps=steps), backend=find_backend("ray")(2), tools=STEPS)
    assert done.outputs == {"a": 8, "b": 16}
    assert done.errors["slow"].outcome == "timed_out"
    assert home.exists() == before
    listening = _listening(_below(os.getpid()) | {os.getpid()})
    assert listening
    assert {host for host, _ in listening} == {"127.0.0.1"}


def test_a_worker_is_ended_outside_of_the_lock_that_the_ends_of_calls_wait_for(
    kept: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray  # it takes a second, and most tests here need none

    had_lock: list[bool] = []
    real_kill = ray.kill
    workers = RayWorkers(1, STAYS_BYTES)

    def take() -> None:
        had_lock.append(workers._lock.acquire(timeout=5))
        if had_lock[-1]:
            workers._lock.release()

    def kill(actor: object, **options: bool) -> None:
        # Ray answers a kill in the thread that hears of ends, which takes the lock: a thread of its own here.
        trying = threading.Thread(target=take)
        trying.start()
        trying.join()
        real_kill(actor, **options)

    monkeypatch.setattr(ray, "kill", kill)
    workers.stop(workers.submit(BatchCall([])))
    workers.shutdown()
    assert had_lock == [True, True]


def test_a_call_that_was_called_back_is_taken_as_that_whichever_is_heard_of_first(kept: None) -> None:
    def came(value: object) -> Future[object]:
        future: Future[object] = Future()
        future.set_result(value)
        return future

    workers = RayWorkers(1, STAYS_BYTES)
    for first_end in (True, False):
        (worker,) = workers._workers
        call = Call(b"", True)
        call.worker, call.number, call.goes_back = worker, 7, True
        worker.calls.append(call)
        for end in (first_end, not first_end):
            if end:
                workers._ended(call, 7, came(None), None)
            else:
                workers._called_back(call, 7, came(True))
        assert isinstance(call.answer.exception(timeout=0), RecallError)
        assert worker.calls == []
    workers.shutdown()


def grown(folder: str, data: bytes = b"") -> bytes:
    """Something larger than the data; and one more file in the folder."""
    (Path(folder) / f"{len(data)}-{time.perf_counter_ns()}").touch()
    return data + bytes(2000)


class Holder:
    """An actor that owns objects."""

    def put(self, count: int) -> list[Any]:
        import ray

        return [ray.put(b"") for _ in range(count)]


def lost_objects(count: int) -> list[Any]:
    """References to objects that Ray has lost: with their owner, since there is no node that could be lost."""
    import ray

    holder: Any = ray.remote(num_cpus=0)(Holder).remote()
    objects: list[Any] = ray.get(holder.put.remote(count))
    ray.kill(holder)
    while any(_is_there(reference) for reference in objects):
        pass
    return objects


def _is_there(reference: Any) -> bool:
    import ray

    try:
        ray.get(reference)
    except ray.exceptions.ObjectLostError:
        return False
    return True


def test_outputs_that_are_lost_are_made_again_with_what_they_were_made_of(kept: None, tmp_path: Path) -> None:
    folder, other = tmp_path / "made", tmp_path / "removed"
    folder.mkdir()
    other.mkdir()
    steps = (
        Step(step_id="a", tool="grown", args={"folder": str(folder)}),
        Step(step_id="b", tool="grown", args={"folder": str(folder), "data": "{{ steps.a.output }}"}),
        Step(step_id="c", tool="grown", args={"folder": str(folder), "data": "{{ steps.b.output }}"}),
        Step(step_id="d", tool="grown", args={"folder": str(other)}, depends_on=("c",)),
        Step(step_id="e", tool="grown", args={"folder": str(folder), "data": "{{ steps.d.output }}"}),
    )
    backend: Any = make_backend("ray", 1, {"output_stays_bytes": "1000"})
    lost = lost_objects(4)

    class Loses(Instrument):
        def attempt_finished(self, attempt: Attempt, status: object) -> None:
            outputs = backend._engine.outputs
            for step_id in {"b": "ab", "d": "d"}.get(attempt.step_id, ""):
                outputs.remote(step_id).reference.reference = lost.pop()
            if attempt.step_id == "d":
                shutil.rmtree(other)

    with backend:
        done = run(Workflow(steps=steps), backend=backend, tools={"grown": grown}, instruments=[Loses()])
        outputs = cast("RemoteOutputs", done.outputs)
        assert set(outputs) == {"a", "b", "c", "d"}
        # `b` was made twice for `c`, and `a` for that.
        assert sorted(path.name.partition("-")[0] for path in folder.iterdir()) == ["0", "0", "2000", "2000", "4000"]
        assert "was lost, and is not to be had again" in done.errors["e"].message
        outputs.all_remote()["c"].reference.reference = lost.pop()
        assert len(outputs["c"]) == 6000
        with pytest.raises(OutputGoneError, match="its step was run again, and has failed"):
            outputs["d"]


def test_a_lost_output_that_no_node_can_make_again_is_waited_for_no_longer_than_was_said(kept: None) -> None:
    over = threading.Event()

    def given_up(what: str, asked: Amounts) -> NoWorkerError | None:
        return NoWorkerError(f"no node has what {what} needs") if asked and over.is_set() else None

    workers = RayWorkers(1, 1000, given_up)
    stored = Stored("a", 2000, lost_objects(1)[0], set(), b"", (), {"license": 1})
    takes, late = (Call(b"", True, 1000, [stored]) for _ in range(2))
    with workers._lock:
        workers._give(takes)
    until = time.monotonic() + 60
    while stored.making is None and time.monotonic() < until:
        time.sleep(0.01)
    workers.give_up_makings()
    assert not takes.answer.done()
    over.set()
    workers.give_up_makings()
    for call in (takes, late):
        error = call.answer.exception(timeout=60)
        assert isinstance(error, OutputGoneError)
        assert "not to be had again: no node has what the step that made it needs" in str(error)
        with workers._lock:
            if call is takes:
                workers._give(late)
    workers.shutdown()


def test_a_call_goes_where_its_largest_input_lies(kept: None) -> None:
    import ray  # as above

    workers = RayWorkers(2, STAYS_BYTES)
    # By others that its actors do not report to.
    workers._workers = [Worker(worker.actor, {}) for worker in workers._workers]
    for worker, node in zip(workers._workers, ("x", "y"), strict=True):
        worker.is_up, worker.node = True, node
    small, large = (
        Stored(name, size, ray.put(name.encode()), {node}, b"", ())
        for name, size, node in (("small", 10, "x"), ("large", 20, "y"))
    )
    call = Call(b"", True, STAYS_BYTES, [small, large])
    workers._give(call)
    assert call.worker is workers._workers[1]
    workers.shutdown()


@pytest.mark.slow
def test_a_process_that_has_a_ray_joins_no_other(kept: None) -> None:
    with socket.create_server(("127.0.0.1", 0)):
        backend = find_backend("ray")(2)
        backend._address = "10.0.0.7:6379"  # type: ignore[attr-defined]  # the other one would be asked for its cores first
        with pytest.raises(BackendError, match=r"cannot use the Ray at 10\.0\.0\.7:6379 at the same time"):
            run(Workflow(steps=(Step(step_id="a", tool="noop"),)), backend=backend)


@pytest.mark.slow
def test_a_ray_that_runs_already_is_used_with_all_its_cores_and_left(
    address: str, surroundings: dict[str, str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", JOINING, address], capture_output=True, text=True, check=False, env=surroundings
    )
    assert (done.stdout, done.stderr) == ("True 3 0.01 {}\n" * 2, "")


@pytest.mark.slow
def test_a_program_that_has_imported_ray_may_use_it_as_a_backend(tmp_path: Path) -> None:
    free = {name: text for name, text in os.environ.items() if not name.startswith("RAY_")} | {"HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", USED_BEFORE], capture_output=True, text=True, check=False, env=free)
    assert (done.stdout, done.stderr) == ("True {}\n" * 2, "")


@pytest.mark.slow
def test_a_program_that_was_at_another_ray_uses_its_own_and_goes_back(
    address: str, surroundings: dict[str, str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", USED_BEFORE, address], capture_output=True, text=True, check=False, env=surroundings
    )
    assert done.stdout == "True {}\n" * 2 + "3.0\n", done.stderr


@pytest.mark.slow
def test_a_ray_that_asks_for_another_token_is_not_joined(address: str, surroundings: dict[str, str]) -> None:
    program = (
        "import sys\nfrom executor.backends import make_backend\nmake_backend('ray', None, {'address': sys.argv[1]})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, address],
        capture_output=True,
        text=True,
        check=False,
        env={**surroundings, "RAY_AUTH_TOKEN": "f" * 64},
    )
    assert "BackendError: ray: no Ray" in done.stderr
    assert address in done.stderr


@pytest.mark.slow
def test_where_something_else_answers_the_address_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        there = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(BackendError, match=f"no Ray answers at {there}"):
            make_backend("ray", 2, {"address": there})


@pytest.mark.slow
def test_ray_of_our_own_leaves_no_process_and_no_folder(tmp_path: Path) -> None:
    program = (
        "import os, tempfile\nfrom executor import *\n"
        "print(run(Workflow(steps=(Step(step_id='a', tool='noop'),)), backend=find_backend('ray')(1)).ok)\n"
        "print(os.listdir(tempfile.gettempdir()))"
    )
    with Program(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": _short_folder(tmp_path)},
        start_new_session=True,
    ) as started:
        said, _ = started.communicate(timeout=100)
    assert said == "True\n[]\n"
    assert not _session(started.pid)


@pytest.mark.slow
@pytest.mark.parametrize(("program", "words"), [("gcs_server", "control store"), ("raylet", "node manager")])
def test_where_a_part_of_our_own_ray_has_ended_the_run_ends_keeps_what_ended_and_leaves_nothing(
    program: str, words: str, tmp_path: Path
) -> None:
    with Program(
        [sys.executable, "-c", WITHOUT_HEAD, program],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": _short_folder(tmp_path)},
        start_new_session=True,
    ) as started:
        said, _ = started.communicate(timeout=100)
    # Nothing but that is there: what Ray itself has to say goes to stderr.
    statuses, message, seconds = json.loads(said)
    assert statuses == {"a": "succeeded", "b": "failed", "c": "skipped"}
    assert message == f"ray: the {words} of its own Ray is gone"
    assert seconds < 40
    assert started.returncode == 0
    assert not _session(started.pid)
    assert not list(tmp_path.iterdir())


def _short_folder(tmp_path: Path) -> str:
    """A name for a folder that is short enough for Ray's sockets."""
    place = Path(f"/tmp/{tmp_path.name[-4:]}{os.getpid()}")
    place.symlink_to(tmp_path)
    return str(place)


def _session(number: int) -> list[str]:
    """The living processes of a session."""
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                fields = (place / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == number and fields[0] != "Z":
                found.append(place.name)
    return found


def _below(pid: int) -> set[int]:
    parents = {}
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found: set[int] = set()
    open_ids = {pid}
    while open_ids:
        open_ids = {child for child, parent in parents.items() if parent in open_ids} - found
        found |= open_ids
    return found


def _listening(processes: set[int]) -> set[tuple[str, int]]:
    """Host and port of each TCP socket on which one of these processes listens."""
    sockets: set[str] = set()
    for pid in processes:
        try:
            descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
        except OSError:
            continue
        for descriptor in descriptors:
            try:
                target = str(descriptor.readlink())
            except OSError:
                continue
            if target.startswith("socket:["):
                sockets.add(target[8:-1])
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and words[9] in sockets:
                host, port = words[1].split(":")
                found.add((_host(host), int(port, 16)))
    return found


def _host(text: str) -> str:
    raw = b"".join(bytes.fromhex(text[place : place + 8])[::-1] for place in range(0, len(text), 8))
    if len(raw) == 16 and raw[:12] == b"\0" * 10 + b"\xff\xff":
        raw = raw[12:]
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)


def test_an_actor_that_cannot_be_reached_counts_as_a_worker_that_died(kept: None) -> None:
    import ray

    backend = make_backend("ray", 1, {})
    for error in (ray.exceptions.ActorUnavailableError("gone", None), ray.exceptions.ActorDiedError()):
        assert backend.is_worker_death(error)  # type: ignore[attr-defined]  # of all that submit
    assert not backend.is_worker_death(ray.exceptions.GetTimeoutError())  # type: ignore[attr-defined]  # as above


LEAVES = """
from executor import Step, Workflow, run
from executor.backends import find_backend
backend = find_backend("ray")(1)
backend.__enter__()
print(run(Workflow(steps=(Step(step_id="a", tool="noop", prompt="done"),)), backend=backend).outputs)
"""


def test_a_program_that_ends_without_closing_leaves_no_folder_of_ray_behind() -> None:
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:  # Ray's sockets need a short path
        done = subprocess.run(
            [sys.executable, "-c", LEAVES], check=True, capture_output=True, text=True, timeout=180,
            env={**os.environ, "TMPDIR": folder},
        )  # fmt: skip
        assert done.stdout == "{'a': 'done'}\n"
        assert list(Path(folder).iterdir()) == []


def test_what_a_dead_worker_wrote_last_is_part_of_its_steps_failure(kept: None) -> None:
    def write_and_die() -> None:
        print("a line of stdout")
        os.write(2, b"and one of stderr")
        os._exit(3)

    workflow = Workflow(steps=(Step(step_id="a", tool="die", idempotent=False), Step(step_id="b", tool="noop")))
    result = run(workflow, backend=find_backend("ray")(2), tools={"die": write_and_die})
    assert result.statuses == {"a": "failed", "b": "succeeded"}
    message = result.errors["a"].message
    assert "it wrote last: a line of stdout\nand one of stderr; it may have done its" in message
    # A terminal shows the beginning of an error: what it wrote is in it.
    assert re.search(
        r"^the worker of step 'a' died: process \d+ on 127\.0\.0\.1, ActorDiedError: .*; it wrote last", message
    )
    assert message.index("it wrote last") < 160
