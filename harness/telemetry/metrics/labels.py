"""What is in the labels of metrics: the cell of a run, and the reasons of waits and losses. Pure.

Rules of this module:
- No label grows with the steps of a run: reasons that name a state or a resource (``lock.X``) are kept apart up to
  :data:`REASONS_TOLD_APART` of a kind; what comes after is summed as ``lock.other``.
- The variant is the cell's parameters in short, ``n=4``. Secrets in it are hidden. A long one is cut and made unique by
  a short hash, the same from run to run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from harness.result.cell_key import Cell, cell_of, value_text
from harness.store.secrets import without_secrets
from harness.telemetry.metrics.metric_table import CELL_LABELS, DEFAULT_VARIANT

Labels: TypeAlias = tuple[tuple[str, str], ...]

REASONS_TOLD_APART: Final = 30
_VARIANT_LENGTH: Final = 80
_ERROR_TYPE_LENGTH: Final = 80
_HASH_BYTES: Final = 4
OTHER: Final = "other"


def cell_labels(cell: Cell) -> Labels:
    """The labels that every metric of the cell carries, in the order of the table."""
    values = (cell.scenario, cell.executor, str(cell.workers), cell.policy, variant(cell.parameter_values))
    return tuple(zip(CELL_LABELS, values, strict=True))


def result_labels(result: Mapping[str, Any], scenario: str) -> Labels:
    """:func:`cell_labels` of one entry of a document's ``results``; ``scenario`` is the document's."""
    return cell_labels(cell_of(result, scenario))


def variant(parameters: Mapping[str, Any]) -> str:
    """A short stable name of the parameter values."""
    shown = without_secrets(parameters)
    text = ",".join(f"{name}={value_text(shown[name])}" for name in sorted(shown))
    if not text:
        return DEFAULT_VARIANT
    if len(text) <= _VARIANT_LENGTH:
        return text
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_HASH_BYTES).hexdigest()
    return f"{text[:_VARIANT_LENGTH]}…{digest}"


class FailureLabels:
    """The labels of each failure, as they come: the first so many kinds under their own names."""

    def __init__(self) -> None:
        self._known: set[tuple[str, str]] = set()

    def label(self, error_type: str, http_status_code: int | None) -> tuple[str, str]:
        """The type of the error and its HTTP status as they stand in labels."""
        found = error_type[:_ERROR_TYPE_LENGTH], "" if http_status_code is None else str(http_status_code)
        if found in self._known:
            return found
        if len(self._known) >= REASONS_TOLD_APART:
            return OTHER, ""
        self._known.add(found)
        return found


class Reasons:
    """The label of each reason, as they come: of a kind the first so many under their own names."""

    def __init__(self) -> None:
        self._labels: dict[str, str] = {}
        self._of_kind: dict[str, int] = {}

    def label(self, reason: str) -> str:
        """The reason as it is in a label."""
        known = self._labels.get(reason)
        if known is not None:
            return known
        kind, dot, _ = reason.partition(".")
        if not dot:
            return reason
        count = self._of_kind.get(kind, 0)
        if count >= REASONS_TOLD_APART:
            return f"{kind}.{OTHER}"
        self._of_kind[kind] = count + 1
        self._labels[reason] = reason
        return reason


def with_others_summed(amounts: Mapping[str, float]) -> dict[str, float]:
    """Amounts by reason as they stand in labels: of a kind the largest under their own names, the rest in one sum."""
    by_size: Iterable[str] = sorted(amounts, key=lambda reason: (-abs(amounts[reason]), reason))
    reasons = Reasons()
    summed: dict[str, float] = {}
    for reason in by_size:
        label = reasons.label(reason)
        summed[label] = summed.get(label, 0.0) + amounts[reason]
    return summed
