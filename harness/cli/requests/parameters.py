"""Options and arguments, written as the help shows them."""

from typing import Any

import typer


def option(names: str, text: str, **settings: Any) -> Any:
    """``--workers -w N``: an option with its names and its value's; without one it is a flag. ``text`` is its help.
    ``settings`` are those of typer: ``min``, ``max``, ``autocompletion``.
    """
    words = names.split()
    given = [word for word in words if word.startswith("-")]
    return typer.Option(*given, metavar=" ".join(words[len(given) :]) or None, help=text, **settings)


def argument(name: str, text: str, **settings: Any) -> Any:
    """``RUN...``: an argument with its name in the help."""
    return typer.Argument(metavar=name, help=text, **settings)
