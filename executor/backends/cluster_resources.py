"""What the workers of a running cluster state that they have (Dask: ``--resources "GPU=2"``, Ray: ``--num-gpus``,
``--resources``), and which needs of steps are needs of it.

Rules of this module:
- Pure. A name in ``needs`` is the cluster's resource of the same name, whether in capital letters or not.
- Workers are never asked for a resource that none of them has stated: there the engine's limit counts alone.
- The engine's limits hold beside the cluster's: the engine says how many at once, the cluster says where.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from executor.backends.base import BackendError
from executor.model.workflow import Step

# By name in the cluster's own spelling.
Amounts = Mapping[str, float]


class NoWorkerError(BackendError):
    """No worker has what a step needs: another attempt cannot help."""

    retryable = False


class ClusterResources:
    """What the workers have. ``workers`` has what each of them states, by its name; ``kind`` is what these are, in
    words.
    """

    def __init__(self, workers: Mapping[str, Amounts] | None = None, kind: str = "worker") -> None:
        self._workers: Mapping[str, Amounts] = {}
        self._kind = kind
        # The cluster's name by ours. A resource stays known when its last worker has left.
        self._names: dict[str, str] = {}
        # Also those that have left.
        self._seen: dict[str, Amounts] = {}
        self.follow(workers or {})

    def follow(self, workers: Mapping[str, Amounts]) -> None:
        """The workers are these now."""
        self._workers = workers
        self._names |= {name.lower(): name for amounts in workers.values() for name in amounts}
        self._seen |= workers

    def states(self, name: str) -> bool:
        """Whether a worker has stated a resource of this name."""
        return name.lower() in self._names

    def asked(self, needs: Mapping[str, float] | None) -> dict[str, float]:
        """What of a step's needs the cluster is asked for, by its own names."""
        names = self._names
        return {names[name.lower()]: amount for name, amount in (needs or {}).items() if name.lower() in names}

    def fits(self, asked: Amounts) -> bool:
        """Whether one of the workers has all of it."""
        return not asked or any(_has(amounts, asked) for amounts in self._workers.values())

    def must_fit(self, what: str, asked: Amounts) -> None:
        """Raises NoWorkerError where no worker has what is asked for ``what``, such as ``step 'a'``."""
        if self.fits(asked):
            return
        had = [name for name, amounts in self._seen.items() if name not in self._workers and _has(amounts, asked)]
        if had:
            remedy = f"{self._kind} {had[-1]} had it, and has left: start another one"
        else:
            remedy = f"start a {self._kind} that states more, or need less"
        raise NoWorkerError(f"no {self._kind} of the cluster has what {what} needs: {self._lacking(asked)}: {remedy}")

    def _lacking(self, asked: Amounts) -> str:
        most = {name: max((one.get(name, 0) for one in self._workers.values()), default=0) for name in asked}
        lacking = [name for name, amount in asked.items() if most[name] < amount]
        if not lacking:
            return " and ".join(f"{amount:g} of {name!r}" for name, amount in asked.items()) + " together"
        return ", ".join(
            f"{asked[name]:g} of {name!r}, and the most that one has is {most[name]:g}" for name in lacking
        )

    def must_fit_all(self, steps: Iterable[Step]) -> None:
        """Raises NoWorkerError for the first step that no worker can run."""
        for step in steps:
            self.must_fit(f"step {step.step_id!r}", self.asked(step.needs))

    def total(self, name: str) -> float | None:
        """How much of a need of this name the workers have in all; None where none has stated it."""
        theirs = self._names.get(name.lower())
        return None if theirs is None else sum(amounts.get(theirs, 0) for amounts in self._workers.values())

    def described(self) -> str:
        """In words: ``GPU 4 on 2 workers``; an empty text where they state none."""
        texts = []
        for name in sorted(set(self._names.values())):
            having = [amounts[name] for amounts in self._workers.values() if amounts.get(name)]
            many = "" if len(having) == 1 else "s"
            texts.append(f"{name} {sum(having):g} on {len(having)} {self._kind}{many}")
        return ", ".join(texts)


def _has(amounts: Amounts, asked: Amounts) -> bool:
    return all(amounts.get(name, 0) >= amount for name, amount in asked.items())
