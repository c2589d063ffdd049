"""Whether a record that came from a file can be one: the analyses rely on what every record of ours has.

Rules of this module:
- No recursion, O(steps + edges).
- It is not asked whether the run was a good one: only whether it can be reckoned with.
"""

from __future__ import annotations

from executor.record.timeline import Attempt, Timeline


def check_record(timeline: Timeline) -> None:
    """See that times are in order and that nothing waits for itself.

    Raises:
        ValueError: it is no record; the message says why.

    """
    for attempt in timeline.attempts:
        if not _in_order(attempt):
            raise ValueError(f"the times of step {attempt.step_id!r} are not in order")
    numbers = [(one.index, one.attempt) for one in timeline.attempts]
    if len(set(numbers)) < len(numbers):
        raise ValueError("two attempts of a step have the same number")
    stuck = _waits_for_itself(timeline)
    if stuck is not None:
        raise ValueError(f"step {timeline.step_ids[stuck]!r} waits for itself")


def _in_order(attempt: Attempt) -> bool:
    times = [
        time
        for time in (0, attempt.ready, attempt.granted, attempt.started, attempt.ended, attempt.known)
        if time is not None
    ]
    return times == sorted(times) and times[-1] < 1 << 62


def _waits_for_itself(timeline: Timeline) -> int | None:
    """A step on a cycle of edges and calls. A step begins after what it needs and after its caller has begun, and is
    over after its calls are: step i begins at node 2·i and is over at node 2·i + 1.
    """
    steps = len(timeline.step_ids)
    waiting_for = [0, 1] * steps
    following: list[list[int]] = [[] for _ in range(2 * steps)]
    for parents in (timeline.data_parents, timeline.order_parents):
        for step, its_parents in enumerate(parents):
            for parent in its_parents:
                following[2 * parent + 1].append(2 * step)
                waiting_for[2 * step] += 1
    for step, caller in enumerate(timeline.nested_in):
        following[2 * step].append(2 * step + 1)
        if caller >= 0:
            following[2 * caller].append(2 * step)
            following[2 * step + 1].append(2 * caller + 1)
            waiting_for[2 * step] += 1
            waiting_for[2 * caller + 1] += 1
    queue = [node for node, count in enumerate(waiting_for) if not count]
    for node in queue:
        for other in following[node]:
            waiting_for[other] -= 1
            if not waiting_for[other]:
                queue.append(other)
    if len(queue) == 2 * steps:
        return None
    return next(node for node, count in enumerate(waiting_for) if count) // 2
