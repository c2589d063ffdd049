"""Backend `ray` on a Ray of another owner whose nodes come and go, and whose workers lack modules."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from executor import BackendError
from executor.backends import make_backend
from tests.conformance.ray_programs import RayNodes, driver, next_line

DRIVER = """
import sys
from executor import *
from executor.backends import make_backend
import lacking_alone, lacking_folder

tools = {"greet": lacking_alone.greet, "shout": lacking_folder.shout}
both = [Step(step_id=name, tool=name, args={"name": "x"}) for name in tools]
backend = make_backend("ray", None, {"address": sys.argv[1], "files": sys.argv[2]})
class Asks(Instrument):
    def attempt_finished(self, attempt, status):
        if attempt.step_id == "greet":
            print("grow", flush=True)

naps = [Step(step_id=f"n{n}", tool="sleep", args={"seconds": 1}, depends_on=("greet",)) for n in range(9)]
done = run(Workflow(steps=(*both, *naps)), backend=backend, tools=tools, instruments=[Asks()])
workers = [workers for _, workers in done.timeline.worker_changes]
print(done.ok, done.outputs["greet"], done.outputs["shout"], workers, done.workers, done.warnings, flush=True)
"""


NEEDS = """
import json, os, sys, time
from executor import *
from executor.backends import make_backend

def use(seconds):
    import ray
    began = time.perf_counter_ns()
    time.sleep(seconds)
    return ray.get_runtime_context().get_node_id(), began, time.perf_counter_ns()

def step(name, needs=None, seconds=0.2, **more):
    return Step(step_id=name, tool="use", needs=needs, args={"seconds": seconds}, **more)

def go(*steps):
    backend = make_backend("ray", None, {"address": sys.argv[1]})
    limits = {"license": Resource(capacity=3), "gpu": Resource(capacity=1)}
    return run(Workflow(steps=steps), backend=backend, tools={"use": use}, resources=limits)

try:
    go(step("a"), step("b", {"license": 2, "gpu": 1}))
except BackendError as error:
    print(error)
steps = [step(f"l{n}", {"license": 1}) for n in range(3)] + [step(f"p{n}") for n in range(6)]
late = step("late", {"gpu": 1, "license": 1}, 9, timeout=0.5, depends_on=("l0", "l1", "l2"))
done = go(*steps, late, step("plain", None, 9, timeout=0.5), step("again", {"gpu": 1}, depends_on=("l0",)))
print(json.dumps([done.statuses, {name: error.outcome for name, error in done.errors.items()}, done.outputs,
                  done.warnings, [[a.step_id, a.started, a.ended] for a in done.timeline.attempts]]))
"""


HANDING_OVER = """
import json, sys, time, uuid
from pathlib import Path
from executor import *
from executor.backends import make_backend
from executor.tracing import attribute_names

folder = Path(sys.argv[2])

def made(size):
    (folder / uuid.uuid4().hex).touch()
    time.sleep(1)
    return bytes(size)

def longer(data):
    return data + b"x"

def length(x, y):
    return len(x) + len(y)

class Waits(Instrument):
    def attempt_finished(self, attempt, status):
        if attempt.step_id == "both":
            print("both nodes were used", flush=True)
            while not (folder / "one is lost").exists():
                time.sleep(0.05)

def step(name, tool, **args):
    for word, value in args.items():
        if isinstance(value, str):
            args[word] = "{{ steps.%s.output }}" % value
    return Step(step_id=name, tool=tool, args=args, retry=Retry(max_attempts=3, backoff_seconds=0))

after = step("after", "length", x="c", y="d").model_copy(update={"depends_on": ("both",)})
steps = (step("a", "made", size=2_000_000), step("b", "made", size=3_000_000), step("c", "longer", data="a"),
         step("d", "longer", data="b"), step("both", "length", x="c", y="d"), after)
