"""Which steps are so short that several are sent to a worker at once.

Rules of this module:
- Per tool, and only once its recent steps were all shorter than 200 µs; one longer step, and the tool starts again.
- Never a step with a lock or ``idempotent: false``, nor one with a timeout or a limit, unless the backend says that it
  takes care of these; none at all in a graph with
  ``on_failure: stop``, where a step that waits at a worker might run after the one that stops everything.
"""

from __future__ import annotations

from collections.abc import Sequence

from executor.model.workflow import Step

SHORT_NANOSECONDS = 200_000
# What it takes to wake a process, and to read a request and write a result.
_WAKING_NANOSECONDS = 50_000
_SERVING_NANOSECONDS = 8_000
_RECENT = 4
_WORTH_NANOSECONDS = 1_000_000
_LEAST, _MOST = 4, 16


class ShortSteps:
    """What recent steps of each tool took. ``limits_and_timeouts``: steps that have them may wait, too."""

    def __init__(self, steps: Sequence[Step], *, limits_and_timeouts: bool = False) -> None:
        self._steps = steps
        self._limits_and_timeouts = limits_and_timeouts
        self._allowed = not any(step.on_failure == "stop" for step in steps)
        # By tool: how many of the last steps in a row were short; the mean duration of those.
        self._in_a_row: dict[str, int] = {}
        self._mean: dict[str, float] = {}
        self._excluded: set[int] = set()

    def note(self, index: int, nanoseconds: int) -> None:
        """A step of this tool took so long."""
        tool = self._steps[index].tool or ""
        if nanoseconds >= SHORT_NANOSECONDS:
            self._in_a_row[tool] = 0
            return
        self._in_a_row[tool] = self._in_a_row.get(tool, 0) + 1
        mean = self._mean.get(tool)
        self._mean[tool] = nanoseconds if mean is None else mean + (nanoseconds - mean) / 16

    def mean_nanoseconds(self, index: int) -> float:
        """What recent steps of its tool took."""
        return self._mean.get(self._steps[index].tool or "", SHORT_NANOSECONDS)

    def exclude(self, index: int) -> None:
        """Never hand out this step."""
        self._excluded.add(index)

    def fits(self, index: int) -> bool:
        """Whether the step may be handed out ahead, or be the one behind which others wait."""
        return self._in_a_row.get(self._steps[index].tool or "", 0) >= _RECENT and self.may_wait(index)

    def may_wait(self, index: int) -> bool:
        """Whether the step may wait at a worker at all, however long it takes."""
        step = self._steps[index]
        return (
            self._allowed
            and index not in self._excluded
            and step.idempotent is not False
            and not (step.reads or step.writes)
            and step.on_failure != "stop"
            and (self._limits_and_timeouts or (step.timeout is None and not step.needs))
        )

    def joins(self, index: int, waiting: int) -> bool:
        """Whether a worker that is to run ``waiting`` steps like this one is done with them before another wakes up."""
        return waiting * (self.mean_nanoseconds(index) + _SERVING_NANOSECONDS) < _WAKING_NANOSECONDS

    def depth(self, index: int) -> int:
        """How many steps may wait behind this one."""
        return max(_LEAST, min(_MOST, int(_WORTH_NANOSECONDS / max(self.mean_nanoseconds(index), 1.0))))
