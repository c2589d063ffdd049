"""A diagnosis of a trace as text, and what is usual in groups of traces: figures, lost time, what is possible. Pure.

Rules of this module:
- Names come from traces: each is shown as one harmless line.
- Whatever rests on an assumption says so beside it, and how to settle it is said once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from harness.plain_text import counted, duration_text, duration_texts, gain_text, one_line, some_of
from harness.report.terminal.console import Line, table_lines
from harness.statistics import Interval
from harness.traces.diagnosis.advice import Together
from harness.traces.diagnosis.diagnosis import Barrier, Diagnosis
from harness.traces.diagnosis.trace_groups import Difference, Group, Slow
from harness.traces.prediction.predicted_makespans import UNLIMITED, Limit, Predicted
from harness.traces.prediction.raised_limits import Raised

_NAME: Final = 48
_PATH_SHOWN: Final = 10
_ROWS_SHOWN: Final = 5
_FINDINGS_SHOWN: Final = 12
_NAMES_SHOWN: Final = 8
_WORTH_SAYING_RATIO: Final = 0.01
_NOTHING_RATIO: Final = 0.005
SETTLE: Final = (
    "The trace does not show whether steps marked * need each other: they only ran in that order. "
    "Say what depends on what with --edges FILE: `a -> b`, or `a -/> b` for what is not needed."
)
CHECK: Final = (
    "To check what is sure: `--scenario FILE` makes a scenario of it, to be changed and run; then change the program, "
    "and trace it again."
)
_GROUPS_SHOWN: Final = 8
_SPANS_SHOWN: Final = 6
_CAUSES_SHOWN: Final = 5
# A trace that takes that much longer than the median one is slow.
_SLOW_RATIO: Final = 1.1


def analysis_lines(diagnosis: Diagnosis) -> Iterator[Line]:
    """Everything there is to say about one trace."""
    yield from _head_lines(diagnosis)
    yield from _cause_lines(diagnosis)
    yield from _together_lines(diagnosis)
    yield from prediction_lines(diagnosis)
    yield from note_lines(diagnosis)


def _head_lines(diagnosis: Diagnosis) -> Iterator[Line]:
    run, figures = diagnosis.run, diagnosis.figures
    steps = counted(len(run.timeline.step_ids), "step")
    name = one_line(run.workflow, 60) or "a workflow without a name"
    identity = one_line(run.trace_id, 32) or "without an id"
    yield Line(f"Trace {identity} of {name} ({steps}, from {one_line(run.source, 60)}):", "bold")
    yield _figure("makespan", duration_text(figures.makespan_seconds))
    yield _figure("to gain", _headline(diagnosis))
    yield _figure("critical path", _path(diagnosis))
    mean = figures.concurrency_mean
    concurrency = "nothing ran" if mean is None else f"mean concurrency {mean:.2f}, at most {figures.concurrency_max}"
    yield _figure("work", f"{duration_text(figures.work_seconds)}; {concurrency}")
    bound = "" if figures.binding_bound is None else f", set by {one_line(figures.binding_bound.replace('_', ' '), 60)}"
    yield _figure("lower bound", f"{duration_text(figures.lower_bound_seconds)}{bound}")
    yield _figure("lost time", _lost(diagnosis))
    edges = diagnosis.edges
    yield _figure(
        "edges", ", ".join(f"{number} {label}" for label, number in edges.items() if number) or "none: nothing follows"
    )


def _headline(diagnosis: Diagnosis) -> str:
    """What another schedule gains for sure, what it may gain, and what would settle it."""
    found, whole = diagnosis.headline, diagnosis.figures.makespan_seconds
    sure = (
        "nothing for sure" if not found.sure_gain_seconds else f"{gain_text(found.sure_gain_seconds, whole)} for sure"
    )
    if found.possible_gain_seconds <= found.sure_gain_seconds:
        return f"{sure}, nothing more by another schedule"
    possible = gain_text(found.possible_gain_seconds, whole)
    return f"{sure}, at most {possible}; to know: {'; or '.join(found.settle)}"


def _figure(name: str, text: str) -> Line:
    return Line(f"  {name:<15} {text}")


def _path(diagnosis: Diagnosis) -> str:
    figures = diagnosis.figures
    number = {step_id: step for step, step_id in enumerate(diagnosis.run.timeline.step_ids)}
    worth = [
        part for part in figures.critical_path if part.share_ratio is None or part.share_ratio >= _WORTH_SAYING_RATIO
    ]
    shown = worth or figures.critical_path  # of a path of many short steps, each is less than worth a word
    parts = [
        f"{_in_its_caller(diagnosis, number[part.step_id])} {duration_text(part.seconds)}"
        + ("" if part.share_ratio is None else f" ({part.share_ratio:.0%})")
        for part in shown[:_PATH_SHOWN]
    ]
    more = f" → … {len(shown) - _PATH_SHOWN} more" if len(shown) > _PATH_SHOWN else ""
    return f"{' → '.join(parts)}{more} = {duration_text(figures.critical_path_seconds)}"


def _in_its_caller(diagnosis: Diagnosis, step: int) -> str:
    """A step's id, behind that of the step that holds it."""
    name, caller = diagnosis.name(step), diagnosis.caller(step)
    return one_line(name if caller is None else f"{caller} › {name}", _NAME)


