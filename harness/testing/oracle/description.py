"""A workflow's words in plain form: its steps, retries and resources as the oracle wants them.

Rules of this module:
- It imports the words (:mod:`executor.model.workflow`) and nothing else of the executor: rule 1 is read a second time
  here.
- Seconds become whole nanoseconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from executor.model.workflow import Resource, Retry, Step, Workflow, max_parallel_resource
from harness.testing.oracle.plain_graph import NANOSECONDS, PlainGraph, PlainResource, PlainRetry, PlainStep

_EXPRESSION = re.compile(r"\{\{(.*?)\}\}|\{%(.*?)%\}", re.DOTALL)
_REFERENCE = re.compile(r"\bsteps\s*(?:\.\s*([A-Za-z_]\w*)|\[\s*(?:'([^']*)'|\"([^\"]*)\")\s*\])")


def references(step: Step) -> list[str]:
    """Rule 1, read with regular expressions: the steps that a step's templates mention, in order, each once.

    Enough for ``{{ steps.a.output }}`` and ``{{ steps['a.b'].output }}``; not for names put together in a template.
    """
    texts: list[str] = []
    open_values: list[object] = [step.prompt, *(step.args or {}).values()]
    open_values += step.for_each if isinstance(step.for_each, list) else []
    while open_values:
        value = open_values.pop(0)
        if isinstance(value, str):
            texts += [part for match in _EXPRESSION.finditer(value) for part in match.groups() if part]
        elif isinstance(value, dict):
            open_values[:0] = list(value.values())
        elif isinstance(value, list):
            open_values[:0] = value
    texts += [text for text in (step.when, step.for_each) if isinstance(text, str)]
    found = [
        next(filter(None, match.groups())) for text in texts if "steps" in text for match in _REFERENCE.finditer(text)
    ]
    return list(dict.fromkeys(found))


def nanoseconds(seconds: float) -> int:
    """Seconds as whole nanoseconds."""
    return round(seconds * NANOSECONDS)


NO_RETRY = PlainRetry(attempts_after_death=Retry().max_attempts)


def describe_retry(retry: Retry | None) -> PlainRetry:
    """A retry in plain form. None means one attempt, but if the worker dies as many as a retry has by default."""
    if retry is None:
        return NO_RETRY
    return PlainRetry(
        retry.max_attempts,
        nanoseconds(retry.backoff_seconds),
        retry.multiplier,
        nanoseconds(retry.max_backoff_seconds),
        retry.jitter,
    )


def describe_step(
    step: Step,
    *,
    when: bool | None = None,
    parent: str | None = None,
    call: int = 0,
    names: Mapping[str, str] | None = None,
) -> PlainStep:
    """A step in plain form. Its own fields alone count, not what a tool's declaration would add. ``names``: what those
    are called in the run that have other ids in their words.
    """
    data = step.depends_on
    if step.prompt or step.args or step.when or step.for_each:
        data = (*data, *references(step))
    mapped = step.for_each is not None
    if mapped:
        # What limits and retries an attempt is said of its items.
        alone = {"for_each": None, "needs": None, "retry": None, "timeout": None, "expected_tokens": None}
        step = step.model_copy(update=alone)
    return PlainStep(
        step_id=names.get(step.step_id, step.step_id) if names else step.step_id,
        data=tuple([names.get(other, other) for other in dict.fromkeys(data)] if names else dict.fromkeys(data)),
        reads=step.reads,
        writes=step.writes,
        needs=tuple(step.needs.items()) if step.needs else (),
        group=step.parallel_group,
        priority=step.priority,
        expected_ns=None if step.expected_seconds is None else nanoseconds(step.expected_seconds),
        tokens=step.expected_tokens or 0,
        retry=describe_retry(step.retry),
        timeout_ns=None if step.timeout is None else nanoseconds(step.timeout),
        when=when,
        stops=step.on_failure == "stop" and parent is None,
        idempotent=step.idempotent is not False,
        parent=parent,
        call=call,
        mapped=mapped,
    )


def describe_item(step: Step, step_id: str) -> PlainStep:
    """One item of a mapped step in plain form."""
    alone = {"for_each": None, "when": None, "depends_on": (), "prompt": None, "args": None, "parallel_group": None}
    plain = describe_step(step.model_copy(update=alone), parent=step.step_id)
    needs = plain.needs if step.max_parallel is None else (*plain.needs, (max_parallel_resource(step.step_id), 1))
    return plain._replace(step_id=step_id, needs=needs, stops=step.on_failure == "stop")


def describe_resource(resource: Resource) -> PlainResource:
    """A resource in plain form; the token burst's default is one minute's worth."""
    burst: float | None = resource.token_burst
    if burst is None:
        burst = resource.tokens_per_minute
    devices: tuple[tuple[str, float | None], ...] = ()
    if resource.devices is not None:
        devices = tuple(zip(resource.devices.names, resource.devices.memories_gb, strict=True))
    return PlainResource(
        resource.capacity, resource.rate_per_minute, resource.burst, resource.tokens_per_minute, burst, devices
    )


def describe(
    workflow: Workflow,
    *,
    resources: Mapping[str, Resource] | None = None,
    workers: int = 1,
    policy: str = "dataflow",
    whens: Mapping[str, bool] | None = None,
) -> PlainGraph:
    """A workflow in plain form. ``whens`` are the results of the steps' conditions."""
    results = whens or {}
    limits = {name: describe_resource(resource) for name, resource in (resources or {}).items()}
    for step in workflow.steps:
        if step.max_parallel is not None:
            limits[max_parallel_resource(step.step_id)] = PlainResource(step.max_parallel)
    return PlainGraph(
        steps=tuple(describe_step(step, when=results.get(step.step_id)) for step in workflow.steps),
        resources=limits,
        workers=workers,
        policy=policy,
    )
