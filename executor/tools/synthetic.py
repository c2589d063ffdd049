"""Loads of a known size: ``noop``, ``sleep``, ``busy`` and ``flaky``, for benchmarks, examples and tests.

Rules of this module:
- Outputs never hold anything measured: they are the same on every backend.
- Durations are ``args.seconds`` (else the step's ``expected_seconds``) × the run's ``scale``.
- ``busy`` spins for its own thread's CPU time, so that waiting for the interpreter lock shows as a longer run.
- A cancelled call ends soon. A prompt is allowed and unused (it makes a step depend on another by rule 1), except by
  ``noop``, which returns it.
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from executor.model.durations import LONGEST_SECONDS
from executor.tools.options import check_names, no_options
from executor.tools.tool import Simulation, Tool, ToolContext, ToolError

if TYPE_CHECKING:
    from executor.model.workflow import Step, ToolDeclaration

# Sleeps below this are not worth an event that a cancellation could set.
_UNINTERRUPTED_SECONDS = 0.02
# How long the coroutine form of `busy` keeps its event loop before others get a turn.
_SLICE_SECONDS = 0.005
_SPINS_PER_LOOK = 200


class _Synthetic(Tool):
    """What all of them share: no options of their own."""

    argument_names: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def from_declaration(cls, name: str, declaration: ToolDeclaration) -> Tool:
        """Make the tool; see :meth:`Tool.from_declaration`."""
        no_options(name, declaration)
        return cls(name)


class NoopTool(_Synthetic):
    """Does nothing and returns its prompt."""

    kind = "noop"
    summary = "does nothing; returns its prompt"

    def call(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Any:
        """Return the prompt."""
        if args:
            check_names(self.name, args, ())
        return prompt

    async def call_async(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Any:
        """Return the prompt."""
        if args:
            check_names(self.name, args, ())
        return prompt

    def direct(self, prompt: str | None, args: Mapping[str, Any]) -> Callable[[], Any] | None:
        """The prompt, without a context; wrong arguments are left to :meth:`call`."""
        return None if args else lambda: prompt

    def direct_async(self, prompt: str | None, args: Mapping[str, Any]) -> Callable[[], Awaitable[Any]] | None:
        """The same without a thread."""

        async def given() -> Any:
            return prompt

        return None if args else given

    def simulate(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Simulation:
        """No time at all."""
        check_names(self.name, args, ())
        return Simulation(0.0, prompt)


class _WithNumbers(_Synthetic):
    """What takes arguments, all of them numbers."""

    def call_faults(self, prompt: str | None, args: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Arguments that the tool does not know, or that are no numbers."""
        yield from super().call_faults(prompt, args)
        for name in self.argument_names:
            value = args.get(name)
            if value is not None and not (isinstance(value, str) and "{" in value):
                try:
                    _number(self.name, name, value)
                except ToolError:
                    yield f"args.{name}", f"has an args.{name} that is no number of 0 or more", "write a number"


class _Lasting(_WithNumbers):
    """What takes a time that is stated."""

    argument_names = ("seconds",)

    def step_faults(self, step: Step) -> Iterator[tuple[str, str, str]]:
        """Also no time at all."""
        unknown = list(super().step_faults(step))
        yield from unknown
        if not unknown and step.expected_seconds is None and (step.args or {}).get("seconds") is None:
            yield "tool", f"does not say how long its tool {self.name!r} takes", "add `args: {seconds: …}`"


