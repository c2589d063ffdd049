"""A benchmark as text: a table of cells, what held each back, what would help, what to beware of. Pure.

Rules of this module:
- All of it comes from the document, so that a stored run reads like a fresh one.
- No speedup without its interval, and no verdict where the interval spans 1.
- What a stand-in or a simulation made is labelled as that.
- Of cells that are as fast as the fastest, the one with the fewest workers is recommended; of several with as many, not
  one whose start takes longer than the run.
- A warning is shown once, with the cells that it is about, also where it differs between them in its figures alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from harness.analysis.remedy import WORTH_ACTING_RATIO
from harness.benchmark.budget import Budget, Estimate
from harness.expectations import Verdict
from harness.plain_text import aligned, columns_of, counted, duration_text, duration_texts, gain_text, one_line, some_of
from harness.report.terminal.console import Line
from harness.report.terminal.plots import lost_time_lines, speedup_lines
from harness.report.terminal.summary_text import startup_counts
from harness.result.cell_key import cell_of
from harness.statistics import cheapest_of_equals, cost_of

Result = Mapping[str, Any]

_INTERVAL: Final = "95 % interval"
_HEAD: Final = ("cell", "makespan", _INTERVAL, "speedup", _INTERVAL, "verdict", "efficiency", "lower bound")
_VERDICT_STYLES: Final = {"faster": "green", "slower": "red"}
_WARNINGS_SHOWN: Final = 20
_LABELS_SHOWN: Final = 4
_LIMITS_SHOWN: Final = 3
_VERDICTS_SHOWN: Final = 3
# Gains below this share of the makespan are not worth a line.
_WORTH_SAYING_RATIO: Final = 0.01
# From that many programs that want to run for each core on, the machine was busy.
_BUSY_RATIO: Final = 1.5
_REPETITIONS: Final = re.compile(r"\brepetitions? [\d, …]+(?:and [\d,]+ more)?")
_FIGURE: Final = re.compile(r"(?:up to )?[-−]?\d[\d.,]*(?: (?:h|min|s|ms|µs|ns)\b)?")
_STOPPED: Final = {
    "width": "every interval is as narrow as asked",
    "time": "the time is up",
    "calls": "one more run would go beyond --max-calls",
    "tokens": "one more run would go beyond --max-tokens",
    "interrupted": "interrupted: what was finished is kept",
    "failed": "something broke: what was finished is kept",
}


def bench_lines(
    document: Mapping[str, Any],
    *,
    width: int | None = None,
    plot_columns: int | None = None,
    ascii_only: bool = False,
) -> Iterator[Line]:
    """Everything there is to say about a benchmark, expectations aside. ``width``: columns that a table may have, the
    others go below; ``plot_columns``: with plots of that width.
    """
    results = document["results"]
    if document["environment"].get("stand_in"):
        yield Line(
            "[STAND-IN: no model was asked; the answers come from the stand-in service on this machine]", "yellow"
        )
    for scenario in dict.fromkeys(result["scenario"] for result in results):
        of_it = [one for one in results if one["scenario"] == scenario]
        yield from _scenario_lines(scenario, of_it, document, width)
        if plot_columns is not None:
            yield from _plot_lines(of_it, plot_columns, ascii_only=ascii_only)
        yield Line("")
    yield from _end_lines(document)


def _scenario_lines(
    scenario: str, results: Sequence[Result], document: Mapping[str, Any], width: int | None
) -> Iterator[Line]:
    most = max(result["repetitions"] for result in results)
    yield Line(f"Benchmark of {one_line(scenario, 60)}, {counted(most, 'repetition')}:", "bold")
    startup = any(map(_startup_counts, results))
    table = [(*_HEAD, "start-up"), *((*_row(result), _startup(result)) for result in results)]
    table = table if startup else [row[:-1] for row in table]
    columns = _fitting_columns(table, None if width is None else width - 2)
    head, *rows = aligned([row[:columns] for row in table])
    yield Line(f"  {head}", "dim")
    for result, row, words in zip(results, rows, table[1:], strict=True):
        style = _VERDICT_STYLES.get(str(result["speedup_verdict"]), "")
        yield Line(f"  {row}", style)
        if columns < len(words):
            yield Line(f"      {_below(words, table[0], columns)}", style)
        yield Line(f"      {_loss(result)}")
    yield from _recommendation_lines(results)
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
    chosen = _cheapest(beside)
    yield Line(f"  Where the makespan of {_label(chosen)} went:", "bold")
    for line in lost_time_lines(chosen["lost_seconds"], columns - 4, ascii_only=ascii_only):
        yield Line(f"    {line}")


def _fitting_columns(table: Sequence[Sequence[str]], width: int | None) -> int:
    """How many columns fit beside each other; an interval is not parted from what it belongs to."""
    widths = [max(map(columns_of, column)) for column in zip(*table, strict=True)]
    fitting = len(widths)
    while width is not None and fitting > 2 and sum(widths[:fitting]) + 2 * (fitting - 1) > width:
        fitting -= 1
    return fitting - 1 if fitting < len(widths) and table[0][fitting] == _INTERVAL else fitting


def _below(words: Sequence[str], head: Sequence[str], columns: int) -> str:
    """What does not fit into a row, each with its heading."""
    return ", ".join(
        f"({word})" if name == _INTERVAL else f"{name} {word}"
        for name, word in zip(head[columns:], words[columns:], strict=True) if word
    ).replace(", (", " (")  # fmt: skip


def _cheapest(results: Sequence[Result]) -> Result:
    """Of those as fast as the fastest the one with the fewest workers, and of these the one that starts soonest."""
    found = [one["makespan_seconds"] for one in results]
    intervals = [None if one["ci95"] is None else (one["ci95"][0], one["ci95"][1]) for one in found]
    return results[
        cheapest_of_equals(
            [
                (one["median"], ends, cost_of(result["workers"], startup_seconds(result), one["median"]))
                for one, ends, result in zip(found, intervals, results, strict=True)
            ]
        )
    ]


def _recommendation_lines(results: Sequence[Result]) -> Iterator[Line]:
    """The cell to use, where there is a choice and one is faster than one step at a time for certain."""
    for simulated in (False, True):
        able = [
            one for one in results
            if bool(one.get("simulated")) is simulated and not _is_baseline(one)
            and not any(step["status"] == "failed" for step in one["steps"])
        ]  # fmt: skip
        groups: dict[str, list[Result]] = {}
        for one in able:
            groups.setdefault(_parameters(one["parameters"]), []).append(one)
        for members in groups.values():
            chosen = _cheapest(members)
            if len(members) == 1 or chosen["speedup_verdict"] != "faster":
                continue
            faster = [_label(one) for one in members if _median_seconds(one) < _median_seconds(chosen)]
            beside = f"; not surely faster: {some_of(faster, _LABELS_SHOWN)}" if faster else ""
            yield Line(f"  recommended: {_label(chosen)}, {chosen['speedup_ratio']['median']:.2f}×{beside}", "bold")


def _median_seconds(result: Result) -> float:
    return float(result["makespan_seconds"]["median"])


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
    """Each warning once, with the cells that it is about; figures are those of the first."""
    about: dict[str, dict[str, str]] = {}
    for result in results:
        for text in result["cautions"]:
            alike = _FIGURE.sub("", _REPETITIONS.sub("repetitions", text))
            about.setdefault(alike, {}).setdefault(_label(result), text)
    for texts in list(about.values())[:_WARNINGS_SHOWN]:
        names = "every cell" if len(texts) == len(results) > 1 else some_of(list(texts), _LABELS_SHOWN)
        first = next(iter(texts))
        only = f" (the figures are those of {first})" if len(set(texts.values())) > 1 else ""
        yield Line(f"  warning: {names}: {one_line(texts[first], 500)}{only}", "yellow")
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
            f"    step {one_line(one['step_id'], 40)!r} in half the time gains "
            f"{gain_text(one['half_seconds'], whole)}; in none {gain_text(one['whole_seconds'], whole)}{share}"
        )
    for one in limits[:_LIMITS_SHOWN]:
        change = f"{one_line(one['limit'], 40)} {one['before']:g} → {one['after']:g}"
        yield Line(f"    {change} gains {gain_text(one['seconds'], whole)}")
    if len(limits) > _LIMITS_SHOWN:
        yield Line(f"    … and {counted(len(limits) - _LIMITS_SHOWN, 'more limit')} (--json FILE)")
    if not steps:
        yield Line("    no step by itself: there are others as long beside each")
    if not limits:
        yield Line("    no limit: doubling the workers, or any one limit, gains nothing")


def _end_lines(document: Mapping[str, Any]) -> Iterator[Line]:
    yield from _load_lines(document)
    benchmark = document.get("benchmark", {})
    stopped = _STOPPED.get(str(benchmark.get("stopped_by")))
    if stopped is not None:
        yield Line(f"Stopped after {counted(benchmark['rounds'], 'round')}: {stopped}.", "bold")
    if benchmark.get("too_wide"):
        names = some_of([one_line(name, 60) for name in benchmark["too_wide"]], _LABELS_SHOWN)
        yield Line(f"  wider than asked: {names}: more repetitions, or a quieter machine", "yellow")
    if benchmark.get("calls"):
        tokens = f", {benchmark['tokens']:,} tokens" if benchmark["tokens"] else ""
        yield Line(f"{counted(benchmark['calls'], 'call')} to services{tokens}, warm-up included.")


def _load_lines(document: Mapping[str, Any]) -> Iterator[Line]:
    """That other programs kept the machine busy when the benchmark began."""
    facts = document["environment"]
    cores, load = facts.get("usable_cores"), facts.get("load_average_at_start")
    really = any(not result.get("simulated") for result in document["results"])
    if really and cores and load and load[0] >= _BUSY_RATIO * cores:
        yield Line(
            f"warning: the machine was busy when the benchmark began (load {load[0]:.1f} on {counted(cores, 'core')}): "
            "other programs took part of it; close them, and measure again",
            "yellow",
        )


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
