"""What a worker process is asked for, ready to be sent: a step's call, rendered and pickled.

Rules of this module:
- What cannot be rendered or sent is that attempt's failure, which names the argument.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

from executor.backends.pickling import PROTOCOL, NotPicklableError, dumps, not_picklable
from executor.backends.processes.frames import CALL, packets
from executor.backends.processes.parent_child_steps import DeferredTools
from executor.engine.engine import Engine
from executor.record.outcomes import Failure


def request_of(
    engine: Engine, tools: DeferredTools, index: int, number: int, *, polls: bool = False
) -> list[bytes | memoryview] | Failure:
    """The packets that ask for a step's call, attempt ``number``, or why they cannot be had.
    ``polls``: after it, the worker polls for the next.
    """
    step = engine.scheduler.steps[index]
    step_id = engine.scheduler.step_ids[index]
    prompt = step.prompt
    args: Mapping[str, Any] = step.args or {}
    try:
        if args or "{" in (prompt or "") or step.idempotent is False:
            _, prompt, args = engine.renderer.work(step, index)
        ask = engine.renderer.devices_of
        devices = None if ask is None else ask(index)
        call = (step.tool, prompt, args, step_id, step.expected_seconds, step.timeout, devices)
        body = dumps(call, "the call") if args else pickle.dumps(call, PROTOCOL)
        tools.pack(step.tool or "")
    except NotPicklableError as error:
        return _argument_failure(step_id, args, error)
    except Exception as error:  # noqa: BLE001  # a template that fails is a failed attempt
        return Failure.of(error)
    return packets(CALL, index, number, body, polls=polls)


def _argument_failure(step_id: str, args: Mapping[str, Any], error: NotPicklableError) -> Failure:
    for name, value in args.items():
        try:
            dumps(value, f"args[{name!r}]")
        except NotPicklableError as inner:
            error = inner
            break
    return not_picklable(step_id, error)