class SleepTool(_Lasting):
    """Waits, without using a processor."""

    kind = "sleep"
    summary = "waits for {seconds} × scale"

    def call(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Any:
        """Sleep."""
        seconds = _scaled_seconds(self.name, context, args, ("seconds",))
        _sleep(self.name, context, seconds)
        return {"slept_seconds": seconds}

    async def call_async(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Any:
        """Sleep without a thread."""
        seconds = _scaled_seconds(self.name, context, args, ("seconds",))
        await _sleep_async(seconds)
        return {"slept_seconds": seconds}

    def simulate(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Simulation:
        """Exactly the stated time."""
        seconds = _scaled_seconds(self.name, context, args, ("seconds",))
        return Simulation(seconds, {"slept_seconds": seconds})


class BusyTool(_Lasting):
    """Computes in Python, so that threads of one process get in each other's way."""

    kind = "busy"
    summary = "computes in Python for {seconds} × scale of CPU time"
    cpu_bound = True

    def call(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Any:
        """Spin until this thread has used the CPU time."""
        seconds = _scaled_seconds(self.name, context, args, ("seconds",))
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            _stop_if_cancelled(self.name, context)
            _spin()
        return {"busy_seconds": seconds}

    async def call_async(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Any:
        """Spin in the event loop's thread, in slices; only the own slices count."""
        seconds = left_seconds = _scaled_seconds(self.name, context, args, ("seconds",))
        while left_seconds > 0:
            _stop_if_cancelled(self.name, context)
            begin = now = time.thread_time()
            end = begin + min(left_seconds, _SLICE_SECONDS)
            while now < end:
                _spin()
                now = time.thread_time()
            left_seconds -= now - begin
            await _sleep_async(0)
        return {"busy_seconds": seconds}

    def simulate(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Simulation:
        """The stated time, as if each step had a processor."""
        seconds = _scaled_seconds(self.name, context, args, ("seconds",))
        return Simulation(seconds, {"busy_seconds": seconds})


class FlakyTool(_WithNumbers):
    """Fails on purpose: on the first ``fail_times`` attempts, or with probability ``fail_ratio``, drawn from the run's
    seed, the step's id and the attempt. ``seconds`` is how long an attempt takes (default 0).
    """

    kind = "flaky"
    summary = "fails {fail_times} times, or with probability {fail_ratio}, after {seconds} × scale"
    argument_names = ("fail_times", "fail_ratio", "seconds")

    def call_faults(self, prompt: str | None, args: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Also no word of when it fails, or two."""
        unknown = list(super().call_faults(prompt, args))
        yield from unknown
        if not unknown and ("fail_times" in args) == ("fail_ratio" in args):
            yield "tool", f"does not say when its tool {self.name!r} fails", "give args.fail_times or args.fail_ratio"

    def call(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Any:
        """Wait, then fail or succeed."""
        seconds, failure = self._fate(context, args)
        _sleep(self.name, context, seconds)
        if failure is not None:
            raise failure
        return {"succeeded_on_attempt": context.attempt}

    async def call_async(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Any:
        """Wait, then fail or succeed."""
        seconds, failure = self._fate(context, args)
        if seconds:
            await _sleep_async(seconds)
        if failure is not None:
            raise failure
        return {"succeeded_on_attempt": context.attempt}

    def simulate(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Simulation:
        """The stated time, and the same fate as in a real run."""
        seconds, failure = self._fate(context, args)
        return Simulation(seconds, None if failure else {"succeeded_on_attempt": context.attempt}, failure)

    def _fate(self, context: ToolContext, args: Mapping[str, Any]) -> tuple[float, ToolError | None]:
        seconds = _scaled_seconds(self.name, context, args, self.argument_names, default=0.0)
        if ("fail_times" in args) == ("fail_ratio" in args):
            raise ToolError(f"tool {self.name!r}: give either args.fail_times or args.fail_ratio", retryable=False)
        if "fail_times" in args:
            times = _number(self.name, "fail_times", args["fail_times"])
            fails = context.attempt <= times
            why = f"attempt {context.attempt}, and the first {times:g} fail"
        else:
            ratio = _number(self.name, "fail_ratio", args["fail_ratio"])
            if ratio > 1:
                raise ToolError(f"tool {self.name!r}: args.fail_ratio must be between 0 and 1", retryable=False)
            fails = _draw(context.run.seed, context.step_id, context.attempt) < ratio
            why = f"attempt {context.attempt}, drawn with probability {ratio:g}"
        return seconds, ToolError(f"failed on purpose ({why})") if fails else None


def _draw(seed: int, step_id: str, attempt: int) -> float:
    """A number in [0, 1) that depends on its arguments alone, in any process."""
    digest = hashlib.blake2b(f"{seed}\x00{step_id}\x00{attempt}".encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big") / (1 << 56)


def _number(name: str, arg: str, value: Any) -> float:
    """A finite number ≥ 0; a string is read as one, since a rendered template is a string."""
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
        if math.isfinite(number) and number >= 0:
            return number
    raise ToolError(f"tool {name!r}: args.{arg} must be a number of 0 or more", retryable=False)


def _scaled_seconds(
    name: str, context: ToolContext, args: Mapping[str, Any], known: tuple[str, ...], default: float | None = None
) -> float:
    check_names(name, args, known)
    seconds = args.get("seconds")
    if seconds is None:
        seconds = context.expected_seconds if context.expected_seconds is not None else default
    if seconds is None:
        raise ToolError(f"tool {name!r}: say how long: args.seconds, or the step's expected_seconds", retryable=False)
    scaled = _number(name, "seconds", seconds) * context.run.scale
    if scaled > LONGEST_SECONDS:
        raise ToolError(
            f"tool {name!r}: args.seconds times the scale is more than {LONGEST_SECONDS:g} seconds", retryable=False
        )
    return scaled


async def _sleep_async(seconds: float) -> None:
    import asyncio  # noqa: PLC0415  # who runs no coroutine does not pay for its import

    await asyncio.sleep(seconds)


def _sleep(name: str, context: ToolContext, seconds: float) -> None:
    if seconds < _UNINTERRUPTED_SECONDS:
        if seconds > 0:
            time.sleep(seconds)
        return
    cancelled = threading.Event()
    context.on_cancel(cancelled.set)
    if cancelled.wait(min(seconds, threading.TIMEOUT_MAX)):
        _stop_if_cancelled(name, context)


def _spin() -> None:
    for _ in range(_SPINS_PER_LOOK):
        pass


def _stop_if_cancelled(name: str, context: ToolContext) -> None:
    if context.cancelled:
        raise ToolError(f"tool {name!r}: cancelled", retryable=False)
