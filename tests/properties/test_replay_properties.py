"""Recorded runs of code that calls tools: what the record says of them, and that a replay comes to the same."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from executor.node_runtime import call_tools_parallel
from executor.record.timeline import NANOSECONDS, Timeline
from harness.benchmark.recorded_calls.call_plans import plans_of
from harness.testing.drawing.behaviour import plans_of_run
from harness.testing.drawing.generator import DrawnRun
from harness.testing.drawing.simulated_run import simulate
from harness.testing.drawing.strategies import workflows
from tests.properties.effort import examples
from tests.unit.replays import fates, measured, most_at_once, recorded

HERE = "tests.properties.test_replay_properties"
PLANNED = frozenset({"nested", "failures", "retries", "resources", "rates", "timeouts", "deaths", "mapped", "policies",
                     "priorities", "cancellations"})  # fmt: skip


def has_ties(timeline: Timeline, caller: int) -> bool:
    """Whether two waits of a step meet in one instant: on a virtual clock it is unknown whose calls are whose."""
    waits = [wait for attempt in timeline.attempts if attempt.index == caller for wait in attempt.blocked]
    return any(one.end >= other.start for one, other in pairwise(waits))


@settings(max_examples=examples(80), deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(workflows(min_steps=2, max_steps=8, features=PLANNED))
def test_the_record_of_a_caller_gives_back_its_plan(run: DrawnRun) -> None:
    timeline = simulate(run.workflow, run.behaviour)
    drawn = plans_of_run(run.behaviour, timeline)
    mapped = {index for index, step in enumerate(run.workflow.steps) if step.for_each is not None}
    plans = plans_of(timeline, mapped)
    ids = timeline.step_ids
    # A call between two waits that never began could belong to either of them.
    began = {attempt.step_id for attempt in timeline.attempts}
    callers = {parent for parent in timeline.nested_in if parent >= 0} - mapped
    for caller in callers:
        if has_ties(timeline, caller):
            continue
        kids = iter([ids[index] for index, parent in enumerate(timeline.nested_in) if parent == caller])
        for attempt in (one for one in timeline.attempts if one.index == caller):
            expected = drawn[ids[caller]].attempt(attempt.attempt)
            calls = expected.calls[: len(attempt.blocked)]
            if not calls:
                continue
            found = plans[caller, attempt.attempt]
            asked = [{step_id for ask in wait for step_id in ask.calls} for wait in found.waits]
            made = [{next(kids) for _ in call.children} for call in calls]
            assert [one & began for one in asked] == [one & began for one in made]
            offsets = [0, *(call.offset_ns for call in calls)]
            own = [after - before for before, after in pairwise(offsets)]
            assert list(found.own_seconds[:-1]) == [nanoseconds / NANOSECONDS for nanoseconds in own]
            if attempt.outcome in ("succeeded", "failed"):
                assert found.own_seconds[-1] == (expected.duration_ns - offsets[-1]) / NANOSECONDS


# ---------------------------------------------------------------------- replays

TRIES: dict[str, int] = {}
LOCK = threading.Lock()
TOOLS = f"""
scenario: drawn
resources: {{llm: {{capacity: 2}}}}
tools:
  ask: {{kind: python, callable: "{HERE}:play", needs: {{llm: 1}}, retry: {{max_attempts: 2, backoff_seconds: 0}}}}
  code: {{kind: python, callable: "{HERE}:play", retry: {{max_attempts: 2, backoff_seconds: 0}}}}
benchmark: {{executors: [threads], workers: [3], repetitions: 1, warmup: 0}}
steps:
"""


def play(node: dict[str, Any]) -> Any:
    """What a drawn node does: it runs, calls, fails now and then, and carries on after calls that failed or not."""
    with LOCK:
        tries = TRIES[node["name"]] = TRIES.get(node["name"], 0) + 1
    results: list[Any] = [node["name"]]
    for wait in node.get("waits", ()):
        time.sleep(wait["own"])
        calls = [("code" if "waits" in one else "ask", None, {"node": one}) for one in wait["calls"]]
        results += map(str, call_tools_parallel(calls, wait["at_once"], return_exceptions=wait["catches"]))
    time.sleep(node["seconds"])
    if tries <= node["fails"]:
        raise ValueError(f"{node['name']} fails")
    return results


SECONDS = st.sampled_from([0.0, 0.002, 0.005])
LEAVES = st.fixed_dictionaries({"seconds": SECONDS, "fails": st.sampled_from([0, 0, 0, 1, 2])})


def callers(nodes: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    wait = {
        "own": SECONDS,
        "calls": st.lists(nodes, min_size=1, max_size=3),
        "at_once": st.sampled_from([None, 1, 2]),
        "catches": st.booleans(),
    }
    waits = st.lists(st.fixed_dictionaries(wait), min_size=1, max_size=2)
    return st.fixed_dictionaries({"seconds": SECONDS, "fails": st.sampled_from([0, 0, 1]), "waits": waits})


NODES = callers(st.recursive(LEAVES, callers, max_leaves=6))


def named(node: dict[str, Any], name: str) -> dict[str, Any]:
    """The same node with names all through it."""
    if "waits" not in node:
        return {**node, "name": name}
    waits = [
        {**wait, "calls": [named(one, f"{name}.{number}.{place}") for place, one in enumerate(wait["calls"])]}
        for number, wait in enumerate(node["waits"])
    ]
    return {**node, "name": name, "waits": waits}


@settings(max_examples=examples(4), deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.lists(NODES, min_size=1, max_size=2), NODES, st.sampled_from(["threads", "asyncio"]), st.integers(1, 3))
def test_a_replay_has_the_steps_the_ends_and_the_outputs_of_what_was_recorded(
    nodes: list[dict[str, Any]], item: dict[str, Any], executor: str, workers: int
) -> None:
    TRIES.clear()
    steps = [{"step_id": f"s{place}", "tool": "code", "args": {"node": named(node, f"s{place}")}}
             for place, node in enumerate(nodes)]  # fmt: skip
    items = [named(item, name) for name in ("i", "j")]
    steps.append({"step_id": "each", "tool": "code", "for_each": items, "args": {"node": "{{ item }}"}})
    with tempfile.TemporaryDirectory() as folder:
        text = TOOLS + "".join(f"  - {json.dumps(step)}\n" for step in steps)
        path, first = recorded(Path(folder), text)
        tries = dict(TRIES)
        again = measured(Path(folder), text, executor, workers=workers, path=path)
    assert tries == TRIES
    assert fates(again) == fates(first)
    assert most_at_once(again, "ask") <= 2
