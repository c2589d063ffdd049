"""What code inside a step may call, whichever way its calls take: in the engine's process, or a node's channel.

This is what ``node_runtime`` shows. Standard library alone, and little of it: in a node it is imported beside the
node's own code, in a process that knows nothing of the executor.

Rules of this module:
- Calls and outcomes are plain tuples; a :data:`transport` carries them, set once by the backend.
- What is asked for is checked before anything is sent: errors name the call by its place.
- Results come in the order of the calls. A call that fails is a :class:`CallError` that names it and keeps the rest.
"""

from __future__ import annotations

from _collections_abc import Iterable, Mapping, Sequence  # `collections` itself would cost a node's start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    # (tool, prompt) or (tool, prompt, arguments)
    Asked: TypeAlias = tuple[str, str | None] | tuple[str, str | None, Mapping[str, Any]] | Sequence[Any]
    Made: TypeAlias = tuple[str, str | None, Mapping[str, Any]]
    # step_id, output, and where the call failed: error type, message, traceback, retryable
    Ended: TypeAlias = tuple[str | None, Any, tuple[str, str, str, bool] | None]


PUBLIC = (
    "CallError", "StepOverError", "call_llm", "call_llm_async", "call_tool", "call_tool_async", "call_tool_resilient",
    "call_tool_resilient_async", "call_tools_parallel", "call_tools_parallel_async", "step_devices",
)  # fmt: skip


class CallError(Exception):
    """A call failed. ``tool`` and ``step_id`` say which (``step_id`` is None if it never became a step),
    ``error_type`` and ``reason`` why. ``results`` are those of all calls made with it, in order: outputs, and a
    :class:`CallError` for each that failed.
    """

    def __init__(
        self,
        message: str,
        *,
        tool: str = "",
        step_id: str | None = None,
        error_type: str = "",
        reason: str = "",
        retryable: bool = True,
        results: Sequence[Any] = (),
    ) -> None:
        super().__init__(message)
        self.tool = tool
        self.step_id = step_id
        self.error_type = error_type
        self.reason = reason
        self.retryable = retryable
        self.results = list(results)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (str(self), {name: value for name, value in vars(self).items() if name != "__notes__"})


def _rebuild(message: str, fields: Mapping[str, Any]) -> CallError:
    return CallError(message, **fields)


class StepOverError(BaseException):
    """The step whose code waits here was cancelled, timed out or has ended: its calls are no longer wanted.

    No :class:`Exception`, so that code that carries on after errors ends all the same.
    """


class Transport:
    """Carries calls to their maker, and their outcomes back; None: the step is over."""

    def call(self, calls: list[Made], at_once: int | None) -> list[Ended] | None:
        """Wait for the outcomes."""
        raise NotImplementedError

    async def call_async(self, calls: list[Made], at_once: int | None) -> list[Ended] | None:
        """The same for coroutines."""
        raise NotImplementedError


transport = Transport()


def step_devices() -> dict[str, tuple[str, ...]]:
    """The devices that the step has whose code asks: by kind, their ids. Empty where it needed none."""
    return find_devices()


def devices_of_environment() -> dict[str, tuple[str, ...]]:
    """What the environment of a process says that runs one step."""
    from os import environ  # noqa: PLC0415  # few nodes ask

    listed = [item.partition("=") for item in environ.get("MAKESPAN_DEVICES", "").split(";") if item]
    return {kind: tuple(ids.split(",")) for kind, _, ids in listed}


# Whoever knows the step better sets it.
find_devices = devices_of_environment


def call_tool(name: str, prompt: str | None = None, /, **kwargs: Any) -> Any:
    """Call a tool of the run and wait for its output. ``kwargs`` are its arguments.

    Raises:
        CallError: it failed.
    """
    return _single(name, _made(_checked([(name, prompt, kwargs)]), None))


def call_llm(prompt: str, /, *, tool: str = "llm", **kwargs: Any) -> Any:
    """:func:`call_tool` for a language model: ``tool`` names a declared tool, else it is the kind ``llm``.

    Raises:
        CallError: it failed.
    """
    return call_tool(tool, prompt, **kwargs)


def call_tools_parallel(
    calls: Iterable[Asked], max_workers: int | None = None, return_exceptions: bool = False
) -> list[Any]:
    """Call several tools, ``(name, prompt)`` or ``(name, prompt, arguments)`` each, and wait for all of them.

    ``max_workers`` limits how many of them are under way at once. With ``return_exceptions`` a failed call's place
    holds its :class:`CallError`.

    Raises:
        CallError: one failed, reported when all are over; ``results`` holds what the others gave.
        TypeError, ValueError: the calls are not what is asked for.
    """
    asked = _checked(calls)
    return _results(asked, _made(asked, _checked_limit(max_workers)), return_exceptions=return_exceptions)


def call_tool_resilient(names: Iterable[str], prompt: str | None = None, /, **kwargs: Any) -> Any:
    """Call the first of several tools; if it fails the next, and so on. The first output that comes.

    Raises:
        CallError: all of them failed; ``results`` holds their errors.
        ValueError: there are no names.
    """
    failed: list[CallError] = []
    for name in _checked_names(names):
        try:
            return call_tool(name, prompt, **kwargs)
        except CallError as error:
            failed.append(error)
    raise _all_failed(failed)


async def call_tool_async(name: str, prompt: str | None = None, /, **kwargs: Any) -> Any:
    """:func:`call_tool` for coroutines."""
    return _single(name, await _made_async(_checked([(name, prompt, kwargs)]), None))


