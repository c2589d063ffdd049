"""Functions whose calls are steps, and the promises that they give. See :mod:`executor.front_end`.

Rules of this module:
- A promise is no value: code that asks it for one (``if``, ``for``, an f-string) gets an error that says what to do.
- Arguments are checked and copied when a call is made: what is wrong is reported where it was written.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, NoReturn, ParamSpec, TypeVar, overload

from executor.child_steps.step_context import current_step
from executor.model.json_values import json_faults
from executor.model.workflow import Retry, Step

P = ParamSpec("P")
R = TypeVar("R")

_numbers = itertools.count()


class StepResult:
    """The output that a step will have. Give it to other steps, and in the end to ``run``; ``result["key"]`` and
    ``result[0]`` are promises of a part of it (``path``).
    """

    __slots__ = ("call", "path")

    def __init__(self, call: Call, path: tuple[str | int, ...] = ()) -> None:
        self.call = call
        self.path = path

    def __getitem__(self, key: str | int) -> StepResult:
        if isinstance(key, bool) or not isinstance(key, str | int):
            raise TypeError(f"a part of {self!r} is named by a text or a number, not by a {type(key).__name__}")
        return StepResult(self.call, (*self.path, key))

    def __repr__(self) -> str:
        way = "".join(f"[{part!r}]" for part in self.path)
        return f"<the result of step {self.call.function.name!r}{way}>"

    def __bool__(self) -> NoReturn:  # noqa: PLE0304  # that is what it is for: it raises
        self._refuse("whether it is true", "ask inside of a step, or inspect the outputs after run(…)")

    def __iter__(self) -> NoReturn:
        self._refuse("for its items", "give it whole to a step that goes through them, or take result[0], result[1], …")

    def __len__(self) -> NoReturn:  # noqa: PLE0303  # the same
        self._refuse("for its length", "ask inside of a step")

    def __contains__(self, _item: object) -> NoReturn:
        self._refuse("for what it holds", "ask inside of a step")

    def __str__(self) -> str:  # noqa: PLE0307  # the same
        self._refuse("for its text", "give it to a step as an argument, and put the text together there")

    def __format__(self, _specification: str) -> str:
        return str(self)

    def __lt__(self, _other: object) -> NoReturn:
        self._refuse("for its order", "compare inside of a step")

    __le__ = __gt__ = __ge__ = __lt__

    def __await__(self) -> Iterator[Any]:
        self._refuse("for its value", "await arun(result), and take its outputs")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(
            f"{self!r} is a promise: it has no {name!r} yet; use it inside of a step, or take a part of a mapping as "
            f"result[{name!r}]"
        )

    def _refuse(self, asked: str, instead: str) -> NoReturn:
        raise TypeError(f"{self!r} is a promise and cannot be asked {asked} before it has run: {instead}")


class Call:
    """One call: the function and its arguments by name. ``number`` counts calls, so that steps are in order."""

    __slots__ = ("arguments", "function", "number")

    def __init__(self, function: StepFunction[..., Any], arguments: dict[str, Any]) -> None:
        self.function = function
        self.arguments = arguments
        self.number = next(_numbers)


class StepFunction(Generic[P, R]):
    """A function whose calls are steps. ``function`` is the function itself; ``name`` its step's id."""

    __name__: str

    def __init__(self, function: Callable[P, R], name: str, options: Mapping[str, Any], *, pure: bool) -> None:
        self.function = function
        self.name = name
        self.pure = pure
        self.options = dict(options)
        self._signature = inspect.signature(function)
        # What a wrong option says is said where it was written.
        Step.model_validate({"step_id": name, "tool": name, **self.options})
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """A promise of the output; inside of a running step, the output.

        Raises:
            TypeError: the arguments do not fit the function, or one of them is neither a promise nor JSON.

        """
        if current_step() is not None:
            return self.function(*args, **kwargs)
        bound = self._signature.bind(*args, **kwargs)
        arguments: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            if self._signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                arguments.update(value)
            else:
                arguments[name] = value
        return StepResult(Call(self, {name: self._checked(name, value) for name, value in arguments.items()}))

    def __get__(self, instance: object, owner: type | None = None) -> StepFunction[P, R]:
        if instance is not None:
            raise TypeError(f"{self.name!r} is a method: mark a plain function with @step, and give it what it needs")
        return self

    def __repr__(self) -> str:
        return f"<step function {self.name!r}>"

    @property
    def tool(self) -> Callable[..., Any]:
        """What the steps of this function call, with its arguments by name."""
        kind = _PlainAsync if inspect.iscoroutinefunction(self.function) else _Plain
        return kind(self)

    def _checked(self, name: str, value: Any) -> Any:
        """The argument as it was at the time of the call: lists and mappings are copied."""
        try:
            copied, stand_ins = _copied(value)
        except RecursionError:
            raise TypeError(
                f"{self.name}(): the argument {name} holds itself, or is nested too deeply; give a step JSON values"
            ) from None
        faults = json_faults(stand_ins)
        if faults:
            path, wrong = faults[0]
            place = name + "".join(f"[{part!r}]" for part in path)
            raise TypeError(
                f"{self.name}(): the argument {place} {wrong}; give a step JSON values and results of other steps, and "
                "make everything else inside of a step"
            )
        return copied