backend = make_backend("ray", None, {"address": sys.argv[1]})
done = run(Workflow(steps=steps), backend=backend, tools={f.__name__: f for f in (made, longer, length)},
           instruments=[Waits()])
moved = {attempt.step_id: facts[attribute_names.TRANSFER_FROM] for attempt, facts in done.facts.items()
         if attribute_names.TRANSFER_FROM in facts}
print(json.dumps([done.outputs["after"], len(done.outputs["a"]), len(done.outputs["d"]), moved]))
"""


FAULTS = """
import json, sys, threading, time
from pathlib import Path
from executor import *
from executor.backends import make_backend
from executor.backends.ray import node_watch

node_watch.LOST_SECONDS = 2
places = Path(sys.argv[2])

def nap(name, seconds):
    import ray
    tried = list(places.glob(f"{name}-*"))
    (places / f"{name}-{ray.get_runtime_context().get_node_id()}").touch()
    if tried:
        return name
    while not list(places.glob("once-*")):
        time.sleep(0.05)
    time.sleep(seconds)
    return name

def step(name, seconds, **more):
    return Step(step_id=name, tool="nap", args={"name": name, "seconds": seconds}, **more)

def gate():
    # A program that has joined is of the node that was there then: that one stays.
    while not (places / "grown").exists():
        time.sleep(0.05)

def until_grown(backend):
    # In the second run Ray may not know yet that the node is lost.
    if (places / "grown").exists():
        return
    while backend.capacity < 3:
        time.sleep(0.05)
    print("grown", flush=True)
    (places / "grown").touch()

class Says(Instrument):
    def attempt_started(self, attempt):
        if attempt.step_id == "gate":
            print("up", flush=True)

    def attempt_finished(self, attempt, status):
        if attempt.step_id == "s0":
            print("s0", flush=True)

def go(*steps):
    backend = make_backend("ray", None, {"address": sys.argv[1]})
    threading.Thread(target=until_grown, args=(backend,), daemon=True).start()
    limits = {"license": Resource(capacity=1)}
    began = time.monotonic()
    tools = {"nap": nap, "gate": gate}
    done = run(Workflow(steps=steps), backend=backend, tools=tools, resources=limits, instruments=[Says()])
    print(json.dumps([done.statuses, {name: error.message for name, error in done.errors.items()},
                      [[a.step_id, a.outcome] for a in done.timeline.attempts], time.monotonic() - began]), flush=True)

more = {"retry": Retry(max_attempts=2), "depends_on": ("gate",)}
go(Step(step_id="gate", tool="gate"), step("once", 9, needs={"license": 1}, idempotent=False, **more),
   step("a", 9, **more), step("b", 9, **more))
