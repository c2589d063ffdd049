"""A benchmark as text: a table of cells, what held each back, what would help, what to beware of. Pure.

Rules of this module:
- All of it comes from the document, so that a stored run reads like a fresh one.
- No speedup without its interval, and no verdict where the interval spans 1.
- What a stand-in or a simulation made is labelled as that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from harness.analysis.remedy import WORTH_ACTING_RATIO
from harness.benchmark.budget import Budget, Estimate
from harness.expectations import Verdict
from harness.plain_text import aligned, counted, duration_text, duration_texts, gain_text, one_line, some_of
from harness.report.terminal.console import Line
from harness.report.terminal.plots import lost_time_lines, speedup_lines
from harness.report.terminal.summary_text import startup_counts
from harness.result.cell_key import cell_of

Result = Mapping[str, Any]

_HEAD: Final = ("cell", "makespan", "95 % interval", "speedup", "95 % interval", "verdict", "efficiency", "lower bound")
_VERDICT_STYLES: Final = {"faster": "green", "slower": "red"}
_WARNINGS_SHOWN: Final = 20
_LABELS_SHOWN: Final = 4
_LIMITS_SHOWN: Final = 3
_VERDICTS_SHOWN: Final = 3
# Gains below this share of the makespan are not worth a line.
_WORTH_SAYING_RATIO: Final = 0.01
_STOPPED: Final = {
    "width": "every interval is as narrow as asked",
    "time": "the time is up",
    "calls": "one more run would go beyond --max-calls",
    "tokens": "one more run would go beyond --max-tokens",
    "interrupted": "interrupted: what was finished is kept",
    "failed": "something broke: what was finished is kept",
}


def bench_lines(
    document: Mapping[str, Any], *, plot_columns: int | None = None, ascii_only: bool = False
) -> Iterator[Line]:
    """Everything there is to say about a benchmark, expectations aside. ``plot_columns``: with plots of that width."""
    results = document["results"]
    if document["environment"].get("stand_in"):
        yield Line(
            "[STAND-IN: no model was asked; the answers come from the stand-in service on this machine]", "yellow"
        )
    for scenario in dict.fromkeys(result["scenario"] for result in results):
        of_it = [one for one in results if one["scenario"] == scenario]
        yield from _scenario_lines(scenario, of_it, document)
        if plot_columns is not None:
            yield from _plot_lines(of_it, plot_columns, ascii_only=ascii_only)
        yield Line("")
    yield from _end_lines(document)


def _scenario_lines(scenario: str, results: Sequence[Result], document: Mapping[str, Any]) -> Iterator[Line]:
    most = max(result["repetitions"] for result in results)
    yield Line(f"Benchmark of {one_line(scenario, 60)}, {counted(most, 'repetition')}:", "bold")
    startup = any(map(_startup_counts, results))
    table = [(*_HEAD, "start-up"), *((*_row(result), _startup(result)) for result in results)]
    head, *rows = aligned(table if startup else [row[:-1] for row in table])
    yield Line(f"  {head}", "dim")
    for result, row in zip(results, rows, strict=True):
        yield Line(f"  {row}", _VERDICT_STYLES.get(str(result["speedup_verdict"]), ""))
        yield Line(f"      {_loss(result)}")
    yield from _warning_lines(results)
    for law in document.get("benchmark", {}).get("scalability", ()):
        if law["scenario"] == scenario:
            where = f"{law['executor']}/{law['policy']}{_parameters(law['parameters'])}"
            yield Line(f"  workers of {one_line(where, 60)}: {one_line(law['text'], 300)}")
    for result in results:
        if result.get("predicted_gains"):
            yield from _gain_lines(result)


def _plot_lines(results: Sequence[Result], columns: int, *, ascii_only: bool) -> Iterator[Line]:
    """The speedups on one scale, and where the time of the fastest cell went."""
    beside = [one for one in results if one["speedup_ratio"] is not None and not _is_baseline(one)]
    if not beside:
        return
    yield Line("  Speedup over one step at a time:", "bold")
    for line in speedup_lines(beside, columns - 4, ascii_only=ascii_only):
        yield Line(f"    {line}")
    fastest = min(beside, key=lambda one: float(one["makespan_seconds"]["median"]))
    yield Line(f"  Where the makespan of {_label(fastest)} went:", "bold")
    for line in lost_time_lines(fastest["lost_seconds"], columns - 4, ascii_only=ascii_only):
        yield Line(f"    {line}")


def _is_baseline(result: Result) -> bool:
    """What the others are compared with: serial, or what represents it where nothing really runs."""
    alone = result["workers"] == 1 and result["policy"] == "dataflow"
    return result["executor"] == "serial" or (bool(result.get("simulated")) and alone)


def _row(result: Result) -> tuple[str, ...]:
    makespan, speedup = result["makespan_seconds"], result["speedup_ratio"]
    is_baseline = _is_baseline(result)
    verdict = "baseline" if is_baseline else (result["speedup_verdict"] or "no baseline")
    if result.get("simulated"):
        verdict = f"{verdict} (simulated)"
    efficiency = result["efficiency_ratio"]
    bound = result["schedule_efficiency_ratio"]
    median, *ends = duration_texts(makespan["median"], *(makespan["ci95"] or ()))
    return (
        _label(result),
        median,
        " to ".join(ends),
        "" if speedup is None else f"{speedup['median']:.2f}×",
        "" if speedup is None or speedup["ci95"] is None or is_baseline else " to ".join(
            f"{end:.2f}" for end in speedup["ci95"]
        ),
        verdict,
        "" if efficiency is None else f"{efficiency:.0%}",
        "" if bound is None else f"{duration_text(result['lower_bound_seconds'])} ({bound:.0%})",
    )  # fmt: skip


def _startup_counts(result: Result) -> bool:
    """Whether what it took to start the workers is worth a column."""
    makespan = float(result["makespan_seconds"]["median"])
    return not result.get("simulated") and startup_counts(startup_seconds(result), makespan)


def _startup(result: Result) -> str:
    return "" if result.get("simulated") else duration_text(startup_seconds(result))


def startup_seconds(result: Result) -> float:
    """What it takes to bring the workers up where none were kept."""
    return float(result.get("cold_startup_seconds", result["startup_seconds"]))


def _label(result: Result) -> str:
    cell = cell_of(result, "")
    text = f"{cell.executor}@{cell.workers}"
    if cell.executor != "serial":
        text += f"/{cell.policy}"
    return one_line(text + _parameters(result["parameters"]), 48)


def _parameters(parameters: Mapping[str, Any]) -> str:
    label = cell_of({"executor": "", "workers": 0, "policy": "", "parameters": parameters}, "").label
    return label.partition("/")[2]


def _loss(result: Result) -> str:
    cause, makespan = result["largest_lost_cause"], sum(result["lost_seconds"].values())
    remedy = one_line(result["remedy"], 500)
    if any(step["status"] == "failed" for step in result["steps"]):
        return remedy
    if cause is None or makespan <= 0:
        return f"lost nothing: {remedy}"
    if result["lost_seconds"][cause] < WORTH_ACTING_RATIO * makespan and not _is_baseline(result):
        return f"lost little: {remedy}"
    head = f"lost most to {one_line(cause, 40)}, {result['lost_seconds'][cause] / makespan:.0%}"
    # What to do about a baseline is what the other rows are about.
    return head if _is_baseline(result) else f"{head}: {remedy}"


def _warning_lines(results: Sequence[Result]) -> Iterator[Line]:
    """Each warning once, with the cells that it is about."""
    about: dict[str, list[str]] = {}
    for result in results:
        for text in result["cautions"]:
            about.setdefault(text, []).append(_label(result))
    for text, labels in list(about.items())[:_WARNINGS_SHOWN]:
        names = "every cell" if len(labels) == len(results) > 1 else some_of(labels, _LABELS_SHOWN)
        yield Line(f"  warning: {names}: {one_line(text, 500)}", "yellow")
    if len(about) > _WARNINGS_SHOWN:
        yield Line(f"  … and {counted(len(about) - _WARNINGS_SHOWN, 'more warning')} (--json FILE)", "yellow")


def _gain_lines(result: Result) -> Iterator[Line]:
    gains = result["predicted_gains"]
    whole = gains["simulated_makespan_seconds"]
    steps = [one for one in gains["steps"] if one["whole_seconds"] > _WORTH_SAYING_RATIO * whole]
    limits = [one for one in gains["limits"] if one["seconds"] > _WORTH_SAYING_RATIO * whole]
    critical = {part["step_id"]: part for part in result["critical_path"]}
    head = (
        f"  What would help {_label(result)}, by running it again on the virtual clock ({duration_text(whole)} there):"
    )
    yield Line(head, "bold")
    for one in steps:
        part = critical.get(one["step_id"])
        share = (
            "" if part is None or part["share_ratio"] is None else f"; {part['share_ratio']:.0%} of the critical path"
        )
        yield Line(
            f"    step {one_line(one['step_id'], 40)!r} in half the time: {gain_text(one['half_seconds'], whole)}; "
            f"in none: {gain_text(one['whole_seconds'], whole)}{share}"
        )
    for one in limits[:_LIMITS_SHOWN]:
        change = f"{one_line(one['limit'], 40)} {one['before']:g} → {one['after']:g}"
        yield Line(f"    {change}: {gain_text(one['seconds'], whole)}")
    if not steps:
        yield Line("    no step by itself: there are others as long beside each")
    if not limits:
        yield Line("    no limit: doubling the workers, or any one limit, gains nothing")


def _end_lines(document: Mapping[str, Any]) -> Iterator[Line]:
    benchmark = document.get("benchmark", {})
    stopped = _STOPPED.get(str(benchmark.get("stopped_by")))
    if stopped is not None:
        yield Line(f"Stopped after {counted(benchmark['rounds'], 'round')}: {stopped}.", "bold")
    if benchmark.get("too_wide"):
        names = ", ".join(one_line(name, 60) for name in benchmark["too_wide"][:5])
        yield Line(f"  wider than asked: {names}: more repetitions, or a quieter machine", "yellow")
    if benchmark.get("calls"):
        tokens = f", {benchmark['tokens']:,} tokens" if benchmark["tokens"] else ""
        yield Line(f"{counted(benchmark['calls'], 'call')} to services{tokens}, warm-up included.")


def expectation_lines(verdicts: Iterable[tuple[str, Verdict]], skipped: Sequence[str] = ()) -> Iterator[Line]:
    """Each expectation with its scenario and what was measured. ``skipped``: lines about cells that were not asked for
    this time.
    """
    groups: dict[tuple[str, str], list[Verdict]] = {}
    for scenario, verdict in verdicts:
        groups.setdefault((scenario, verdict.line), []).append(verdict)
    if groups or skipped:
        missed = sum(1 for group in groups.values() for verdict in group if not verdict.met)
        total = sum(len(group) for group in groups.values())
        yield Line(f"Expectations ({total - missed} met, {missed} not):", "bold")
    several = len({scenario for scenario, _ in groups}) > 1
    for (scenario, line), group in groups.items():
        name = f"{one_line(scenario, 40)}: " if several else ""
        met = [verdict for verdict in group if verdict.met]
        if len(met) > _VERDICTS_SHOWN:
            yield Line(f"  {name}met: {one_line(line, 200)}: in {counted(len(met), 'cell')}", "green")
            met = []
        for verdict in group:
            if verdict in met or not verdict.met:
                yield Line(f"  {name}{one_line(str(verdict), 400)}", "green" if verdict.met else "bold red")
    for line in skipped:
        yield Line(f"  not judged, its cell was not asked for: {one_line(line, 200)}", "dim")


def dry_run_lines(expected: Estimate, budget: Budget, width_ratio: float | None) -> Iterator[Line]:
    """What a benchmark would take, without taking it."""
    yield Line("Nothing is run. This benchmark would take:", "bold")
    for one in expected.cases:
        name = one_line(one.case.scenario + _parameters(one.case.loaded.parameters), 60)
        guessed = f" ({counted(one.tokens_guessed, 'step')} of them guessed)" if one.tokens_guessed else ""
        unstated = f" (without {counted(one.seconds_unstated, 'step')} that state none)" if one.seconds_unstated else ""
        yield Line(f"  {name}: {counted(one.cells, 'cell')}, {counted(one.runs, 'run')}, warm-up included")
        yield Line(f"    calls of models and services: {one.calls_a_run} a run, {one.calls:,} in all")
        yield Line(f"    tokens, estimated: {one.tokens_a_run:,} a run{guessed}, {one.tokens:,} in all")
        yield Line(f"    time, by stated durations: {duration_text(one.seconds)}{unstated}")
    yield Line(
        f"In all: {counted(expected.runs, 'run')}, {expected.calls:,} calls, about {expected.tokens:,} tokens, "
        f"{duration_text(expected.seconds)}"
    )
    if width_ratio is not None:
        yield Line(f"  at most: it ends earlier once every interval is within {width_ratio:.0%}")
    limits = [("--max-calls", budget.max_calls, expected.calls), ("--max-tokens", budget.max_tokens, expected.tokens)]
    for option, most, wanted in limits:
        if most is not None:
            yield Line(f"  {option} {most:,} " + ("is enough" if wanted <= most else "would end it before"))
