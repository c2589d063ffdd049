"""An expectation as data, and the error of one that does not parse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from executor.model.findings import printable
from harness.result.cell_key import value_text

Operator = Literal[">=", "<=", "==", "!=", ">", "<"]
ANY: Final = "*"


class ExpectationError(ValueError):
    """A line that does not parse: ``message`` says what is wrong at ``column`` (from 1), ``fix`` what to do."""

    def __init__(self, line: str, column: int, message: str, fix: str = "") -> None:
        self.line = line
        self.column = column
        self.message = message
        self.fix = fix
        shown = "".join(sign if sign.isprintable() else " " for sign in line)
        text = f"column {column}: {printable(message)}\n    {shown}\n    {' ' * (column - 1)}^"
        super().__init__(f"{text}\n    fix: {printable(fix)}" if fix else text)

    def __reduce__(self) -> tuple[type[ExpectationError], tuple[str, int, str, str]]:
        return type(self), (self.line, self.column, self.message, self.fix)


@dataclass(frozen=True, slots=True)
class Selector:
    """Which cells a line is about; None, or a parameter that is not named, may be anything."""

    executor: str = ANY
    workers: int | None = None
    policy: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def matches(self, result: Mapping[str, Any]) -> bool:
        """Whether one entry of ``results`` is meant."""
        values = result["parameters"]
        return (
            self.executor in (ANY, result["executor"])
            and self.workers in (None, result["workers"])
            and self.policy in (None, result["policy"])
            and all(name in values and _same(values[name], value) for name, value in self.parameters.items())
        )

    def __str__(self) -> str:
        values = ", ".join(f"{name}={value_text(value)}" for name, value in self.parameters.items())
        return "".join(
            (
                self.executor,
                "" if self.workers is None else f"@{self.workers}",
                "" if self.policy is None else f"/{self.policy}",
                f"{{{values}}}" if values else "",
            )
        )


def _same(one: Any, other: Any) -> bool:
    # To Python, True is 1; to the author of a file it is not.
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


@dataclass(frozen=True, slots=True)
class Metric:
    """What is measured: a name of :data:`METRICS` or ``lost.<cause>``; ``aggregate`` is ``p95``, ``max``, … or None;
    ``share`` divides lost seconds by the makespan.
    """

    name: str
    aggregate: str | None = None
    share: bool = False

    def __str__(self) -> str:
        text = self.name if self.aggregate is None else f"{self.aggregate}({self.name})"
        return f"{text} share" if self.share else text


@dataclass(frozen=True, slots=True)
class Expectation:
    """One line, read. ``selector`` None: every cell."""

    line: str
    selector: Selector | None
    metric: Metric
    operator: Operator
    threshold: float
