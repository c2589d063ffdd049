"""What the engine asks of the backend that drives it, and what a backend may ask of the engine beside completions.

Rules of this module:
- Interfaces alone: the engine knows no backend by name, and a backend of another package needs nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from executor.model.workflow import Step
from executor.record.timeline import Attempt
from executor.scheduler import SchedulerError

# Something done under the engine's lock at an instant, before what starts at that instant.
Request: TypeAlias = Callable[[int], None]
Answer: TypeAlias = Callable[[list[str] | SchedulerError, bool], None]


class Driver(Protocol):
    """What an engine asks of the backend that drives it."""

    @property
    def clock(self) -> Callable[[], int]:
        """The backend's clock in nanoseconds; it never runs backwards."""

    @property
    def stops_at_once(self) -> bool:
        """A call that is asked to stop has stopped: nothing of it is left running at that instant."""

    @property
    def outputs_may_stay(self) -> bool:
        """Outputs may be :class:`.RemoteOutput`: they stay where they were made."""

    def cancel(self, attempt: Attempt) -> None:
        """Stop the call of an attempt if that is possible. Unless it :attr:`stops_at_once`, report its end as a
        completion when it has ended.
        """

    def assume_items(self, step: Step) -> int:
        """How many items a mapped step is taken to have where only a run could know: asked on the virtual clock."""

    def notify(self) -> None:
        """Wake the one who waits: the run is done, or something is due earlier than it was."""
