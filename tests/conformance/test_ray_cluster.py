"""Backend `ray` on a Ray of another owner whose nodes come and go, and whose workers lack modules."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from executor import BackendError
from executor.backends import make_backend

CLUSTER = """
import sys
from ray.cluster_utils import Cluster
words = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
cluster = Cluster(initialize_head=True, head_node_args={**words, "include_dashboard": False})
print(cluster.address, flush=True)
for line in sys.stdin:
    if line != "add\\n":
        break
    cluster.add_node(wait=True, **words)
    print("done", flush=True)
cluster.shutdown()
"""
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


@pytest.fixture(scope="module")
def surroundings() -> dict[str, str]:
    """The environment of a Ray on loopback."""
    return {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


@pytest.fixture(scope="module")
def cluster(surroundings: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A Ray of another owner, with one node of one core; it gets another one for each line `add`."""
    with subprocess.Popen(
        [sys.executable, "-c", CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=surroundings
    ) as program:
        yield program
        program.communicate("end\n", timeout=60)


@pytest.mark.nightly
def test_nodes_that_come_are_used_and_modules_that_workers_lack_are_sent_along(
    cluster: subprocess.Popen[str], surroundings: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "lacking_alone.py").write_text("def greet(name):\n    return 'hello ' + name\n")
    (tmp_path / "lacking_folder").mkdir()
    (tmp_path / "lacking_folder" / "__init__.py").write_text("from .inner import shout\n")
    (tmp_path / "lacking_folder" / "inner.py").write_text("def shout(name):\n    return name.upper()\n")
    # Ray gives workers the folders of the driver's path but those that a program adds itself.
    program = f"import sys\nsys.path.append({str(tmp_path)!r})\n{DRIVER}"
    files = f"{tmp_path / 'lacking_alone.py'},{tmp_path / 'lacking_folder'}"
    assert cluster.stdout is not None
    assert cluster.stdin is not None
    command = [sys.executable, "-c", program, cluster.stdout.readline().strip(), files]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=surroundings
    ) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "grow\n", driver.communicate()
        cluster.stdin.write("add\n")
        cluster.stdin.flush()
        assert cluster.stdout.readline() == "done\n"
        said, errors = driver.communicate(timeout=100)
    assert said == "True hello x X [1, 2] 2 []\n", errors


def test_files_that_are_not_there_are_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="there is no such file"):
        make_backend("ray", 1, {"files": str(tmp_path / "none.py")})
