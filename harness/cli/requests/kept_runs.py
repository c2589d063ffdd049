"""What ``history``, ``compare`` and ``report`` are asked for."""

from dataclasses import dataclass
from typing import Annotated

import typer

from harness.cli.requests import completion
from harness.cli.requests.shared import RUN_WORDS, ConfigOption, FailIfOption, StoreOption


@dataclass(frozen=True)
class HistoryRequest:
    """What `makespan history` is asked for."""

    scenario: Annotated[str | None, typer.Option("--scenario", metavar="NAME", help="Only runs of that scenario.")] = (
        None
    )
    executor: Annotated[
        str | None,
        typer.Option(
            "--executor", "-e", metavar="NAME", help="Only runs on that executor.", autocompletion=completion.executors
        ),
    ] = None
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="Only runs from then on: a date, or how long ago (24h, 7d, 2w)."),
    ] = None
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, max=1_000_000, help="At most so many runs, the newest ones.")
    ] = 20
    accept: Annotated[
        tuple[str, ...],
        typer.Option(
            "--accept",
            metavar="RUN",
            help="Say that a run is as it should be: --against judges by it. May be given several times.",
            autocompletion=completion.runs,
        ),
    ] = ()
    reject: Annotated[
        tuple[str, ...],
        typer.Option(
            "--reject",
            metavar="RUN",
            help="Say that a run is not as it should be. May be given several times.",
            autocompletion=completion.runs,
        ),
    ] = ()
    json_target: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE", help="Write the list as JSON (`-`: stdout, and all text to stderr)."),
    ] = None
    store: StoreOption = None
    config_path: ConfigOption = None


@dataclass(frozen=True)
class CompareRequest:
    """What `makespan compare` is asked for."""

    before: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN_A",
            help=f"The run before; with --against the one run. {RUN_WORDS} (default: @last~1; with --against @last).",
            autocompletion=completion.runs,
        ),
    ] = None
    after: Annotated[
        str | None,
        typer.Argument(metavar="RUN_B", help="The run after (default: @last).", autocompletion=completion.runs),
    ] = None
    force: Annotated[
        bool, typer.Option("--force", help="Compare runs of different scenarios or machines all the same.")
    ] = False
    limits: FailIfOption = ()
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="BASELINE",
            help='Judge one run by those that were accepted before it, as in "median(14)": the last 14, the newest two '
            "left out.",
        ),
    ] = None
    history: Annotated[
        tuple[str, ...],
        typer.Option(
            "--history",
            metavar="RUN",
            help="With --against: these are the accepted runs, such as a folder of --json files (default: the "
            "store's).",
        ),
    ] = ()
    markdown_target: Annotated[
        str | None,
        typer.Option(
            "--markdown", metavar="FILE", help="Write it as Markdown, for a pull request (`-`: stdout, text to stderr)."
        ),
    ] = None
    json_target: Annotated[
        str | None,
        typer.Option(
            "--json", metavar="FILE", help="Write the comparison as JSON (`-`: stdout, and all text to stderr)."
        ),
    ] = None
    store: StoreOption = None
    config_path: ConfigOption = None


@dataclass(frozen=True)
class ReportRequest:
    """What `makespan report` is asked for."""

    runs: Annotated[
        tuple[str, ...],
        typer.Argument(metavar="RUN...", help=f"The runs. {RUN_WORDS}.", autocompletion=completion.runs),
    ]
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to (`-`: stdout; default: report.html, .json, …)."),
    ] = None
    format: Annotated[
        str,
        typer.Option(
            "--format", "-f", metavar="NAME", help="html, perfetto (a trace for its viewer), csv or markdown."
        ),
    ] = "html"
    table: Annotated[
        str | None,
        typer.Option("--table", metavar="NAME", help="With csv: cells, steps or attempts (default: attempts)."),
    ] = None
    store: StoreOption = None
    config_path: ConfigOption = None
