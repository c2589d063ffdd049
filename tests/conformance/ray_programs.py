"""A Ray of another owner for tests, with several nodes on this machine, and programs that run steps on it.

Rules of this module:
- Ray and the programs that join it are programs of their own: one process is part of one Ray at a time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from types import TracebackType
from typing import IO, Self

CLUSTER = """
import sys
from ray.cluster_utils import Cluster
words = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
cluster = Cluster(initialize_head=True, head_node_args={**words, "include_dashboard": False})
print(cluster.address, flush=True)
nodes = []
for line in sys.stdin:
    what, _, more = line.strip().partition(" ")
    if what == "add":
        nodes.append(cluster.add_node(wait=True, **words, **eval(f"dict({more})")))
    elif what == "remove":
        cluster.remove_node(nodes.pop(), allow_graceful=False)
    elif what == "end_control_store":
        cluster.head_node.kill_gcs_server(check_alive=False)
    else:
        break
    print("done", flush=True)
cluster.shutdown()
"""
ANSWER_SECONDS = 100


class RayNodes:
    """A head of one core, and more nodes of one core as they are asked for."""

    def __init__(self) -> None:
        # On loopback alone.
        self.environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
        self._program = subprocess.Popen(
            [sys.executable, "-c", CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=self.environment,
        )  # fmt: skip
        self.address = self._said()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._program:
            self._program.communicate("end\n", timeout=ANSWER_SECONDS)

    def add(self, stated: str = "") -> None:
        """Add a node. ``stated``: keyword arguments of its resources."""
        self.do(f"add {stated}")

    def do(self, what: str) -> None:
        """``add``, ``remove`` (the node that came last is killed), or ``end_control_store``."""
        assert self._program.stdin is not None
        self._program.stdin.write(f"{what}\n")
        self._program.stdin.flush()
        assert self._said() == "done"

    def _said(self) -> str:
        assert self._program.stdout is not None
        return self._program.stdout.readline().strip()


def driver(nodes: RayNodes, program: str, *arguments: str) -> subprocess.Popen[str]:
    """Begin a program, given the address of Ray and these arguments."""
    return subprocess.Popen(
        [sys.executable, "-c", program, nodes.address, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=nodes.environment,
    )  # fmt: skip


def next_line(stream: IO[str] | None) -> str:
    """The next line that a program writes."""
    assert stream is not None
    return stream.readline().strip()