def _lost(diagnosis: Diagnosis) -> str:
    whole = diagnosis.figures.makespan_seconds
    if whole <= 0:
        return "nothing: it took no time"
    parts = [
        f"{_cause(cause)} {duration_text(seconds)} ({seconds / whole:.0%})"
        for cause, seconds in diagnosis.lost_seconds.items()
        if seconds >= _WORTH_SAYING_RATIO * whole / 2
    ]
    return ", ".join(parts)


def _cause(cause: str) -> str:
    return one_line(cause.replace("_", " "), 40)


# ---------------------------------------------------------------------- causes


def _cause_lines(diagnosis: Diagnosis) -> Iterator[Line]:
    whole = diagnosis.figures.makespan_seconds
    least = _WORTH_SAYING_RATIO * whole
    barriers = [one for one in diagnosis.barriers if max(one.lost_seconds, one.waited_seconds) >= least]
    for one in barriers[:_ROWS_SHOWN]:
        yield Line(f"  barrier: {_barrier(diagnosis, one)}")
    yield from _more(len(barriers), "barrier")
    gaps = [gap for gap in diagnosis.gaps if gap.seconds >= least]
    if gaps:
        yield Line(
            f"  gaps: {duration_text(diagnosis.gap_seconds)} in all that no span covers; the longest, with what ran "
            "there unknown:"
        )
    for gap in gaps[:_ROWS_SHOWN]:
        where = (
            f"inside {one_line(diagnosis.name(gap.step), _NAME)!r}" if gap.step >= 0 else "between the outermost spans"
        )
        note = "" if gap.on_the_way else " (not on the way of the makespan)"
        yield Line(f"    {duration_text(gap.seconds)} {where}, from {duration_text(gap.start_seconds)}{note}")
    yield from _more(len(gaps), "gap")
    for queue in diagnosis.queues[:_ROWS_SHOWN]:
        yield Line(
            f"  queueing: {counted(queue.steps, 'call')} of {one_line(queue.name, _NAME)!r}, never more than "
            f"{queue.at_once} at once, each begun as another ended: something lets {queue.at_once} through "
            f"({duration_text(queue.waited_seconds)} waited, all calls together)"
        )
        raised = [one for one in diagnosis.raised if one.queue is queue]
        if raised:
            gains = [f"{_raised(one)} {_gain(one.makespan_seconds, whole)}" for one in raised]
            yield Line(f"    if that is a limit, raising it by itself gains: {', '.join(gains)}; try it to be sure")
    yield from _more(len(diagnosis.queues) + diagnosis.left_out.get("queues", 0), "queue")
    for retried in diagnosis.retries[:_ROWS_SHOWN]:
        yield Line(
            f"  retries: {one_line(diagnosis.name(retried.step), _NAME)!r} took {retried.attempts} attempts; the "
            f"failed ones ran {duration_text(retried.failed_seconds)}, and {duration_text(retried.backoff_seconds)} "
            "went by between them"
        )
    yield from _more(len(diagnosis.retries) + diagnosis.left_out.get("retries", 0), "retried step")


