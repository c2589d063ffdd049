"""From a line of text to an :class:`Expectation`. Every error points at the column."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from executor.model.findings import Finding, WorkflowError, did_you_mean
from harness.analysis.lost_time import LOST_CAUSES
from harness.config import POLICIES
from harness.expectations.expectation import Expectation, ExpectationError, Metric, Operator, Selector
from harness.expectations.measuring import (
    AGGREGATE,
    LOST,
    LOST_KINDS,
    MAY_BE_AGGREGATED,
    METRICS,
    ONLY_AGGREGATED,
)

_SHAPE: Final = "write `[executor[@workers][/policy][{parameter=value}]] metric operator number`"
_OPERATORS: Final[tuple[Operator, ...]] = (">=", "<=", "==", "!=", ">", "<")
# The units that may follow a number of seconds, and each in seconds.
TIME_UNITS: Final = {"ns": 1e-9, "µs": 1e-6, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_PARENTHESES: Final = re.compile(r"([^()]*)\((.*)\)")
_WORKERS: Final = re.compile(r"[1-9][0-9]{0,8}")
_NAME: Final = re.compile(r"[^\s=,{}]+")


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    start: int


def parse_expectations(lines: Iterable[str]) -> list[Expectation]:
    """All lines of a scenario's ``expect``.

    Raises:
        WorkflowError: with every line that does not parse; its path is ``("expect", i)``.

    """
    parsed: list[Expectation] = []
    findings: list[Finding] = []
    for place, line in enumerate(lines):
        try:
            parsed.append(parse_expectation(line))
        except ExpectationError as error:
            message = f"{line!r}, column {error.column}: {error.message}"
            findings.append(
                Finding("error", "bad-expectation", message, error.fix or _SHAPE, path=("expect", place))
            )  # fmt: skip
    if findings:
        raise WorkflowError(findings)
    return parsed


def parse_expectation(line: str) -> Expectation:
    """One line.

    Raises:
        ExpectationError: it does not parse.

    """
    words, operator, after = _left_side(line)
    share = len(words) > 1 and words[-1].text == "share"
    named = words[:-1] if share else words
    if not named:
        raise _error(line, 0, "a metric is missing before the operator", _SHAPE)
    if len(named) > 2:
        raise _error(line, named[2].start, f"{named[2].text!r} is one word too many", _SHAPE)
    selector = _selector(line, named[0]) if len(named) == 2 else None
    metric = _metric(line, named[-1], share=share)
    return Expectation(line, selector, metric, operator, _threshold(line, after, metric))


def _error(line: str, place: int, message: str, fix: str = "") -> ExpectationError:
    return ExpectationError(line, place + 1, message, fix)


def _left_side(line: str) -> tuple[list[_Word], Operator, int]:
    """Words up to the operator, the operator, the place after it. Braces and quotes keep together what they hold."""
    words: list[_Word] = []
    start: int | None = None
    depth, quoted, place = 0, False, 0
    while place < len(line):
        sign = line[place]
        if quoted:
            place += 2 if sign == "\\" else 1
            quoted = sign != '"'
            continue
        outside = depth == 0
        if outside and (sign.isspace() or sign in "<>=!"):
            if start is not None:
                words.append(_Word(line[start:place], start))
                start = None
            if not sign.isspace():
                operator = _operator(line, place)
                return words, operator, place + len(operator)
        elif start is None:
            start = place
        quoted = sign == '"' and not outside
        depth += (sign == "{") - (sign == "}" and depth > 0)
        place += 1
    if depth or quoted:
        raise _error(line, line.index("{"), "this brace is never closed", "add a `}` after the last parameter")
    raise _error(
        line, len(line.rstrip()), "an operator is missing", f"use one of {' '.join(_OPERATORS)}, then a number"
    )


def _operator(line: str, place: int) -> Operator:
    for operator in _OPERATORS:
        if line.startswith(operator, place):
            return operator
    fix = "write == for equal" if line[place] == "=" else "write != for not equal"
    raise _error(line, place, f"{line[place]!r} is no operator", fix)


def _threshold(line: str, after: int, metric: Metric) -> float:
    text = line[after:]
    start = after + len(text) - len(text.lstrip())
    found = _NUMBER.match(line, start)
    if found is None:
        raise _error(line, min(start, len(line.rstrip())), "a number is missing after the operator", "write one: 1.3")
    rest = line[found.end() :]
    units = units_of(metric)
    if rest.strip() and rest.strip() not in units:
        place = found.end() + len(rest) - len(rest.lstrip())
        fix = f"leave it out, or use one of {', '.join(units)}" if units else "leave it out: this is a plain number"
        raise _error(line, place, f"{rest.strip()!r} after the number means nothing", fix)
    value = float(found.group()) * units.get(rest.strip(), 1.0)
    if value in (float("inf"), float("-inf")):
        raise _error(line, start, "this number is too large", "")
    return value


def units_of(metric: Metric) -> dict[str, float]:
    """The units that a number of this metric may have, with what each is in the metric's own."""
    if metric.share or metric.name.endswith("_ratio"):
        return {"%": 0.01}
    is_time = metric.name.startswith(LOST) or "_seconds" in metric.name
    return TIME_UNITS if is_time else {}


