"""A run on a Dask cluster that runs already, and what its record says of the cluster:

    python on_a_cluster.py tcp://10.0.0.7:8786
"""

from __future__ import annotations

import sys

from executor import Retry, Step, Workflow, run
from executor.backends import make_backend


def square(number: int) -> int:
    """What a step does; functions of a script travel with the steps."""
    return number * number


def main(address: str) -> int:
    """Run twelve steps."""
    # A worker may die: its step is tried again, by the engine and not by Dask.
    steps = [
        Step(step_id=f"square{number}", tool="square", args={"number": number}, retry=Retry(max_attempts=3))
        for number in range(12)
    ]
    done = run(
        Workflow(steps=tuple(steps)), backend=make_backend("dask", None, {"address": address}), tools={"square": square}
    )
    print("outputs", sorted(done.outputs.values()))
    print("workers (from, how many)", list(done.timeline.worker_changes) or [(0, done.workers)])
    for worker, clock in done.timeline.clocks.items():
        print(f"times of {worker} are off by at most {clock.error_nanoseconds / 1e6:.3f} ms")
    for warning in done.warnings:
        print("warning:", warning)
    return 0 if done.ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
