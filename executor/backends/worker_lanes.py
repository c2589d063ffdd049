"""What each thread of each worker ran, one thing after the other: since when it was free for a step. Pure."""

from __future__ import annotations

from collections.abc import Hashable

from executor.record.timeline import Attempt

# An answer that so many of the same lane have overtaken finds its place no more.
_KEPT = 256


class WorkerLanes:
    """Of one run. Times are nanoseconds since t = 0; a lane is whatever names a thread."""

    def __init__(self) -> None:
        self._lanes: dict[Hashable, list[Attempt]] = {}

    def free_since(self, lane: Hashable, started: int) -> int | None:
        """When what ran there before a step that began at ``started`` had ended; None: nothing did."""
        attempts = self._lanes.get(lane, [])
        place = _place(attempts, started)
        return attempts[place - 1].ended if place else None

    def add(self, lane: Hashable, attempt: Attempt) -> Attempt | None:
        """An attempt has ended there. Returns the one that came after it, if that one's answer came before."""
        attempts = self._lanes.setdefault(lane, [])
        place = _place(attempts, attempt.started or 0)
        behind = attempts[place] if place < len(attempts) else None
        attempts.insert(place, attempt)
        if len(attempts) > _KEPT:
            del attempts[0]
        return behind


def _place(attempts: list[Attempt], started: int) -> int:
    place = len(attempts)
    while place and (attempts[place - 1].started or 0) > started:
        place -= 1
    return place
