"""``--set NAME=VALUE`` as typed, taken apart. What a value means is the scenario's affair."""

from __future__ import annotations

from collections.abc import Iterable

from harness.cli.guard import UsageFault


def read_settings(typed: Iterable[str], option: str = "--set") -> dict[str, str]:
    """Name to value; of a name that is set twice the last value counts. ``option``: as which they were typed.

    Raises:
        UsageFault: there is no ``=``, or nothing before it.

    """
    settings: dict[str, str] = {}
    for text in typed:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UsageFault(f"{option} {text!r}: write NAME=VALUE")
        settings[name.strip()] = value
    return settings
