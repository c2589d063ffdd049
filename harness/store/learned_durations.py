"""How long the steps of a scenario took in earlier runs, from the history.

Rules of this module:
- Only runs in which steps really ran count, with the same parameters; of a step only attempts that succeeded.
- A mapped step has the median of its items.
- Bounded: the newest few runs are read, of a large scenario the newest one alone.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Any, Final

from harness.store.run_store import Store

_RUNS: Final = 5
_LARGE_STEPS: Final = 2000


def learned_seconds(
    store: Store, scenario: str, parameters: Mapping[str, Any], *, steps: int, before: str | None = None
) -> dict[str, float]:
    """The median seconds of each step, by id. ``steps``: how many the scenario has. ``before``: only runs begun before
    that id's.

    Raises:
        StoreError: the history cannot be read.

    """
    seconds: dict[str, list[float]] = {}
    for run in store.history(scenario=scenario, before=before, limit=1 if steps > _LARGE_STEPS else _RUNS):
        document = store.document(run.run_id)
        for result in document["results"]:
            simulated = result.get("simulated", document["environment"].get("simulated", False))
            named = result.get("scenario", document["scenario"])
            if simulated or named != scenario or result["parameters"] != parameters:
                continue
            for step_id, spent in _seconds_of(result):
                seconds.setdefault(step_id, []).append(spent)
    return {step_id: statistics.median(spent) for step_id, spent in seconds.items()}


def _seconds_of(result: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Each step that succeeded, with what it ran. Items give their time to their step, which itself holds no worker."""
    mapped = {step["step_id"] for step in result["steps"] if all(one["worker"] is None for one in step["attempts"])}
    for step in result["steps"]:
        if step["status"] != "succeeded" or not step["attempts"] or step["step_id"] in mapped:
            continue
        last = step["attempts"][-1]
        started, ended = last["started"], last["ended"]
        if started is None or ended is None:
            continue
        blocked = sum(one["to"] - one["from"] for one in last["blocked"])
        caller = step["nested_in"]
        yield caller if caller in mapped else step["step_id"], max(0.0, ended - started - blocked)
