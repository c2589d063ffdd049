"""``makespan compare``: what changed between two runs, or between a run and those that were accepted before it.

Rules of this module:
- Without a limit (``--fail-if``) a comparison reports and judges nothing: its exit status is 0.
- With ``--json -`` or ``--markdown -`` stdout holds that alone; the text goes to stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack

from harness.cli.baselines import against_history, judgement_lines, limit_document
from harness.cli.guard import UsageFault
from harness.cli.requests.kept_runs import CompareRequest
from harness.cli.stores import store_to_read
from harness.compare import (
    Against,
    Comparison,
    Judgement,
    compare,
    comparison_document,
    fail_if,
    markdown,
    parse_against,
    text,
)
from harness.config import load_config
from harness.exit_codes import ExitCode
from harness.files.json_output import STDOUT, check_writable, write_json, write_text
from harness.report.terminal.console import Line, Terminal
from harness.store.run_references import load_reference
from harness.store.run_store import Store


def compare_runs(request: CompareRequest) -> ExitCode:
    """Compare, show, write, judge.

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
        comparison = _compared(request, store) if rule is None else _against(request, rule, store)
    judgements = [limit.judge(comparison) for limit in limits]
    to_stdout = STDOUT in (request.json_target, request.markdown_target)
    terminal = Terminal(sys.stderr) if to_stdout else Terminal()
    with ExitStack() as afterwards:
        # One that cannot be written is reported once the rest is there.
        afterwards.callback(_write, comparison, judgements, request)
        terminal.write(Line(line) for line in text(comparison).splitlines())
        terminal.write(judgement_lines(judgements, comparison))
    return ExitCode.FINE if all(one.met for one in judgements) else ExitCode.EXPECTATION


def _check(request: CompareRequest) -> None:
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


def _compared(request: CompareRequest, store: Store | None) -> Comparison:
    before = load_reference(request.before or "@last~1", store)
    after = load_reference(request.after or "@last", store)
    return compare(before, after, force=request.force)


def _against(request: CompareRequest, rule: Against, store: Store | None) -> Comparison:
    return against_history(load_reference(request.before or "@last", store), rule, request.history, store)


def _write(comparison: Comparison, judgements: Sequence[Judgement], request: CompareRequest) -> None:
    if request.json_target is not None:
        document = comparison_document(comparison)
        document["limits"] = [limit_document(one) for one in judgements]
        write_json(document, request.json_target)
    if request.markdown_target is not None:
        lines = [f"\n{'Met' if one.met else '**Not met**'}: `{one.threshold}`\n" for one in judgements]
        write_text(markdown(comparison) + "".join(lines), request.markdown_target, "Markdown")
