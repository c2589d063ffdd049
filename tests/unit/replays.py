"""Tools that ask and that call, scenarios of them, and runs that are recorded and replayed: for tests of replays."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from pathlib import Path
from typing import Any

from executor.node_runtime import (
    CallError,
    call_tool,
    call_tool_async,
    call_tools_parallel,
    call_tools_parallel_async,
)
from executor.record.timeline import NANOSECONDS, Attempt
from harness.benchmark import CallRecorder, MatrixRequest, Measured, RecordedRuns, Runner
from harness.benchmark.listeners import CallKeeper
from tests.unit.test_benchmark_calls import matrix_of

HERE = "tests.unit.replays"
# What was asked in this process. Locked: tools run in many threads.
ASKED: list[str] = []
TRIES: dict[str, int] = {}
LOCK = threading.Lock()


# ---------------------------------------------------------------------- what costs something


def ask(text: str, fails: int = 0, seconds: float = 0.01, **_: Any) -> str:
    with LOCK:
        ASKED.append(text)
        TRIES[text] = TRIES.get(text, 0) + 1
        tries = TRIES[text]
    time.sleep(seconds)
    if tries <= fails:
        raise LookupError(f"{text}: try {tries} fails")
    return f"{text}!"


def number(value: Any) -> int:
    return len(str(value))


# ---------------------------------------------------------------------- code that calls


def together(words: list[str], at_once: int | None = None) -> list[str]:
    return call_tools_parallel([("ask", None, {"text": word}) for word in words], at_once)


def in_turn(words: list[str]) -> str:
    text = ""
    for word in words:
        text = call_tool("ask", text=text + word)
    return text


def of_others(words: list[str]) -> list[Any]:
    return call_tools_parallel([("together", None, {"words": [word, word]}) for word in words])


def carries_on() -> str:
    try:
        return str(call_tool("ask", text="no", fails=99))
    except CallError as error:
        return f"{error.error_type} {call_tool('ask', text='instead')}"


def gives_up_once() -> str:
    call_tool("ask", text="before")
    with LOCK:
        TRIES["gives_up_once"] = tries = TRIES.get("gives_up_once", 0) + 1
    if tries == 1:
        raise ValueError("not yet")
    return "done"


async def in_two_places() -> list[Any]:
    async def later() -> Any:
        await asyncio.sleep(0.03)
        return await call_tool_async("ask", text="later", seconds=0.02)

    return list(await asyncio.gather(call_tool_async("ask", text="slow", seconds=0.15), later()))


async def does_not_wait() -> str:
    try:
        async with asyncio.timeout(0.1):
            await call_tools_parallel_async([("nap", None, {"seconds": 60})] * 3)
    except TimeoutError:
        return str(await call_tool_async("ask", text="rather"))
    return "it came"


async def nap(seconds: float) -> None:
    await asyncio.sleep(seconds)


def waits_for_ever() -> None:
    call_tools_parallel([("nap", None, {"seconds": 60})] * 2)


def computes(words: list[str]) -> list[str]:
    messages = list[str]()
    for word in words:
        messages.append(word)
        messages.append(call_tool("ask", text=word, messages=messages))
    return messages


def uses_others() -> list[Any]:
    return call_tools_parallel(
        [("sleep", None, {"seconds": 0.02}), ("number", None, {"value": "four"}), ("number", None, {"value": {1, 2}})]
    )


def strange(**_: Any) -> Any:
    return {("no", "text"): {1, 2}, 3: "three"}


TOOLS = f"""
resources: {{llm: {{capacity: 2}}}}
tools:
  ask: {{kind: python, callable: "{HERE}:ask", needs: {{llm: 1}}, retry: {{max_attempts: 2, backoff_seconds: 0}}}}
  nap: {{kind: python, callable: "{HERE}:nap", needs: {{llm: 1}}}}
  number: {{kind: python, callable: "{HERE}:number", cpu_bound: true}}
  together: {{kind: python, callable: "{HERE}:together"}}
  in_turn: {{kind: python, callable: "{HERE}:in_turn"}}
  of_others: {{kind: python, callable: "{HERE}:of_others"}}
  carries_on: {{kind: python, callable: "{HERE}:carries_on"}}
  gives_up_once: {{kind: python, callable: "{HERE}:gives_up_once"}}
  in_two_places: {{kind: python, callable: "{HERE}:in_two_places"}}
  does_not_wait: {{kind: python, callable: "{HERE}:does_not_wait"}}
  waits_for_ever: {{kind: python, callable: "{HERE}:waits_for_ever"}}
  computes: {{kind: python, callable: "{HERE}:computes", cpu_bound: true}}
  uses_others: {{kind: python, callable: "{HERE}:uses_others"}}
benchmark: {{executors: [threads], workers: [2], repetitions: 1, warmup: 0}}
"""


def scenario(*steps: str, more: str = "") -> str:
    return f"scenario: calls\n{TOOLS}{more}steps:\n" + "".join(f"  - {{{step}}}\n" for step in steps)


def measured(folder: Path, text: str, executor: str, *, workers: int = 2, path: Path | None = None) -> Measured:
    """One run on an executor: a replay of the calls in ``path``, or one that asks."""
    wishes = MatrixRequest(executors=(executor,), workers=() if executor == "serial" else (workers,))
    matrix = matrix_of(folder, text, wishes)
    with Runner(matrix, replay=None if path is None else RecordedRuns(path)) as runner:
        return runner.run(matrix.cells[-1], 1)


def recorded(folder: Path, text: str, executor: str = "threads", name: str = "calls.jsonl") -> tuple[Path, Measured]:
    """Run it once for real, and keep its calls."""
    done = measured(folder, text, executor)
    recorder = CallRecorder(folder / name)
    CallKeeper(recorder).measured(done)
    recorder.close()
    ASKED.clear()
    TRIES.clear()
    return folder / name, done


def entries(path: Path) -> list[dict[str, Any]]:
    """What is recorded of the only run."""
    _, line = path.read_text(encoding="utf-8").splitlines()
    return list(json.loads(line)["calls"])


def plan_of(path: Path, step_id: str, attempt: int = 1) -> dict[str, Any]:
    (plan,) = [one["plan"] for one in entries(path) if (one["step_id"], one["attempt"]) == (step_id, attempt)]
    return dict(plan)


def fates(done: Measured) -> dict[str, tuple[str, Any, int]]:
    """How each step ended, with what, and after how many attempts."""
    tries: dict[str, int] = {}
    for attempt in done.run.timeline.attempts:
        tries[attempt.step_id] = tries.get(attempt.step_id, 0) + 1
    return {
        step_id: (status, done.run.outputs.get(step_id), tries.get(step_id, 0))
        for step_id, status in done.run.statuses.items()
    }


def most_at_once(done: Measured, tool: str) -> int:
    """The most steps of a tool that held their limits at one time."""
    changes = []
    for attempt in done.run.timeline.attempts:
        if done.steps[attempt.index].tool == tool and not attempt.blocked:
            changes += [(attempt.granted, 1), (attempt.known or attempt.granted, -1)]
    most = now = 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most


def attempts_of(done: Measured, step_id: str) -> list[Attempt]:
    return [attempt for attempt in done.run.timeline.attempts if attempt.step_id == step_id]


def own_seconds(attempt: Attempt) -> float:
    """How long an attempt itself ran."""
    assert attempt.started is not None
    assert attempt.ended is not None
    waited = sum(end - start for start, end in attempt.blocked)
    waited += sum(wait.end - wait.start for wait in attempt.waits if wait.start >= attempt.started)
    return (attempt.ended - attempt.started - waited) / NANOSECONDS