def _metric(line: str, word: _Word, *, share: bool) -> Metric:
    text, start, aggregate = word.text, word.start, None
    inside = _PARENTHESES.fullmatch(text)
    if inside is not None:
        aggregate = inside.group(1)
        if AGGREGATE.fullmatch(aggregate) is None:
            fix = did_you_mean(aggregate, ("median", "mean", "min", "max"), "use p50 … p99, median, mean, min or max")
            raise _error(line, start, f"{aggregate!r} sums nothing up", fix)
        text, start = inside.group(2), start + inside.start(2)
    elif "(" in text or ")" in text:
        raise _error(line, start, f"the brackets of {text!r} do not match", "write p95(step_wait_seconds)")
    if text.startswith(LOST):
        _check_cause(line, text.removeprefix(LOST), start + len(LOST))
        return Metric(text, aggregate, share)
    if share:
        raise _error(line, start, f"only lost time has a share, {text!r} has none", "write lost.<cause> share")
    if text not in METRICS:
        fix = did_you_mean(text, METRICS, f"use one of {', '.join(METRICS)}, lost.<cause>")
        raise _error(line, start, f"there is no metric {text!r}", fix)
    if aggregate is None and text in ONLY_AGGREGATED:
        raise _error(line, start, f"{text} is a value for each step", f"say which: p95({text}), max({text}), …")
    if aggregate is not None and text not in MAY_BE_AGGREGATED:
        raise _error(line, start, f"{text} is one value: there is nothing to sum up", f"write {text}")
    return Metric(text, aggregate)


def _check_cause(line: str, cause: str, start: int) -> None:
    if cause in LOST_CAUSES or any(cause.startswith(kind) and cause != kind for kind in LOST_KINDS):
        return
    known = ", ".join((*LOST_CAUSES, *(f"{kind}<name>" for kind in LOST_KINDS)))
    raise _error(line, start, f"no time is lost to {cause!r}", did_you_mean(cause, LOST_CAUSES, f"use one of {known}"))


def _selector(line: str, word: _Word) -> Selector:
    head, brace, _ = word.text.partition("{")
    parameters, end = _parameters(line, word.start + len(head)) if brace else ({}, word.start + len(head))
    if end != word.start + len(word.text):
        raise _error(line, end, "nothing is allowed after the brace", "add a space before the metric")
    target, slash, policy = head.partition("/")
    if slash and policy not in POLICIES:
        place = word.start + len(target) + 1
        fix = did_you_mean(policy, POLICIES, f"use one of {', '.join(POLICIES)}")
        raise _error(line, place, f"there is no policy {policy!r}", fix)
    executor, at, workers = target.partition("@")
    if not executor:
        raise _error(line, word.start, "an executor is missing", "name it, or write * for any")
    if at and _WORKERS.fullmatch(workers) is None:
        place = word.start + len(executor) + 1
        raise _error(line, place, f"{workers!r} is no number of workers", "write threads@4")
    return Selector(executor, int(workers) if at else None, policy if slash else None, parameters)


def _parameters(line: str, brace: int) -> tuple[dict[str, Any], int]:
    """What is in the braces, and the place after them."""
    values: dict[str, Any] = {}
    place = _skipped(line, brace + 1)
    while line[place] != "}":
        name = _NAME.match(line, place)
        if name is None:
            raise _error(line, place, "a parameter's name is missing", "write {n=4}")
        equals = _skipped(line, name.end())
        if line[equals] != "=":
            raise _error(line, equals, f"the value of {name.group()!r} is missing", f"write {name.group()}=value")
        if name.group() in values:
            raise _error(line, place, f"{name.group()!r} is there twice", "leave one of them out")
        values[name.group()], place = _value(line, _skipped(line, equals + 1))
        if line[place] == ",":
            place = _skipped(line, place + 1)
    return values, place + 1


def _value(line: str, start: int) -> tuple[Any, int]:
    """A JSON value, or plain text up to the next comma or the brace; and the place after it."""
    try:
        value, end = json.JSONDecoder().raw_decode(line, start)
        end = _skipped(line, end)
        if line[end] in ",}":
            return value, end
    except (ValueError, RecursionError):
        pass
    end = next(place for place in range(start, len(line)) if line[place] in ",}")
    text = line[start:end].strip()
    if not text:
        raise _error(line, start, "a value is missing", 'write {n=4}, or {topic=""} for no text')
    return text, end


def _skipped(line: str, place: int) -> int:
    while line[place].isspace():
        place += 1
    return place