go(*[step(f"s{n}", 1, depends_on=(f"s{n - 1}",) if n else ()) for n in range(20)])
"""


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    """A Ray of another owner, with one node of one core."""
    with RayNodes() as cluster:
        yield cluster


@pytest.mark.nightly
def test_nodes_that_come_are_used_and_modules_that_workers_lack_are_sent_along(nodes: RayNodes, tmp_path: Path) -> None:
    (tmp_path / "lacking_alone.py").write_text("def greet(name):\n    return 'hello ' + name\n")
    (tmp_path / "lacking_folder").mkdir()
    (tmp_path / "lacking_folder" / "__init__.py").write_text("from .inner import shout\n")
    (tmp_path / "lacking_folder" / "inner.py").write_text("def shout(name):\n    return name.upper()\n")
    # Ray gives workers the folders of the driver's path but those that a program adds itself.
    program = f"import sys\nsys.path.append({str(tmp_path)!r})\n{DRIVER}"
    files = f"{tmp_path / 'lacking_alone.py'},{tmp_path / 'lacking_folder'}"
    with driver(nodes, program, files) as started:
        assert next_line(started.stdout) == "grow", started.communicate()
        nodes.add()
        said, errors = started.communicate(timeout=100)
    assert said == "True hello x X [1, 2] 2 []\n", errors


@pytest.mark.slow
def test_steps_go_to_the_node_that_has_what_they_need_one_at_a_time_and_timeouts_run_from_their_beginning(
    nodes: RayNodes,
) -> None:
    nodes.add("num_gpus=1, resources={'license': 1}")
    with driver(nodes, NEEDS) as started:
        refused = next_line(started.stdout)
        said, errors = started.communicate(timeout=100)
    assert "step 'b' needs: 2 of 'license', and the most that one has is 1: start a node" in refused
    statuses, outcomes, outputs, warnings, attempts = json.loads(said or errors)
    assert outcomes == {"late": "timed_out", "plain": "timed_out"}
    assert {name for name, status in statuses.items() if status != "succeeded"} == {"late", "plain"}
    assert any("the limit of 'license' is 3, and the nodes state 1 in all" in warning for warning in warnings)
    licensed = [outputs[f"l{number}"] for number in range(3)]
    assert len({node for node, _, _ in [*licensed, outputs["again"]]}) == 1
    spans = sorted((began, ended) for _, began, ended in licensed)
    assert all(one[1] <= other[0] for one, other in pairwise(spans))
    # No plain step begins beside those before it has a slot: then its time in the record would be cut short.
    took = [ended - began for name, began, ended in attempts if name.startswith("p") and name != "plain"]
    assert min(took) > 0.15e9


@pytest.mark.nightly
def test_steps_go_to_the_node_of_their_largest_input_and_what_a_lost_node_held_is_made_again(tmp_path: Path) -> None:
    with RayNodes() as two:
        two.add()
        with driver(two, HANDING_OVER, str(tmp_path)) as started:
            assert next_line(started.stdout) == "both nodes were used", started.communicate()
            two.do("remove")
            (tmp_path / "one is lost").touch()
            said, errors = started.communicate(timeout=200)
    # Ray itself writes there that a node is lost.
    after, of_a, of_d, moved = json.loads((said or errors).splitlines()[-1])
    assert (after, of_a, of_d) == (5_000_002, 2_000_000, 3_000_001)
    # What is smaller came to the node of what is larger; the others ran where their input lay.
    assert moved == {"both": ["c"]}
    # Both were made, and one of them once more.
    assert len([path for path in tmp_path.iterdir() if path.name != "one is lost"]) == 3


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_lost_node_loses_its_own_steps_alone_and_what_ended_is_kept_when_the_control_store_is_gone(
    tmp_path: Path,
) -> None:
    with RayNodes() as nodes, driver(nodes, FAULTS, str(tmp_path)) as started:
        assert next_line(started.stdout) == "up", started.communicate()
        nodes.add("num_cpus=2, resources={'license': 1}")
        assert next_line(started.stdout) == "grown"
        wait_for(lambda: len(list(tmp_path.glob("*-*"))) == 3)
        begun = dict(place.name.split("-") for place in tmp_path.glob("*-*"))
        nodes.do("remove")
        statuses, errors, attempts, _ = json.loads(next_line(started.stdout))
        assert next_line(started.stdout) == "s0"
        nodes.do("end_control_store")
        later, said, _, seconds = json.loads(next_line(started.stdout))
        assert started.wait(60) == 0
    lost = {name for name, node in begun.items() if node == begun["once"]}
    assert len(lost) > 1
    assert {name for name, outcome in attempts if outcome == "worker_died"} == lost, attempts
    assert statuses == {"gate": "succeeded", "once": "failed", "a": "succeeded", "b": "succeeded"}, (errors, attempts)
    assert "is not tried again: it is `idempotent: false`" in errors["once"]
    assert later["s0"] == "succeeded"
    assert later["s19"] == "skipped"
    assert any("the control store of the Ray at" in message for message in said.values())
    assert seconds < 40


def wait_for(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until, "it never came to that"
        time.sleep(0.05)


def test_files_that_are_not_there_are_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="there is no such file"):
        make_backend("ray", 1, {"files": str(tmp_path / "none.py")})