def _more(count: int, what: str) -> Iterator[Line]:
    """How many of them have no line."""
    if count > _ROWS_SHOWN:
        yield Line(f"    … and {counted(count - _ROWS_SHOWN, f'more {what}')} (--json FILE)")


def _raised(one: Raised) -> str:
    return "without it" if one.at_once is None else f"{one.at_once} at once"


def _barrier(diagnosis: Diagnosis, one: Barrier) -> str:
    waiting = _names(diagnosis, one.waiting)
    slowest = "the slowest" if one.slowest < 0 else repr(one_line(diagnosis.name(one.slowest), _NAME))
    cost = (
        f"{duration_text(one.lost_seconds)} of the makespan"
        if one.lost_seconds > 0
        else f"nothing of the makespan, {duration_text(one.waited_seconds)} of waiting"
    )
    if not one.certain:
        return (
            f"{waiting} waited until {slowest} had ended; the trace does not say whether that was needed: if not, it "
            f"cost up to {duration_text(one.lost_seconds)} (--edges FILE settles it)"
        )
    needs = "does not need it" if len(one.waiting) == 1 else "none of them needs it"
    return f"{waiting} waited until {slowest} had ended, and {needs}: that cost {cost}"


def _names(diagnosis: Diagnosis, steps: Sequence[int]) -> str:
    return some_of([one_line(diagnosis.name(step), _NAME) for step in steps], _NAMES_SHOWN)


# ---------------------------------------------------------------------- what is possible


def _together_lines(diagnosis: Diagnosis) -> Iterator[Line]:
    whole = diagnosis.figures.makespan_seconds
    least = _WORTH_SAYING_RATIO * whole
    sets = [one for one in diagnosis.together if one.gain_seconds >= least]
    inside = {frozenset(one.steps) for one in sets}
    pairs = [
        one
        for one in diagnosis.pairs
        if one.gain_seconds >= least and not any(set(one.steps) <= several for several in inside)
    ]
    if not sets and not pairs:
        return
    yield Line(
        "  One after the other, with no known dependency between them; running them together would gain:", "bold"
    )
    found = sorted([*sets[:_ROWS_SHOWN], *pairs[:_ROWS_SHOWN]], key=lambda one: -one.gain_seconds)
    for one in found:
        yield Line(f"    {gain_text(one.gain_seconds, whole)}  {_together(diagnosis, one)}")
    left = len(sets) + len(pairs) - len(found)
    if left:
        yield Line(f"    … and {left:,} more (--json FILE)")
    if any(one.assumed for one in found):
        yield Line(f"    {SETTLE}", "yellow")
    if any(not one.assumed for one in found):
        yield Line(f"    {CHECK}")


def _together(diagnosis: Diagnosis, one: Together) -> str:
    evidence = ", ".join(one.evidence)
    if one.assumed:
        return f"{_names(diagnosis, one.steps)} * (assumed: {evidence or 'observed order'} alone is between them)"
    needs = f"what the later ones need is stated by {evidence}" if evidence else "the later ones need nothing"
    return f"{_names(diagnosis, one.steps)} (sure: {needs})"


