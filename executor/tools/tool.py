"""What a step does: the interface that every tool keeps.

Rules of this module:
- A tool knows its prompt, its arguments and its :class:`ToolContext`; it knows no engine, no scheduler, no graph.
- ``call`` (sync) or ``call_async`` or both; a backend takes the one that it can run best. Whichever a tool does not
  have stays None.
- A tool can be pickled: connections are opened on first use, and dropped by ``__getstate__``.
- An exception is a failed attempt. :class:`ToolError` says more: whether another attempt makes sense, and when.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from executor.model.device_needs import HeldDevices
from executor.model.findings import did_you_mean
from executor.record.outcomes import ToolError, ToolTimeoutError
from executor.tools.source_code import class_code

if TYPE_CHECKING:
    from executor.model.workflow import Retry, Step, ToolDeclaration


class ToolOptionsError(ValueError):
    """A tool declaration whose options are wrong. ``field`` names the option, ``fix`` says what to write."""

    def __init__(self, message: str, *, field: str | None = None, fix: str = "") -> None:
        super().__init__(message)
        self.field = field
        self.fix = fix

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_options_error, (str(self), self.field, self.fix)


def _rebuild_options_error(message: str, field: str | None, fix: str) -> ToolOptionsError:
    return ToolOptionsError(message, field=field, fix=fix)


@dataclass(slots=True)
class RunContext:
    """What all steps of a run share. ``scale`` multiplies durations of synthetic and stand-in steps. ``trace`` is what
    worker processes need to continue the run's trace. ``capture_content``: tools may record prompts and answers.
    """

    workflow_id: str = "workflow"
    inputs: Mapping[str, Any] = field(default_factory=dict)
    scale: float = 1.0
    seed: int = 0
    trace: Mapping[str, str] | None = None
    capture_content: bool = False


class ToolContext:
    """What one call may know and say.

    ``attempt`` counts from 1; ``expected_seconds`` is unscaled; ``timeout_seconds`` is wall time from the start or
    None; ``devices`` are the ids of the devices that the attempt has, by kind, or None. A tool that used model tokens
    says so with :meth:`record_tokens`; one that owns something that can be stopped (a child process) registers a stop
    with :meth:`on_cancel`. ``facts`` are what a tool wants noted beside the attempt (``gen_ai.request.model``):
    names are span attributes, values are strings, numbers or lists of strings.
    """

    __slots__ = (
        "_stops", "attempt", "cancelled", "devices", "expected_seconds", "facts", "run", "step_id", "timeout_seconds",
        "tokens_used",
    )  # fmt: skip

    def __init__(
        self,
        run: RunContext,
        step_id: str,
        attempt: int = 1,
        expected_seconds: float | None = None,
        timeout_seconds: float | None = None,
        devices: HeldDevices | None = None,
    ) -> None:
        self.run = run
        self.step_id = step_id
        self.attempt = attempt
        self.expected_seconds = expected_seconds
        self.timeout_seconds = timeout_seconds
        self.devices = devices
        self.tokens_used: int | None = None
        self.facts: dict[str, Any] | None = None
        self.cancelled = False
        self._stops: list[Callable[[], None]] | None = None

    def record_tokens(self, tokens: int) -> None:
        """Say how many model tokens this call really used."""
        self.tokens_used = (self.tokens_used or 0) + tokens

    def record(self, name: str, value: Any) -> None:
        """Keep a fact about this call for the trace of the run."""
        if self.facts is None:
            self.facts = {}
        self.facts[name] = value

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
    """What the virtual clock needs of a tool: a duration (already scaled), and an output or the ``error`` that the
    attempt would fail with. ``made_up``: the output is only something to show; no template reads it.
    """

    duration_seconds: float
    output: Any = None
    error: ToolError | None = None
    made_up: bool = False


class Tool:
    """The base of all tools. Subclasses set ``kind`` and implement ``call`` or ``call_async`` or both."""

    kind: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    default_retry: ClassVar[Retry | None] = None
    # Work that a thread cannot do side by side (Python bytecode): reports use it to advise processes.
    # A class states it for all its tools, a declaration for one.
    cpu_bound: bool = False
    # Its code may call the other tools of the run: those that are declared are made ready before the run begins.
    may_call: ClassVar[bool] = False
    # What a step's `args` may hold; None: anything.
    argument_names: ClassVar[tuple[str, ...] | None] = None
    # Of a tool that code made in place of a declared one: what was declared. Its limits, retries and timeout hold for
    # calls, too.
    declaration: ToolDeclaration | None = None

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

    def prepare(self) -> None:
        """Do once, before the run's clock starts, what would otherwise burden the first call (imports, certificates).

        Called in each process that will call the tool; a tool works without it.
        """

    def call_faults(self, prompt: str | None, args: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """What is wrong with the call of a step, as far as its fields show before they are rendered: ``(field, message,
        fix)``. Each would fail the step.
        """
        known = self.argument_names
        if known is None:
            return
        for name in args:
            if name not in known:
                fix = did_you_mean(str(name), known, _known_words(known))
                yield f"args.{name}", f"has the argument {name!r}, which its tool {self.name!r} does not know", fix

    def step_faults(self, step: Step) -> Iterator[tuple[str, str, str]]:
        """The same of a step, for a tool that looks at more of it than its call."""
        return self.call_faults(step.prompt, step.args or {})

    def direct(self, prompt: str | None, args: Mapping[str, Any]) -> Callable[[], Any] | None:
        """The call without a context, for tools that need none (a coroutine function where there is only
        ``call_async``); None: the tool wants its context, whatever the values of these arguments. Backends save a
        third of a short step with it.
        """
        return None

    def direct_async(self, prompt: str | None, args: Mapping[str, Any]) -> Callable[[], Awaitable[Any]] | None:
        """The same as a coroutine function: what :meth:`direct` gives where there is only ``call_async``."""
        return self.direct(prompt, args) if self.call is None else None

    def simulate(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Simulation | None:
        """A duration and an output for the virtual clock, or None if the tool cannot say."""
        return None

    def declared_words(self) -> Any:
        """What of its declaration shapes its outputs, as JSON values: an earlier result is used only where this is the
        same. By default all ``options``.
        """
        from pydantic import BaseModel  # noqa: PLC0415  # a worker process that starts needs no models

        options = getattr(self, "options", None)
        return options.model_dump(mode="json") if isinstance(options, BaseModel) else None

    def code_words(self) -> Any:
        """The same of its code."""
        return class_code(type(self))

    def files_read(self, args: Mapping[str, Any]) -> Any:
        """What is in the files that the arguments name, where that shapes the output; None: they name none."""
        return None

    def close(self) -> None:
        """Release what the tool holds. Called once, after the run."""

    async def close_async(self) -> None:
        """The same for what belongs to an event loop."""


def _known_words(known: Sequence[str]) -> str:
    return f"it knows: {', '.join(known)}" if known else "it takes none: leave `args` away"


def run_call(
    tool: Tool,
    context: ToolContext,
    prompt: str | None,
    args: Mapping[str, Any],
    run_async: Callable[[Awaitable[Any]], Any],
) -> Any:
    """Run a call to its end in this thread; a tool that is only async runs through ``run_async``.

    Raises:
        Exception: whatever the tool raises.
    """
    if tool.call is not None:
        return tool.call(context, prompt, args)
    if tool.call_async is not None:
        return run_async(tool.call_async(context, prompt, args))
    raise ToolError(f"tool {tool.name!r} implements neither call nor call_async", retryable=False)


__all__ = [
    "RunContext", "Simulation", "Tool", "ToolContext", "ToolError", "ToolOptionsError", "ToolTimeoutError", "run_call",
]  # fmt: skip
