"""Backend `ray` on a Ray of another owner whose nodes come and go, and whose workers lack modules."""

from __future__ import annotations

import json
from collections.abc import Iterator
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


def test_files_that_are_not_there_are_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="there is no such file"):
        make_backend("ray", 1, {"files": str(tmp_path / "none.py")})
