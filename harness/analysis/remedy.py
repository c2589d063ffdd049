"""Remedies: the largest cause of lost time in a plain sentence, with what to do about it.

Rules of this module:
- One sentence, in figures of this very run. Where nothing much was lost, the sentence says what limits the run.
- It promises no gain that was not computed.
- After a failed run it is about the failure; where a service refused calls as too many, about that.
- Where the critical path is as good as the whole makespan, waits beside it cost nothing: to shorten them gains nothing.
"""

from __future__ import annotations

from executor.record.timeline import Timeline
from harness.analysis.failures import failure_advice, overload_advice
from harness.analysis.lost_time import RUNNING
from harness.analysis.summary import Summary
from harness.plain_text import counted, duration_text

# Below this share of the makespan the largest cause of lost time is not worth acting on: running dominates.
WORTH_ACTING_RATIO = 0.1
# From this schedule efficiency on the lower bound is as good as reached: no other schedule of these steps would be
# noticeably shorter.
AT_THE_BOUND_RATIO = 0.95
# Waits that are no part of a critical path. Backoffs, order over state and slowdowns are: they make it longer, and the
# bound with it.
_BESIDE_THE_PATH = ("worker", "resource", "rate", "barrier")


def remedy(summary: Summary, timeline: Timeline) -> str:
    """What held the run back, and what to do."""
    about_failures = failure_advice(timeline, summary.failures) or overload_advice(summary.failures)
    return _time_sentence(summary, timeline) if about_failures is None else about_failures


def _time_sentence(summary: Summary, timeline: Timeline) -> str:
    cause = summary.largest_lost_cause
    if summary.makespan_seconds <= 0:
        return "nothing ran for any time: there is nothing to gain."
    lost = 0.0 if cause is None else summary.lost_seconds[cause]
    if cause is None or lost < WORTH_ACTING_RATIO * summary.makespan_seconds:
        return _critical_path_sentence(summary)
    kind, _, name = cause.partition(".")
    reached = (summary.schedule_efficiency_ratio or 0.0) >= AT_THE_BOUND_RATIO
    if reached and summary.binding_bound == "critical_path" and kind in _BESIDE_THE_PATH:
        return _critical_path_sentence(summary)
    amount = duration_text(lost)
    if kind == "resource":
        return _resource_sentence(amount, name, timeline)
    if kind == "rate":
        return _rate_sentence(amount, name, timeline)
    if kind == "lock":
        return (
            f"{amount} waiting for the state {name!r}: let fewer steps write it, write parts of it under names of "
            "their own, or make the steps that write it shorter."
        )
    if kind == "worker":
        return _worker_sentence(amount, summary, timeline)
    plain = _PLAIN.get(kind, f"waiting for {cause}.")
    if kind == "backoff" and summary.failures:
        plain = plain.replace(":", f", since {summary.failures[0]}:", 1)
    return f"{amount} {plain}"


_PLAIN = {
    "barrier": "waiting at a barrier for steps of the same batch: use policy dataflow.",
    "backoff": (
        "waiting before another attempt: find out why attempts fail, or ask for less in `retry.backoff_seconds`."
    ),
    "overhead": (
        "of overhead, between steps rather than in them: make steps larger, or use an executor that costs less a step "
        "(threads or asyncio rather than processes)."
    ),
    "arrival": "before the step arrived: the code that adds steps during the run has to add them sooner.",
    "resuming": "between the results of nested calls and going on with them: make fewer, larger nested calls.",
    "slowdown": (
        "because steps ran longer than in the serial run: what they share is slower for several at once; use fewer "
        "workers, or limit the steps that share it."
    ),
    "blocked": "blocked after the last nested call had ended: look at what the calling step waits for.",
}


def _critical_path_sentence(summary: Summary) -> str:
    whole = duration_text(summary.critical_path_seconds)
    longest = max(summary.critical_path, key=lambda part: part.seconds, default=None)
    ran = summary.lost_seconds.get(RUNNING, 0.0) / summary.makespan_seconds
    head = f"{ran:.0%} of the makespan is running"
    if longest is None or longest.seconds <= 0:
        return f"{head}: there is nothing to wait less for."
    return (
        f"{head}, and the critical path of {whole} is the limit: speed up step {longest.step_id!r} "
        f"({duration_text(longest.seconds)} of it), or split it into steps that may run side by side."
    )


def _resource_sentence(amount: str, name: str, timeline: Timeline) -> str:
    resource = timeline.resources.get(name)
    if resource is not None and resource.devices is not None:
        count = len(resource.devices.names)
        return (
            f"{amount} waiting for a device of {name}, of which there {'is' if count == 1 else 'are'} {count}: add "
            "one, or have the steps need a share of it, or less of its memory."
        )
    capacity = f", capacity {resource.capacity}" if resource is not None and resource.capacity is not None else ""
    return (
        f"{amount} waiting for {name}{capacity}: raise it if what it protects can take more, or make the steps that "
        f"need {name} fewer, shorter or less greedy."
    )


def _rate_sentence(amount: str, name: str, timeline: Timeline) -> str:
    resource = timeline.resources.get(name)
    limits = []
    if resource is not None and resource.rate_per_minute is not None:
        limits.append(f"rate_per_minute {resource.rate_per_minute:g}")
    if resource is not None and resource.tokens_per_minute is not None:
        limits.append(f"tokens_per_minute {resource.tokens_per_minute:g}")
    allowed = f", {' and '.join(limits)}" if limits else ""
    return f"{amount} waiting for the rate of {name}{allowed}: raise it, or make fewer or smaller calls."


def _worker_sentence(amount: str, summary: Summary, timeline: Timeline) -> str:
    workers = counted(timeline.workers, "worker")
    head = f"{amount} waiting for a free worker ({workers}):"
    if timeline.policy == "serial" or timeline.backend == "serial":
        return f"{head} serial runs one step at a time; use another executor or policy dataflow."
    peak = _most_waiting_for_a_worker(timeline)
    floor = max((value for term, value in summary.lower_bound_terms.items() if term != "work"), default=0.0)
    more = f"{counted(peak, 'more worker')} would have taken every waiting step at once"
    return f"{head} {more}; whatever their number, these steps need at least {duration_text(floor)}."


def _most_waiting_for_a_worker(timeline: Timeline) -> int:
    """How many attempts waited for a worker at one time, at most."""
    changes: list[tuple[int, int]] = []
    for attempt in timeline.attempts:
        for reason, start, end in attempt.waits:
            if reason == "worker" and end > start:
                changes += ((start, 1), (end, -1))
    changes.sort()
    most = waiting = 0
    for _, change in changes:
        waiting += change
        most = max(most, waiting)
    return most