def prediction_lines(diagnosis: Diagnosis) -> Iterator[Line]:
    """What other numbers of workers, and limits, would make of it."""
    found = diagnosis.predictions
    if not found.by_workers:
        return
    whole = diagnosis.figures.makespan_seconds
    hopeful = any(one.without_assumed_seconds is not None for one in found.by_workers.values())
    yield Line("  The same spans under policy dataflow, on the virtual clock:", "bold")
    head = ["workers", "makespan", "gain"]
    without = "if no assumed edge is real" if diagnosis.assumed_edges else "if nothing held them back"
    head += [without, "gain"] if hopeful else []
    rows = [[workers, *_predicted(one, whole)] for workers, one in found.by_workers.items()]
    unlimited = found.by_workers[UNLIMITED].makespan_seconds
    rows += [
        [f"16, {_limit(limit)}", *_predicted(one, whole)]
        for limit, one in found.limited
        if one.makespan_seconds > (1 + _WORTH_SAYING_RATIO) * unlimited
    ]
    yield from table_lines(head, rows)
    if diagnosis.assumed_edges:
        yield Line(
            f"    {counted(diagnosis.assumed_edges, 'edge')} assumed, from the observed order alone: settle it with "
            "--edges FILE.",
            "yellow",
        )
    if found.left_out:
        yield Line(f"    {counted(found.left_out, 'prediction')} left out: the trace is large", "yellow")


def _predicted(one: Predicted, whole: float) -> list[str]:
    cells = [duration_text(one.makespan_seconds), _gain(one.makespan_seconds, whole)]
    if one.without_assumed_seconds is not None:
        cells += [duration_text(one.without_assumed_seconds), _gain(one.without_assumed_seconds, whole)]
    return cells


def _gain(seconds: float, whole: float) -> str:
    return gain_text(whole - seconds, whole, nothing_ratio=_NOTHING_RATIO) if whole > 0 else "nothing"


def _limit(limit: Limit) -> str:
    parts = []
    if limit.rate_per_minute is not None:
        parts.append(f"{limit.rate_per_minute:g} calls a minute")
    if limit.capacity is not None:
        parts.append(f"{limit.capacity} calls at once")
    return f"{one_line(limit.service, 40)} {' and '.join(parts)}"


def note_lines(diagnosis: Diagnosis) -> Iterator[Line]:
    """What the trace lacks, or what else was found about it, and what follows from that."""
    findings = diagnosis.run.findings
    for finding in findings[:_FINDINGS_SHOWN]:
        number = f"{finding.count:,} × " if finding.count > 1 else ""
        yield Line(f"  note: {number}{one_line(finding.message, 300)}: {one_line(finding.effect, 300)}", "yellow")
    if len(findings) > _FINDINGS_SHOWN:
        yield Line(f"  … and {counted(len(findings) - _FINDINGS_SHOWN, 'more note')} (--json FILE)", "yellow")


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
    lost = [f"{_cause(cause)} {_interval(found)}" for cause, found in group.lost.items()]
    if lost:
        yield Line(f"  lost time, medians: {some_of(lost, _CAUSES_SHOWN)}")
    path = [f"{one_line(span, _NAME)} in {share:.0%}" for span, share in group.on_path.items()]
    if path:
        yield Line(f"  on the critical path: {some_of(path, _SPANS_SHOWN)}")
    for slow in group.slowest:
        if slow.digest.makespan_seconds < _SLOW_RATIO * group.makespan.median:
            continue
        yield Line(f"  slow: {_slow(slow, group)}")
    lacking = [one for one in group.digests if one.findings]
    if lacking:
        yield Line(
            f"  note: of {counted(len(lacking), 'trace')} there is something to beware of, as of "
            f"{one_line(lacking[0].trace_id, 32)} (--trace ID shows what)",
            "yellow",
        )
    if typical is not None:
        identity = one_line(typical.run.trace_id, 32)
        yield Line(f"  The typical trace is {identity} ({one_line(typical.run.source, 60)}):")
        yield from prediction_lines(typical)
        yield from note_lines(typical)


def _slow(slow: Slow, group: Group) -> str:
    digest = slow.digest
    usual = group.makespan.median
    times = f"{digest.makespan_seconds / usual:.2f}× the median" if usual > 0 else "where the median is no time at all"
    head = f"{one_line(digest.trace_id, 32)} took {duration_text(digest.makespan_seconds)}, {times}"
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