async def call_llm_async(prompt: str, /, *, tool: str = "llm", **kwargs: Any) -> Any:
    """:func:`call_llm` for coroutines."""
    return await call_tool_async(tool, prompt, **kwargs)


async def call_tools_parallel_async(
    calls: Iterable[Asked], max_workers: int | None = None, return_exceptions: bool = False
) -> list[Any]:
    """:func:`call_tools_parallel` for coroutines."""
    asked = _checked(calls)
    return _results(asked, await _made_async(asked, _checked_limit(max_workers)), return_exceptions=return_exceptions)


async def call_tool_resilient_async(names: Iterable[str], prompt: str | None = None, /, **kwargs: Any) -> Any:
    """:func:`call_tool_resilient` for coroutines."""
    failed: list[CallError] = []
    for name in _checked_names(names):
        try:
            return await call_tool_async(name, prompt, **kwargs)
        except CallError as error:
            failed.append(error)
    raise _all_failed(failed)


# ---------------------------------------------------------------------- what is asked for


def _checked(calls: Iterable[Asked]) -> list[Made]:
    if isinstance(calls, str | bytes | Mapping):
        raise TypeError(f"calls is a {type(calls).__name__}: give a list of (tool, prompt, arguments)")
    return [_checked_call(place, call) for place, call in enumerate(calls)]


def _checked_call(place: int, call: Any) -> Made:
    if isinstance(call, str | bytes) or not isinstance(call, Sequence) or not 2 <= len(call) <= 3:
        raise TypeError(f"calls[{place}] is {_short(call)}: write (tool, prompt) or (tool, prompt, arguments)")
    tool, prompt, args = (*call, None) if len(call) == 2 else call
    if not isinstance(tool, str) or not tool:
        raise TypeError(f"calls[{place}]: the tool is {_short(tool)}, where its name belongs")
    if prompt is not None and not isinstance(prompt, str):
        raise TypeError(f"calls[{place}]: the prompt is {_short(prompt)}, where a text or None belongs")
    if args is None:
        return (tool, prompt, {})
    if not isinstance(args, Mapping) or not all(isinstance(name, str) for name in args):
        raise TypeError(f"calls[{place}]: the arguments are {_short(args)}, where a dict of names and values belongs")
    return (tool, prompt, args)


def _checked_limit(max_workers: int | None) -> int | None:
    if max_workers is None:
        return None
    if type(max_workers) is not int or max_workers < 1:
        raise ValueError(f"max_workers is {_short(max_workers)}: give a whole number from 1 on, or None for no limit")
    return max_workers


def _checked_names(names: Iterable[str]) -> list[str]:
    found = [names] if isinstance(names, str) else list(names)
    if not found:
        raise ValueError("call_tool_resilient needs at least one tool to call")
    return found


def _short(value: Any) -> str:
    text = repr(value)
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}, {text if len(text) <= 60 else text[:57] + '…'}"


def _made(calls: list[Made], at_once: int | None) -> list[Ended]:
    return _told(transport.call(calls, at_once)) if calls else []


async def _made_async(calls: list[Made], at_once: int | None) -> list[Ended]:
    return _told(await transport.call_async(calls, at_once)) if calls else []


# ---------------------------------------------------------------------- what comes back


def _told(ended: list[Ended] | None) -> list[Ended]:
    if ended is None:
        raise StepOverError("the step was cancelled, timed out or has ended: its calls are cancelled")
    return ended


def _single(name: str, ended: list[Ended]) -> Any:
    ((step_id, output, failure),) = ended
    if failure is None:
        return output
    error = _error(f"the call of tool {name!r}", name, step_id, failure)
    error.results = [error]
    raise error


def _error(which: str, tool: str, step_id: str | None, failure: tuple[str, str, str, bool]) -> CallError:
    error_type, message, traceback, retryable = failure
    step = "" if step_id is None else f" (step {step_id!r})"
    error = CallError(
        f"{which}{step} failed: {_innermost(error_type, message)}",
        tool=tool,
        step_id=step_id,
        error_type=error_type,
        reason=message,
        retryable=retryable,
    )
    if traceback:
        error.add_note(f"where it happened:\n{traceback.rstrip()}")
    return error


def _innermost(error_type: str, message: str) -> str:
    """Of a call whose own call failed, the innermost message: those between say nothing more."""
    start = message.rfind("the call of tool ")
    if start < 0 or " failed: " not in message[start:]:
        return f"{error_type}: {message}"
    return message[start:]


def _results(calls: list[Made], ended: list[Ended], *, return_exceptions: bool) -> list[Any]:
    count = len(calls)
    failed: list[CallError] = []
    results: list[Any] = []
    for place, ((tool, _, _), (step_id, output, failure)) in enumerate(zip(calls, ended, strict=True), start=1):
        if failure is None:
            results.append(output)
            continue
        failed.append(_error(f"the call of tool {tool!r}, {place} of {count},", tool, step_id, failure))
        results.append(failed[-1])
    if not failed or return_exceptions:
        return results
    first = failed[0]
    others = f" ({len(failed)} of {count} calls failed)" if len(failed) > 1 else ""
    raise CallError(
        f"{first}{others}",
        tool=first.tool,
        step_id=first.step_id,
        error_type=first.error_type,
        reason=first.reason,
        retryable=any(one.retryable for one in failed),
        results=results,
    ) from first


def _all_failed(failed: list[CallError]) -> CallError:
    last = failed[-1]
    return CallError(
        f"all of {len(failed)} tools failed: " + "; ".join(map(str, failed)),
        tool=last.tool,
        step_id=last.step_id,
        error_type=last.error_type,
        reason=last.reason,
        retryable=any(one.retryable for one in failed),
        results=failed,
    )
