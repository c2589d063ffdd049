"""What a step does: the interface that every tool keeps.

Rules of this module:
- A tool knows its prompt, its arguments and its :class:`ToolContext`; it knows no engine, no scheduler, no graph.
- ``call`` (sync) or ``call_async`` or both; a backend takes the one that it can run best. Whichever a tool does not
  have stays None.
- A tool can be pickled: connections are opened on first use, and dropped by ``__getstate__``.
- An exception is a failed attempt. :class:`ToolError` says more: whether another attempt makes sense, and when.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from executor.workflow import Retry, ToolDeclaration


class ToolError(Exception):
    """A failed call. ``retryable`` is False where another attempt cannot help (a refused request);
    ``retry_after_seconds`` is the least wait that the other side asked for.
    """

    def __init__(self, message: str, *, retryable: bool = True, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.retry_after_seconds = retry_after_seconds

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_tool_error, (str(self), self.retryable, self.retry_after_seconds)


def _rebuild_tool_error(message: str, retryable: bool, retry_after_seconds: float | None) -> ToolError:
    return ToolError(message, retryable=retryable, retry_after_seconds=retry_after_seconds)


class ToolOptionsError(ValueError):
    """A tool declaration whose options are wrong. ``field`` names the option, ``fix`` says what to write."""

    def __init__(self, message: str, *, field: str | None = None, fix: str = "") -> None:
        super().__init__(message)
        self.field = field
        self.fix = fix


@dataclass(slots=True)
class RunContext:
    """What all steps of a run share. ``scale`` multiplies durations of synthetic and stand-in steps."""

    workflow_id: str = "workflow"
    inputs: Mapping[str, Any] = field(default_factory=dict)
    scale: float = 1.0
    seed: int = 0


class ToolContext:
    """What one call may know and say.

    ``attempt`` counts from 1; ``expected_seconds`` is unscaled; ``timeout_seconds`` is wall time from the start or
    None. A tool that used model tokens says so with :meth:`record_tokens`; one that owns something that can be
    stopped (a child process) registers a stop with :meth:`on_cancel`.
    """

    __slots__ = (
        "_stops", "attempt", "cancelled", "expected_seconds", "run", "step_id", "timeout_seconds", "tokens_used",
    )  # fmt: skip

    def __init__(
        self,
        run: RunContext,
        step_id: str,
        attempt: int = 1,
        expected_seconds: float | None = None,
        timeout_seconds: float | None = None,
    ) -> None:
        self.run = run
        self.step_id = step_id
        self.attempt = attempt
        self.expected_seconds = expected_seconds
        self.timeout_seconds = timeout_seconds
        self.tokens_used: int | None = None
        self.cancelled = False
        self._stops: list[Callable[[], None]] | None = None

    def record_tokens(self, tokens: int) -> None:
        """Say how many model tokens this call really used."""
        self.tokens_used = (self.tokens_used or 0) + tokens

    def on_cancel(self, stop: Callable[[], None]) -> None:
        """Register ``stop``, called once from another thread if this attempt is cancelled or times out."""
        if self._stops is None:
            self._stops = []
        self._stops.append(stop)
        if self.cancelled:
            stop()

    def cancel(self) -> None:
        """Called by the backend: mark the call as cancelled and stop what can be stopped."""
        self.cancelled = True
        for stop in self._stops or ():
            stop()


@dataclass(frozen=True, slots=True)
class Simulation:
    """What the virtual clock needs of a tool: a duration (already scaled) and an output."""

    duration_seconds: float
    output: Any = None


class Tool:
    """The base of all tools. Subclasses set ``kind`` and implement ``call`` or ``call_async`` or both."""

    kind: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    default_retry: ClassVar[Retry | None] = None
    # Work that a thread cannot do side by side (Python bytecode): reports use it to advise processes.
    cpu_bound: ClassVar[bool] = False

    call: Callable[[ToolContext, str | None, Mapping[str, Any]], Any] | None = None
    call_async: Callable[[ToolContext, str | None, Mapping[str, Any]], Awaitable[Any]] | None = None

    def __init__(self, name: str) -> None:
        self.name = name

    @classmethod
    def from_declaration(cls, name: str, declaration: ToolDeclaration) -> Tool:
        """Make the tool that a scenario or config.yaml declares.

        Raises:
            ToolOptionsError: an option is unknown or wrong.

        """
        raise NotImplementedError(f"{cls.__name__} cannot be declared")

    def simulate(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Simulation | None:
        """A duration and an output for the virtual clock, or None if the tool cannot say."""
        return None

    def close(self) -> None:
        """Release what the tool holds. Called once, after the run."""

    async def close_async(self) -> None:
        """The same for what belongs to an event loop."""
