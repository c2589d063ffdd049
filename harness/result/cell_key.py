"""What makes two results the same cell, and two machines the same class. Pure.

Rules of this module:
- A cell is scenario, executor, workers, policy and parameters. Its label is also how an expectation selects it:
  ``threads@4/dataflow{n=4}``.
- A result may name its own ``scenario``; else it is the document's.
- The class of a machine is what speed depends on and what stays the same from one rented machine to the next: not its
  name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

# Facts of ``environment`` that have to be the same for two times to be comparable, with how a person says them.
_MACHINE_FACTS: Final = {
    "architecture": "architecture",
    "cpu_model": "processor",
    "cores": "cores",
    "usable_cores": "usable cores",
    "cpu_limit_cores": "CPU limit in cores",
    "memory_limit_bytes": "memory limit in bytes",
}


# What may stand in a label without quotes.
_BARE: Final = re.compile(r'[^\s{},="\\]+')


@dataclass(frozen=True, slots=True)
class Cell:
    """One place in the matrix. ``parameters`` is JSON with sorted keys, so that a cell is hashable."""

    scenario: str
    executor: str
    workers: int
    policy: str
    parameters: str = "{}"

    @property
    def parameter_values(self) -> dict[str, Any]:
        """The parameters by name."""
        values: dict[str, Any] = json.loads(self.parameters)
        return values

    @property
    def label(self) -> str:
        """Without the scenario: ``threads@4/dataflow{n=4}``."""
        values = ", ".join(f"{name}={value_text(value)}" for name, value in self.parameter_values.items())
        return f"{self.executor}@{self.workers}/{self.policy}" + (f"{{{values}}}" if values else "")

    def __str__(self) -> str:
        return f"{self.scenario} {self.label}"


def value_text(value: Any) -> str:
    """A parameter's value as it is in a label: plain text bare, everything else as JSON."""
    if isinstance(value, str) and _BARE.fullmatch(value) and value.isprintable() and not _reads_as_json(value):
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _reads_as_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def cell_of(result: Mapping[str, Any], scenario: str) -> Cell:
    """The cell of one entry of a document's ``results``."""
    return Cell(
        scenario=str(result.get("scenario", scenario)),
        executor=str(result["executor"]),
        workers=int(result["workers"]),
        policy=str(result["policy"]),
        parameters=json.dumps(result["parameters"], sort_keys=True),
    )


def machine_class(environment: Mapping[str, Any]) -> str:
    """Equal for machines whose times may be compared: ``architecture=x86_64 cores=8 …``; facts that are unknown are
    left out.
    """
    known = {name: environment.get(name) for name in _MACHINE_FACTS}
    return " ".join(f"{name}={value_text(value)}" for name, value in known.items() if value is not None)


def machine_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What makes the second machine another class than the first, as a person says it; empty for the same class."""
    return [
        f"{words}: {_said(before.get(name))} against {_said(after.get(name))}"
        for name, words in _MACHINE_FACTS.items()
        if before.get(name) != after.get(name)
    ]


def _said(value: Any) -> str:
    return "none or not known" if value is None else str(value)
