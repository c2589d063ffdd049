"""Result documents of real runs, for tests of metrics."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from executor import Step, Workflow, run
from executor.model.workflow import Resource, Retry
from harness.result import Repetition, result_document
from harness.telemetry.metrics.time_series import STALE
from tests.unit.run_documents import document

STARTED_AT = "2026-01-02T03:04:05.000000+00:00"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


def workflow(steps: int = 12, *, seconds: float = 0.002, states: int = 0) -> Workflow:
    """A source, steps behind it that share a resource of two units, one of them retried once, and a failure."""
    made = [Step(step_id="source", tool="sleep", args={"seconds": seconds})]
    for number in range(steps):
        needs = {"llm": 1} if number % 2 else None
        made.append(
            Step(
                step_id=f"s{number}", tool="sleep", args={"seconds": seconds}, depends_on=("source",), needs=needs,
                writes=(f"state-{number % states}",) if states else (),
            )
        )  # fmt: skip
    made.append(
        Step(
            step_id="again", tool="flaky", args={"fail_times": 1}, expected_seconds=0.0,
            retry=Retry(max_attempts=2, backoff_seconds=0.001),
        )
    )  # fmt: skip
    made.append(Step(step_id="broken", tool="flaky", args={"fail_times": 9}, expected_seconds=0.0))
    return Workflow(workflow_id="metrics", steps=tuple(made))


def ran(flow: Workflow, *, backend: str = "threads", workers: int = 4, instruments: Sequence[Any] = ()) -> Any:
    """The run."""
    return run(
        flow, backend=backend, workers=workers, resources={"llm": Resource(capacity=2)}, instruments=instruments
    )  # fmt: skip


def run_document_of(
    flow: Workflow | None = None, *, started_at: str = STARTED_AT, trace_id: str | None = TRACE_ID, **more: Any
) -> dict[str, Any]:
    """The document of one run that began at that time."""
    flow = workflow() if flow is None else flow
    done = ran(flow)
    repetition = Repetition(
        done.timeline, done.outputs, done.errors, steps={one.step_id: one for one in flow.steps},
        started_at=started_at, trace_id=trace_id,
    )  # fmt: skip
    return document(result_document([repetition], executor="threads"), started_at=started_at, **more)


def is_stale(value: float) -> bool:
    """Whether the value is the marker that a series has ended: only its bits show it."""
    return struct.pack("<d", value) == struct.pack("<d", STALE)
