"""Whether the workers of a running cluster can run the steps of this program: said before the first step.

Rules of this module:
- Another Python (but for its last number) or another makespan is refused: calls and results are pickled on one side and
  read on the other. Other packages are a warning: most versions read what others wrote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from executor.backends.base import BackendError
from executor.backends.worker_facts import differences, worker_facts

_REFUSED = ("Python", "makespan")
_SHOWN = 3
REMEDY = "install the same Python and the same versions on every machine"


def must_fit(found: Mapping[str, Mapping[str, Any] | Exception], backend: str, warnings: list[str]) -> None:
    """``found`` is by worker what it has (:func:`executor.backends.worker_facts.worker_facts`), or why it cannot say
    so. What only may go wrong is added to ``warnings``.

    Raises:
        BackendError: a worker cannot run the steps.
    """
    here = worker_facts()
    refused: list[str] = []
    doubtful: list[str] = []
    for worker, facts in found.items():
        if isinstance(facts, Exception):
            refused.append(f"worker {worker} cannot be looked at: {type(facts).__name__}: {facts}")
            continue
        differing = list(differences(facts, here))
        if differing:
            text = f"worker {worker} on {facts['host']}: {', '.join(differing)}"
            (refused if any(one.startswith(_REFUSED) for one in differing) else doubtful).append(text)
    if refused:
        raise BackendError(f"{backend}: {_listed(refused)}: {REMEDY}")
    if doubtful:
        warnings.append(f"{_listed(doubtful)}: where a step fails for it, {REMEDY}")


def _listed(texts: Sequence[str]) -> str:
    more = f"; and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return "; ".join(texts[:_SHOWN]) + more
