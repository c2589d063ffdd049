"""What a test does when a program that it needs is not on the machine, and what the run then says at its end.

Rules: nothing is left out silently. Where ``CI`` is set a missing program fails the test. Elsewhere the test is
skipped, and the last line before pytest's own says how many were, and the command that brings them.
"""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable
from typing import NoReturn

import pytest

__all__ = ["not_here", "program", "said_at_the_end"]

_REASON = re.compile(r"(?:Skipped: )?(?P<what>.+) is not here; to have it: (?P<command>.+)")


def program(name: str, package: str) -> str:
    """The path of a program, else the test does not run; ``package`` is what brings it on Debian."""
    found = shutil.which(name)
    if found is None:
        not_here(name, f"apt-get install {package}")
    return found


def not_here(what: str, command: str, *, must_be: bool = False) -> NoReturn:
    """End the test, since ``what`` is not on this machine and ``command`` would bring it."""
    reason = f"{what} is not here; to have it: {command}"
    if must_be or os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def said_at_the_end(reasons: Iterable[str]) -> list[str]:
    """The reasons of all skipped tests as lines: one for what can be had by commands, one for each other reason."""
    commands: Counter[str] = Counter()
    others: Counter[str] = Counter()
    whats: set[str] = set()
    for reason in reasons:
        found = _REASON.fullmatch(reason)
        if found is None:
            others[reason.removeprefix("Skipped: ")] += 1
        else:
            commands[found["command"]] += 1
            whats.add(found["what"])
    lines = [f"{_tests(count)} did not run: {reason}" for reason, count in others.items()]
    if commands:
        *most, last = sorted(whats)
        needed = f"{', '.join(most)} and {last}" if most else last
        how = " && ".join(commands)
        lines.append(f"{_tests(commands.total())} did not run, for want of {needed}. Bring them: {how}")
    return lines


def _tests(count: int) -> str:
    return "1 test" if count == 1 else f"{count} tests"
