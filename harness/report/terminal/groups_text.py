"""Groups of traces as text: what is usual, what is on the critical path, what differs in the slowest. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from harness.plain_text import counted, duration_text, duration_texts, one_line, some_of
from harness.report.terminal.analysis_text import note_lines, prediction_lines
from harness.report.terminal.console import Line
from harness.statistics import Interval
from harness.traces.diagnosis.diagnosis import Diagnosis
from harness.traces.diagnosis.trace_groups import Difference, Group, Slow

_NAME: Final = 48
_GROUPS_SHOWN: Final = 8
_NAMES_SHOWN: Final = 6
_CAUSES_SHOWN: Final = 5
# A trace that takes that much longer than the median one is slow.
_SLOW_RATIO: Final = 1.1


def many_lines(groups: Sequence[Group], typical: Mapping[str, Diagnosis]) -> Iterator[Line]:
    """Everything there is to say about many traces."""
    traces = sum(len(group.digests) for group in groups)
    yield Line(f"{counted(traces, 'trace')} of {counted(len(groups), 'workflow shape')}:", "bold")
    for group in groups[:_GROUPS_SHOWN]:
        yield Line("")
        yield from _group_lines(group, typical.get(group.shape))
    if len(groups) > _GROUPS_SHOWN:
        yield Line(f"… and {counted(len(groups) - _GROUPS_SHOWN, 'more shape')} (--json FILE)")


def _group_lines(group: Group, typical: Diagnosis | None) -> Iterator[Line]:
    name = one_line(group.workflow, 60) or "a workflow without a name"
    yield Line(f"{name}, shape {group.shape}, {counted(len(group.digests), 'trace')}:", "bold")
    yield Line(f"  median makespan {_interval(group.makespan)}; median work {_interval(group.work)}")
    lost = [f"{one_line(cause, 40)} {_interval(found)}" for cause, found in list(group.lost.items())[:_CAUSES_SHOWN]]
    if lost:
        yield Line(f"  lost time, medians: {', '.join(lost)}")
    path = [f"{one_line(span, _NAME)} in {share:.0%}" for span, share in group.on_path.items()]
    if path:
        yield Line(f"  on the critical path: {some_of(path, _NAMES_SHOWN)}")
    for slow in group.slowest:
        if slow.digest.makespan_seconds < _SLOW_RATIO * group.makespan.median:
            continue
        yield Line(f"  slow: {_slow(slow, group)}")
    lacking = [one for one in group.digests if one.findings]
    if lacking:
        yield Line(
            f"  note: of {counted(len(lacking), 'trace')} there is something to beware of, as of "
            f"{one_line(lacking[0].trace_id, 32)} (--trace ID tells what)",
            "yellow",
        )
    if typical is not None:
        identity = one_line(typical.run.trace_id, 32)
        yield Line(f"  The typical trace is {identity} ({one_line(typical.run.source, 60)}):")
        yield from prediction_lines(typical)
        yield from note_lines(typical)


def _slow(slow: Slow, group: Group) -> str:
    digest = slow.digest
    times = digest.makespan_seconds / group.makespan.median if group.makespan.median > 0 else 0.0
    head = f"{one_line(digest.trace_id, 32)} took {duration_text(digest.makespan_seconds)}, {times:.2f}× the median"
    if not slow.differences:
        return f"{head}: no span is longer than usual; look at its gaps (--trace)"
    return f"{head}: {'; '.join(_difference(one) for one in slow.differences)}"


def _difference(one: Difference) -> str:
    name = one_line(one.name, _NAME)
    text = f"{name} {duration_text(one.seconds)} where {duration_text(one.usual_seconds)} is usual"
    if one.count > one.usual_count:
        text += f" ({one.count} times, usually {one.usual_count:g})"
    return text


def _interval(found: Interval) -> str:
    if found.low is None or found.high is None or found.low == found.high:
        return duration_text(found.median)
    median, low, high = duration_texts(found.median, found.low, found.high)
    return f"{median} ({low} to {high})"
