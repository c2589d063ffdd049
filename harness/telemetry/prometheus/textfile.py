"""A text file for the node exporter's textfile collector: how runs reach a Prometheus that others own.

Rules of this module:
- The file holds each cell's newest run. Counters and histograms go on over the runs that were written, each run once:
  one that is no newer than what the file holds of its cell changes nothing.
- It appears whole or not at all, in the text format without times: the collector refuses those.
- A file that holds anything else is left alone.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

from prometheus_client.parser import text_string_to_metric_families

from executor.record.timeline import NANOSECONDS
from harness.files.json_output import write_whole
from harness.result import DocumentError, results_of, timeline_from_document
from harness.telemetry.metrics import metric_table as table
from harness.telemetry.metrics.labels import Labels, result_labels
from harness.telemetry.metrics.run_metrics import (
    compared_at,
    completed_at,
    count_samples,
    info_sample,
    is_simulated,
    repetition_begins,
    run_samples,
    shown_repetition,
    step_totals,
)
from harness.telemetry.metrics.samples import Sample
from harness.telemetry.prometheus.exposition import text_of

SUFFIX: Final = ".prom"
_FAMILY_OF: Final = {name: family for family in table.FAMILIES for name in family.sample_names}

# The series of a cell: name and labels (in the order of the table) to the sample.
_Cell: TypeAlias = dict[tuple[str, Labels], Sample]


class TextfileError(Exception):
    """The file cannot be written, or is not ours; the message says what to do."""


def write_textfile(
    documents: Iterable[Mapping[str, Any]],
    path: str | Path,
    *,
    run_info: bool = True,
    skipped: Callable[[str], None] | None = None,
) -> int:
    """Write runs, oldest first, over what the file holds. Answers how many cells it holds then. ``skipped`` is called
    with a document that is not whole; without it that is an error.

    Raises:
        TextfileError: it cannot be written, holds something else, or has a name that no collector reads.
        DocumentError: a document is not whole.

    """
    target = Path(path)
    if target.suffix != SUFFIX:
        raise TextfileError(f"the node exporter reads only files that end in {SUFFIX}: rename {str(target)!r}")
    try:
        with _alone(target):
            cells = _read(target)
            for document in documents:
                try:
                    cells |= _changed(cells, document, run_info=run_info)
                except DocumentError as error:
                    if skipped is None:
                        raise
                    skipped(str(error))
            write_whole(target, text_of(sample for cell in cells.values() for sample in cell.values()))
    except OSError as error:
        raise TextfileError(f"cannot write metrics to {str(target)!r}: {error.strerror or error}") from error
    return len(cells)


def _changed(
    cells: Mapping[Labels, _Cell], document: Mapping[str, Any], *, run_info: bool
) -> dict[Labels, _Cell]:  # fmt: skip
    """The cells of a document, as they are with it."""
    found: dict[Labels, _Cell] = {}
    try:
        for result in results_of(document):
            if result["samples"]:
                labels = result_labels(result, str(document["scenario"]))
                before = found.get(labels) or cells.get(labels, {})
                found[labels] = _with(before, labels, document, result, run_info=run_info)
    except (KeyError, TypeError, ValueError) as error:
        raise DocumentError(f"run {document.get('run_id')} cannot be written: {error}") from error
    return found


def _with(
    before: _Cell, labels: Labels, document: Mapping[str, Any], result: Mapping[str, Any], *, run_info: bool
) -> _Cell:  # fmt: skip
    completed = completed_at(document, result) / NANOSECONDS
    known = before.get((table.RUN_COMPLETED.name, labels))
    if known is not None and known.value >= completed:
        return before
    now: _Cell = {(one.name, one.labels): one for one in _samples(document, result, labels, completed)}
    if run_info:
        info = info_sample(document, result, labels)
        now[info.name, info.labels] = info
    for key, sample in before.items():
        if sample.family.type != "gauge":
            added = now.get(key)
            now[key] = sample if added is None else sample._replace(value=sample.value + added.value)
    return now


def _samples(
    document: Mapping[str, Any], result: Mapping[str, Any], labels: Labels, completed: float
) -> Iterator[Sample]:  # fmt: skip
    compared = compared_at(document, result)
    yield from run_samples(result, labels, completed_seconds=completed, compared_seconds=compared)
    yield Sample(table.WORKERS, labels, float(result["workers"]))
    if is_simulated(document, result):
        return
    yield from count_samples(result, labels)
    begin = repetition_begins(document, result)[shown_repetition(result)]
    yield from step_totals(result, timeline_from_document(result), begin=begin).samples(labels)


def _read(path: Path) -> dict[Labels, _Cell]:
    """What the file holds, by cell."""
    cells: dict[Labels, _Cell] = {}
    if not path.exists():
        return cells
    try:
        families = list(text_string_to_metric_families(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise TextfileError(f"{str(path)!r} holds no metrics ({error}): remove it, or name another file") from error
    for found in (sample for family in families for sample in family.samples):
        family = _FAMILY_OF.get(found.name)
        if family is None or not found.labels.keys() >= set(table.CELL_LABELS):
            raise TextfileError(f"{str(path)!r} holds {found.name}, which makespan did not write: name another file")
        labels = tuple((name, found.labels[name]) for name in table.CELL_LABELS)
        others = (*family.labels, "le")
        whole = (*labels, *((name, found.labels[name]) for name in others if name in found.labels))
        suffix = found.name.removeprefix(family.name)
        cells.setdefault(labels, {})[found.name, whole] = Sample(family, whole, found.value, suffix)
    return cells


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """No other process adds to the file meanwhile."""
    with path.with_name(f".{path.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
