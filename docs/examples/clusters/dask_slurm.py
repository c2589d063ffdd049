"""A run on Slurm: Dask's workers are jobs that dask-jobqueue hands in. On a login node, or in a job of its own:

    pip install 'makespan[dask]' dask-jobqueue
    python dask_slurm.py workflow.yaml
"""

from __future__ import annotations

import subprocess
import sys

QUEUE = "compute"
MOST_JOBS = 32


def main(path: str) -> int:
    """Run a workflow file on workers that come as the queue lets them. Returns the command's exit status."""
    from dask_jobqueue import SLURMCluster

    # A job is a worker of one thread; `interface` is the network by which compute nodes reach each other.
    words = {"queue": QUEUE, "cores": 1, "processes": 1, "memory": "4GB", "walltime": "01:00:00", "interface": "ib0"}
    with SLURMCluster(**words) as cluster:
        # The run begins with the first worker and follows the others. A job whose time is over ends its step: keep
        # steps shorter than `walltime`, and give them `retry`.
        cluster.adapt(minimum_jobs=1, maximum_jobs=MOST_JOBS)
        cluster.wait_for_workers(1)
        address = f"address={cluster.scheduler_address}"
        command = ["makespan", "run", path, "--executor", "dask", "--backend-option", address]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
