"""The exit status of every command: the one table that help, documents and tests read."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit status of a command. ``meaning`` says when."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> ExitCode:
        """An integer with its meaning."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    FINE = 0, "fine"
    FAULT = 1, "a step failed, or a check found a fault"
    BAD_INPUT = 2, "bad input or usage, or what was asked for could not be written"
    EXPECTATION = 3, "an expectation was not met"
    INTERRUPTED = 130, "interrupted"


def exit_code_lines() -> list[str]:
    """The table as text, a line for each code."""
    return [f"{code.value:>5}  {code.meaning}" for code in ExitCode]
