"""What ``history``, ``compare`` and ``report`` are asked for."""

from dataclasses import dataclass
from typing import Annotated

from harness.cli.requests import completion
from harness.cli.requests.parameters import argument, option
from harness.cli.requests.shared import RUN_WORDS, ConfigOption, FailIfOption, StoreOption


@dataclass(frozen=True, eq=False, repr=False)
class HistoryRequest:
    """What `makespan history` is asked for."""

    scenario: Annotated[str | None, option("--scenario NAME", "Only runs of that scenario.")] = None
    executor: Annotated[
        str | None, option("--executor -e NAME", "Only runs on that executor.", autocompletion=completion.executors)
    ] = None
    since: Annotated[
        str | None, option("--since TIME", "Only runs from then on: a date, or how long ago (24h, 7d, 2w).")
    ] = None
    limit: Annotated[int, option("--limit N", "At most so many runs, the newest ones.", min=1, max=1_000_000)] = 20
    accept: Annotated[
        tuple[str, ...],
        option(
            "--accept RUN",
            "Say that a run is as it should be: --against judges by it. May be given several times.",
            autocompletion=completion.runs,
        ),
    ] = ()
    reject: Annotated[
        tuple[str, ...],
        option(
            "--reject RUN",
            "Say that a run is not as it should be. May be given several times.",
            autocompletion=completion.runs,
        ),
    ] = ()
    prune: Annotated[
        str | None,
        option(
            "--prune TIME",
            "Drop journals of finished runs, and outputs in the cache, that are older: a date, or how long ago (30d).",
        ),
    ] = None
    prune_unfinished: Annotated[
        bool, option("--prune-unfinished", "With --prune: also what runs and benchmarks could be resumed from.")
    ] = False
    json_target: Annotated[
        str | None, option("--json FILE", "Write the list as JSON (`-`: stdout, and all text to stderr).")
    ] = None
    store: StoreOption = None
    config_path: ConfigOption = None


@dataclass(frozen=True, eq=False, repr=False)
class CompareRequest:
    """What `makespan compare` is asked for."""

    before: Annotated[
        str | None,
        argument(
            "RUN_A",
            f"The run before; with --against the one run. {RUN_WORDS} (default: @last~1; with --against @last).",
            autocompletion=completion.runs,
        ),
    ] = None
    after: Annotated[
        str | None, argument("RUN_B", "The run after (default: @last).", autocompletion=completion.runs)
    ] = None
    force: Annotated[bool, option("--force", "Compare runs of different scenarios or machines all the same.")] = False
    limits: FailIfOption = ()
    against: Annotated[
        str | None,
        option(
            "--against BASELINE",
            'Judge one run by those that were accepted before it, as in "median(14)": the last 14, the newest two '
            "left out.",
        ),
    ] = None
    history: Annotated[
        tuple[str, ...],
        option(
            "--history RUN",
            "With --against: these are the accepted runs, such as a folder of --json files (default: the store's).",
        ),
    ] = ()
    markdown_target: Annotated[
        str | None, option("--markdown FILE", "Write it as Markdown, for a pull request (`-`: stdout, text to stderr).")
    ] = None
    json_target: Annotated[
        str | None, option("--json FILE", "Write the comparison as JSON (`-`: stdout, and all text to stderr).")
    ] = None
    store: StoreOption = None
    config_path: ConfigOption = None


@dataclass(frozen=True, eq=False, repr=False)
class ReportRequest:
    """What `makespan report` is asked for."""

    runs: Annotated[tuple[str, ...], argument("RUN...", f"The runs. {RUN_WORDS}.", autocompletion=completion.runs)]
    output: Annotated[
        str | None, option("--output -o FILE", "Where to (`-`: stdout; default: report.html, .json, …).")
    ] = None
    format: Annotated[
        str,
        option("--format -f NAME", "html, perfetto (a trace for its viewer), csv or markdown."),
    ] = "html"
    table: Annotated[
        str | None,
        option("--table NAME", "With csv: cells, steps or attempts (default: attempts)."),
    ] = None
    store: StoreOption = None
    config_path: ConfigOption = None
