"""Dask's own retries, switched off for the steps of one run on a cluster of another owner: the engine decides alone
whether a step whose worker died runs again.

A scheduler repeats what ran on a worker that died, three times unless its `allowed-failures` says otherwise; no setting
of a task changes that. So the steps of this run are marked as if they had used up their failures.

Rules of this module:
- Tasks of other clients of the cluster are left alone, and nothing is left behind: the plugin goes with its client.
- It travels by value: the scheduler may have no makespan.
"""

from __future__ import annotations

from typing import Any

from distributed import SchedulerPlugin


class SingleTries(SchedulerPlugin):
    """Runs in the scheduler. ``client`` is the id of the run's client."""

    def __init__(self, client: str) -> None:
        self.client = client
        self.name = f"makespan-{client}"
        self._scheduler: Any = None

    async def start(self, scheduler: Any) -> None:
        """The scheduler has it."""
        self._scheduler = scheduler

    def transition(self, key: Any, start: Any, finish: Any, *args: Any, **_: Any) -> None:
        """A task is handed to a worker: the first death of one ends it."""
        if finish != "processing":
            return
        task = self._scheduler.tasks.get(key)
        if task is not None and any(state.client_key == self.client for state in task.who_wants or ()):
            task.suspicious = self._scheduler.allowed_failures

    def remove_client(self, scheduler: Any, client: str) -> None:
        """The run is over, or its program is gone."""
        if client == self.client:
            scheduler.plugins.pop(self.name, None)
