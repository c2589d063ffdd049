"""Where a run ran, in sentences: for the end of a report. Pure.

Rules of this module:
- What is not known is not mentioned; a fact that has no words of its own is named with its value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from harness.report.html.safe_text import visible

# Facts that say nothing to a reader of a report: they are in the document.
_LEFT_OUT: Final = {"affinity", "python_build", "python_compiler"}
_REVISION_CHARACTERS: Final = 10
_VALUE_LIMIT: Final = 80


def machine_words(environment: Mapping[str, Any]) -> str:
    """Machine, program and conditions of a run in sentences; empty where nothing is known."""
    facts = {key: value for key, value in environment.items() if value not in (None, "", [], {})}
    sentences = [_machine(facts), _programs(facts), _condition(facts), _packages(facts), _others(facts)]
    return " ".join(sentence for sentence in sentences if sentence)


def _machine(facts: dict[str, Any]) -> str:
    name, system, architecture = (_take(facts, key) for key in ("machine", "platform", "architecture"))
    usable, cores, limit = (_take_number(facts, key) for key in ("usable_cores", "cores", "cpu_limit_cores"))
    parts = []
    if usable is not None:
        of = f" of {cores:g}" if cores is not None and cores != usable else ""
        parts.append(f"{_cores(usable, 'usable core')}{of}")
    elif cores is not None:
        parts.append(_cores(cores, "core"))
    if limit is not None:
        parts.append(f"a limit of {limit:g} cores of CPU time")
    parts += _memory(facts)
    if system:
        parts.append(f"{system} ({architecture})" if architecture and architecture not in system else system)
    elif architecture:
        parts.append(architecture)
    if not name:
        return f"{', '.join(parts)}." if parts else ""
    return f"It ran on {name}: {', '.join(parts)}." if parts else f"It ran on {name}."


def _memory(facts: dict[str, Any]) -> list[str]:
    words = (("memory_bytes", "{} of memory"), ("memory_limit_bytes", "a limit of {} of memory"))
    sizes = [(_take_number(facts, key), said) for key, said in words]
    return [said.format(f"{size / 2**30:.1f} GiB") for size, said in sizes if size is not None]


def _programs(facts: dict[str, Any]) -> str:
    makespan, revision, python, build = (
        _take(facts, key) for key in ("makespan_version", "revision", "python_version", "python_implementation")
    )
    lock = facts.pop("python_gil", None)
    parts = []
    if makespan:
        parts.append(f"makespan {makespan}")
    if revision:
        parts.append(f"revision {revision[:_REVISION_CHARACTERS]} of the project around it")
    if python:
        details = ", ".join(part for part in (build, "without the global lock" if lock is False else "") if part)
        parts.append(f"Python {python} ({details})" if details else f"Python {python}")
    return f"The programs: {', '.join(parts)}." if parts else ""


def _condition(facts: dict[str, Any]) -> str:
    load = facts.pop("load_average_at_start", None)
    simulated, stand_in = facts.pop("simulated", None), facts.pop("stand_in", None)
    parts = []
    if isinstance(load, list | tuple) and load and isinstance(load[0], int | float):
        parts.append(f"The load of the machine was {load[0]:.2g} when it began.")
    if simulated:
        parts.append("No tool ran: durations are the stated ones, and the clock was virtual.")
    elif simulated is False:
        parts.append("Its tools ran, on the clock of the machine.")
    if stand_in:
        parts.append("The stand-in service answered for the language model.")
    return " ".join(parts)


def _packages(facts: dict[str, Any]) -> str:
    packages = facts.pop("packages", None)
    if not isinstance(packages, dict):
        return ""
    named = [f"{visible(str(name), 40)} {visible(str(version), 20)}" for name, version in packages.items()]
    return f"Packages: {', '.join(named)}."


def _others(facts: dict[str, Any]) -> str:
    named = [
        f"{visible(str(key), 40).replace('_', ' ')} {visible(str(value), _VALUE_LIMIT)}"
        for key, value in facts.items()
        if key not in _LEFT_OUT
    ]
    return f"Besides: {', '.join(named)}." if named else ""


def _cores(number: float, noun: str) -> str:
    return f"{number:g} {noun}{'' if number == 1 else 's'}"


def _take_number(facts: dict[str, Any], key: str) -> float | None:
    """The fact, if it is a number; else it stays where it is."""
    value = facts.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(facts.pop(key))


def _take(facts: dict[str, Any], key: str) -> str:
    value = facts.pop(key, None)
    return "" if value is None else visible(str(value), _VALUE_LIMIT)
