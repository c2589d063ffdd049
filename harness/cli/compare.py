"""``makespan compare``: what changed between two runs, or between a run and those that were accepted before it.

Rules of this module:
- Without a limit (``--fail-if``) a comparison tells and judges nothing: its exit status is 0.
- With ``--json -`` or ``--markdown -`` stdout holds that alone; the text goes to stderr.
- Which accepted runs count is decided by :mod:`harness.compare.against`; here they are only fetched.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from harness.cells import machine_class
from harness.cli.guard import UsageFault
from harness.cli.stores import store_to_read
from harness.compare import (
    Against,
    Comparison,
    Judgement,
    Threshold,
    against,
    compare,
    comparison_document,
    fail_if,
    markdown,
    parse_against,
    text,
)
from harness.compare.comparing import cells_of
from harness.config import load_config
from harness.exit_codes import ExitCode
from harness.json_files import STDOUT, check_writable, write_json, write_text
from harness.report.terminal import Line, Terminal, one_line
from harness.store import Store
from harness.store_references import load_all, load_reference

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for, as typed."""

    before: str | None = None
    after: str | None = None
    against: str | None = None
    history: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    force: bool = False
    json_target: str | None = None
    markdown_target: str | None = None
    store: str | None = None
    config_path: str | None = None


def compare_runs(request: Request) -> ExitCode:
    """Compare, tell, write, judge.

    Raises:
        UsageFault: options do not fit together.
        ThresholdError: a limit or a baseline does not parse.
        StoreError: a run cannot be found or read.
        CompareError: the runs cannot be compared, or not without force.
        OutputError: a result cannot be written.

    """
    limits = [fail_if(typed) for typed in request.limits]
    rule = None if request.against is None else parse_against(request.against)
    _check(request)
    config = load_config(request.config_path)
    with store_to_read(request.store, config) as store:
        comparison = _compared(request, store) if rule is None else _against_history(request, rule, store)
    judgements = [limit.judge(comparison) for limit in limits]
    to_stdout = STDOUT in (request.json_target, request.markdown_target)
    terminal = Terminal(sys.stderr) if to_stdout else Terminal()
    with ExitStack() as afterwards:
        # One that cannot be written is told once the rest is there.
        afterwards.callback(_write, comparison, judgements, request)
        terminal.write(Line(line) for line in text(comparison).splitlines())
        terminal.write(_judgement_lines(judgements, comparison))
    return ExitCode.FINE if all(one.met for one in judgements) else ExitCode.EXPECTATION


def _check(request: Request) -> None:
    if request.against is None and request.history:
        raise UsageFault("--history names the runs that --against judges by: give --against, too")
    if request.against is not None and request.after is not None:
        raise UsageFault("--against takes the place of the first run: give one run alone")
    if request.json_target is not None:
        check_writable(request.json_target)
    if request.markdown_target is not None:
        check_writable(request.markdown_target, "Markdown")
    if request.json_target == request.markdown_target == STDOUT:
        raise UsageFault("--json - and --markdown - at once: give one of them a file")


def _compared(request: Request, store: Store | None) -> Comparison:
    before = load_reference(request.before or "@last~1", store)
    after = load_reference(request.after or "@last", store)
    return compare(before, after, force=request.force)


def _against_history(request: Request, rule: Against, store: Store | None) -> Comparison:
    document = load_reference(request.before or "@last", store)
    if request.history:
        history: list[Document] = [one for named in request.history for one in load_all(named, store)]
        history = [one for one in history if str(one["started_at"]) < str(document["started_at"])]
    else:
        history = [] if store is None else list(_accepted(document, rule, store))
    return against(rule, document, history)


def _accepted(document: Document, rule: Against, store: Store) -> Iterator[Document]:
    """The newest accepted runs until there are enough of each cell. Runs of several scenarios count for each."""
    wanted = dict.fromkeys(cells_of(document), rule.wanted)
    scenarios = {cell.scenario for cell in wanted}
    here = machine_class(document["environment"])
    for run in store.history(machine=here, verdict="accepted", before=str(document["run_id"])):
        if max(wanted.values(), default=0) <= 0:
            return
        if run.started_at >= str(document["started_at"]) or not scenarios & {run.scenario, *run.scenario.split(" + ")}:
            continue
        earlier = store.document(run.run_id)
        shared = wanted.keys() & cells_of(earlier).keys()
        for cell in shared:
            wanted[cell] -= 1
        if shared:
            yield earlier


def _judgement_lines(judgements: Sequence[Judgement], comparison: Comparison) -> Iterator[Line]:
    for one in judgements:
        if not comparison.cells:
            yield Line(f"not judged by {one.threshold}: there is nothing to compare", "yellow")
            continue
        yield Line(f"{'met' if one.met else 'NOT MET'}: {one.threshold}", "green" if one.met else "bold red")
        for line in str(one).splitlines():
            yield Line(f"  {one_line(line, 400)}")


def _write(comparison: Comparison, judgements: Sequence[Judgement], request: Request) -> None:
    if request.json_target is not None:
        document = comparison_document(comparison)
        document["limits"] = [_limit_document(one) for one in judgements]
        write_json(document, request.json_target)
    if request.markdown_target is not None:
        lines = [f"\n{'Met' if one.met else '**Not met**'}: `{one.threshold}`\n" for one in judgements]
        write_text(markdown(comparison) + "".join(lines), request.markdown_target, "Markdown")


def _limit_document(judgement: Judgement) -> dict[str, Any]:
    limit: Threshold = judgement.threshold
    return {
        "limit": str(limit),
        "metric": limit.metric,
        "change_ratio": limit.change_ratio,
        "met": judgement.met,
        "failed": [
            {"cell": str(one.cell), "ratio": change.ratio.median, "ci95": list(change.ratio.ci95 or ()) or None}
            for one, change in judgement.failed
        ],
        "unjudged": [str(one.cell) for one in judgement.unjudged],
    }
