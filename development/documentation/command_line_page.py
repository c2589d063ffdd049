"""The commands, their options and exit statuses, from the commands themselves. Runs none of them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, Final

import typer.main

from development.documentation.markdown import Parts, table
from harness.cli import app
from harness.exit_codes import ExitCode


def commands_of(root: Any) -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its whole name, in the order of the help."""
    groups = [("", root)]
    while groups:
        prefix, group = groups.pop(0)
        for name, command in group.commands.items():
            whole = f"{prefix} {name}".strip()
            if command.hidden:
                continue
            if hasattr(command, "commands"):
                groups.append((whole, command))
            else:
                yield whole, command


def _overview() -> str:
    commands = commands_of(typer.main.get_command(app))
    rows = (
        (f"[`makespan {name}`](#makespan-{name.replace(' ', '-')})", command.get_short_help_str(200))
        for name, command in commands
    )
    return table(("command", "does"), rows)


def _commands() -> str:
    return "\n".join(_section(name, command) for name, command in commands_of(typer.main.get_command(app)))


def _section(name: str, command: Any) -> str:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option" and "--help" not in one.opts]
    usage = ["makespan", name, *(_usage(one) for one in arguments), *(["[OPTIONS]"] if options else [])]
    parts = [f"## makespan {name}", f"```\n{' '.join(usage)}\n```", inspect.cleandoc(command.help or "")]
    if arguments:
        rows = [(f"`{_metavar(one)}`", one.help or "") for one in arguments]
        parts.append(table(("argument", "is"), rows).rstrip())
    if options:
        rows = [(_flags(one), (one.help or "") + _limits(one) + _default(one)) for one in options]
        parts.append(table(("option", "does"), rows).rstrip())
    return "\n\n".join(parts) + "\n"


def _usage(argument: Any) -> str:
    name = _metavar(argument) + ("…" if argument.nargs != 1 else "")
    return name if argument.required else f"[{name}]"


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name).upper().rstrip(".…").strip("[]{}")


def _flags(option: Any) -> str:
    value = "" if getattr(option, "is_flag", False) else f" {option.metavar or option.name.upper()}"
    names = sorted([*option.opts, *option.secondary_opts], key=len, reverse=True)
    return ", ".join(f"`{name}{value}`" for name in names)


def _limits(option: Any) -> str:
    # Newer versions of typer keep the limits in the option, older ones in its type.
    holder = option if hasattr(option, "min") else getattr(option, "type", None)
    low, high = getattr(holder, "min", None), getattr(holder, "max", None)
    if low is None:
        return "" if high is None else f" At most {high}."
    return f" At least {low}." if high is None else f" From {low} to {high}."


def _default(option: Any) -> str:
    value = getattr(option, "default", None)
    return f" Default: {value}." if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def _statuses() -> str:
    return table(("status", "means"), ((str(code.value), code.meaning) for code in ExitCode))


PARTS: Final[Parts] = {"overview": _overview, "statuses": _statuses, "commands": _commands}