class _Plain:
    """The function of a :class:`StepFunction`, called with its arguments by name. To other processes it travels by the
    name of the step function where that can be imported.
    """

    def __init__(self, marked: StepFunction[..., Any]) -> None:
        self.marked = marked
        self.__module__ = marked.function.__module__
        self.__qualname__ = f"{marked.function.__qualname__} (step)"
        by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL)
        parameters = inspect.signature(marked.function).parameters.values()
        self._first = [parameter for parameter in parameters if parameter.kind in by_place]
        # Before those that are given by place, all have to be.
        if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in self._first):
            named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
            self._first = [parameter for parameter in parameters if parameter.kind not in named]

    def __call__(self, **arguments: Any) -> Any:
        function = self.marked.function
        return function(**arguments) if not self._first else function(*self._by_place(arguments), **arguments)

    def _by_place(self, arguments: dict[str, Any]) -> list[Any]:
        """Takes out of ``arguments`` what is given by place."""
        found: list[Any] = []
        for parameter in self._first:
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                found += arguments.pop(parameter.name, ())
            elif parameter.name in arguments:
                found.append(arguments.pop(parameter.name))
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        function = self.marked.function
        found: Any = sys.modules.get(function.__module__)
        for part in function.__qualname__.split("."):
            found = getattr(found, part, None)
        if found is self.marked and function.__module__ != "__main__":
            return _imported_plain, (type(self), function.__module__, function.__qualname__)
        return _rebuilt_plain, (type(self), function, self.marked.name)


class _PlainAsync(_Plain):
    """The same for a coroutine function."""

    async def __call__(self, **arguments: Any) -> Any:
        return await super().__call__(**arguments)


def _imported_plain(kind: type[_Plain], module: str, path: str) -> _Plain:
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return kind(found)


def _rebuilt_plain(kind: type[_Plain], function: Callable[..., Any], name: str) -> _Plain:
    return kind(StepFunction(function, name, {}, pure=False))


@overload
def step(function: Callable[P, R], /) -> StepFunction[P, R]: ...
@overload
def step(
    *,
    name: str | None = None,
    description: str | None = None,
    retry: Retry | None = None,
    timeout: float | None = None,
    needs: Mapping[str, int] | None = None,
    reads: tuple[str, ...] | list[str] = (),
    writes: tuple[str, ...] | list[str] = (),
    priority: int = 0,
    on_failure: str = "continue",
    idempotent: bool | None = None,
    expected_seconds: float | None = None,
    cache: str | None = None,
    ttl: float | None = None,
    pure: bool = False,
) -> Callable[[Callable[P, R]], StepFunction[P, R]]: ...
def step(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    pure: bool = False,
    **options: Any,
) -> Any:
    """Mark a function, sync or async: its calls are steps from then on. See the head of this module.

    ``name`` is the step's id (default: the function's name; further calls get ``name-2``, ``name-3``, …).
    ``description`` defaults to the first line of the docstring. ``retry``, ``timeout`` (seconds), ``needs``, ``reads``,
    ``writes``, ``priority``, ``on_failure``, ``idempotent``, ``expected_seconds``, ``cache`` and ``ttl`` mean what they
    mean in a file.
    ``pure``: calls with equal arguments are one step.

    Raises:
        TypeError: what is marked is no function, or an option is unknown.
        ValueError: an option has a value that it cannot have.

    """
    unknown = options.keys() - _OPTIONS
    if unknown:
        raise TypeError(f"step(): unknown option {min(unknown)!r}; there are {', '.join(sorted(_OPTIONS))}")

    def mark(marked: Callable[..., Any]) -> StepFunction[..., Any]:
        if not inspect.isroutine(marked):
            raise TypeError(f"@step marks functions, not a {type(marked).__name__}; write @step above a def")
        first_line = (inspect.getdoc(marked) or "").strip().partition("\n")[0]
        words = {"description": description if description is not None else first_line}
        given = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
        return StepFunction(marked, name or marked.__name__, {**words, **given}, pure=pure)

    return mark if function is None else mark(function)


_OPTIONS = {
    "retry", "timeout", "needs", "reads", "writes", "priority", "on_failure", "idempotent", "expected_seconds",
    "cache", "ttl",
}  # fmt: skip


def _copied(value: Any) -> tuple[Any, Any]:
    """A value with its lists and mappings copied, and the same with null for each promise."""
    if isinstance(value, StepResult):
        return value, None
    if isinstance(value, Mapping):
        pairs = {key: _copied(item) for key, item in value.items()}
        return {key: pair[0] for key, pair in pairs.items()}, {key: pair[1] for key, pair in pairs.items()}
    if isinstance(value, list | tuple):
        items = [_copied(item) for item in value]
        return [item[0] for item in items], [item[1] for item in items]
    return value, value
