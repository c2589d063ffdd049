"""How a command is made of a request and what is done with it.

Rules of this module:
- It imports nothing but typer, so that `--help` and completion answer at once.
- A command is a function of one request, a dataclass of :mod:`harness.cli.requests`: its fields are the options.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from copy import copy
from dataclasses import MISSING, fields
from functools import cached_property, partial
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import CommandInfo

from harness.cli.guard import guarded
from harness.exit_codes import ExitCode, exit_code_lines

# The mark keeps the lines as they are.
EPILOG: Final = "\n".join(("\b", "Exit status:", *exit_code_lines()))

Request = TypeVar("Request")
# Defaults of these types are values already.
_READY: Final = (str, int, float, bool)


class LightGroup(TyperGroup):
    """A group that reads what is absent without pydantic, which typer would import for it."""

    def get_params(self, ctx: Any) -> Any:
        """The parameters; see :func:`_read_lightly`."""
        return _read_lightly(super().get_params(ctx))


class LightCommand(TyperCommand):
    """A command that does the same."""

    def get_params(self, ctx: Any) -> Any:
        """The parameters; see :func:`_read_lightly`."""
        return _read_lightly(super().get_params(ctx))


def _read_lightly(parameters: list[Any]) -> list[Any]:
    """The parameters, of which an absent one is nothing, or its default, and no text to be read."""
    for parameter in parameters:
        if parameter.default is None and getattr(parameter, "is_flag", False):
            parameter.default = False
        parameter.process_value = partial(_value, parameter, type(parameter).process_value)
    return parameters


def _value(parameter: Any, read: Callable[..., Any], context: Any, value: Any) -> Any:
    if parameter.callback is None and value in (None, (), []) and not parameter.required:
        return () if parameter.multiple or parameter.nargs == -1 else None
    if parameter.callback is None and value is parameter.default and type(value) in _READY:
        return value
    return read(parameter, context, value)


class _Callback:
    """What typer calls for a command. The request is imported when typer asks for the options, by the signature: it
    asks only for those of a command that is called.
    """

    def __init__(self, body: Callable[[Any], ExitCode], *, acts: bool) -> None:
        self.__name__ = body.__name__
        self.__doc__ = body.__doc__
        self.__annotations__ = {}
        self._body = body
        self._guarded = guarded(self._answered, acts=acts)

    def __call__(self, **typed: Any) -> None:
        """Do it, and leave with its exit status."""
        self._guarded(**typed)

    @property
    def __signature__(self) -> inspect.Signature:
        return _signature(self._request)

    @cached_property
    def _request(self) -> type[Any]:
        found: type[Any] = get_type_hints(self._body)["request"]
        return found

    def _answered(self, **typed: Any) -> ExitCode:
        given = {key: tuple(value) if isinstance(value, list) else value for key, value in typed.items()}
        return self._body(self._request(**given))


def group_of_commands(name: str, text: str, short_help: str | None = None) -> typer.Typer:
    """A group without commands yet."""
    return typer.Typer(
        name=name,
        cls=LightGroup,
        help=text,
        short_help=short_help,
        epilog=EPILOG,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def command(
    group: typer.Typer, name: str, short_help: str, *, acts: bool = False
) -> Callable[[Callable[[Request], ExitCode]], Callable[[Request], ExitCode]]:
    """Make a function of one request a command of that group. Its docstring is the help of the command; a fault
    becomes a message and an exit status. ``acts``: see :func:`harness.cli.guard.guarded`.
    """

    def register(body: Callable[[Request], ExitCode]) -> Callable[[Request], ExitCode]:
        called: Any = _Callback(body, acts=acts)
        group.command(name, cls=LightCommand, epilog=EPILOG, short_help=short_help)(called)
        return body

    return register


def with_options_of(group: typer.Typer, words: Collection[str]) -> typer.Typer:
    """A copy of the group, in which a command has options only if its name is among the words of the command line: to
    read the options of all commands takes half as long as to import typer.
    """
    made = copy(group)
    made.registered_commands = [
        info if info.name in words else _without_options(info) for info in group.registered_commands
    ]
    made.registered_groups = []
    for group_info in group.registered_groups:
        inner = copy(group_info)
        assert inner.typer_instance is not None, "a group of commands has an app of its own"
        inner.typer_instance = with_options_of(inner.typer_instance, words)
        made.registered_groups.append(inner)
    return made


def _without_options(info: CommandInfo) -> CommandInfo:
    def named() -> None:
        """Never called: the name of the command is not on the command line."""

    named.__doc__ = info.callback.__doc__
    found = copy(info)
    found.callback = named
    return found


def _signature(request: type[Any]) -> inspect.Signature:
    """The fields as keywords that typer reads: where a request has a tuple of any length, typer takes a list."""
    parameters = []
    for option in fields(request):
        kind, *metadata = get_args(option.type)
        parameters.append(
            inspect.Parameter(
                option.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if option.default is MISSING else option.default,
                annotation=Annotated[(list[str] if get_origin(kind) is tuple else kind, *metadata)],
            )
        )
    return inspect.Signature(parameters)
