"""Options about runs that were kept: of ``history``, ``compare`` and ``report``."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.options import completion
from harness.cli.options.common import RUN_WORDS

HistoryScenarioOption = Annotated[
    str | None, typer.Option("--scenario", metavar="NAME", help="Only runs of that scenario.")
]
HistoryExecutorOption = Annotated[
    str | None,
    typer.Option(
        "--executor", "-e", metavar="NAME", help="Only runs on that executor.", autocompletion=completion.executors
    ),
]
SinceOption = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Only runs from then on: a date, or how long ago (24h, 7d, 2w)."),
]
LimitOption = Annotated[
    int, typer.Option("--limit", metavar="N", min=1, max=1_000_000, help="At most so many runs, the newest ones.")
]
AcceptOption = Annotated[
    list[str] | None,
    typer.Option(
        "--accept",
        metavar="RUN",
        help="Say that a run is as it should be: --against judges by it. May be given several times.",
        autocompletion=completion.runs,
    ),
]
RejectOption = Annotated[
    list[str] | None,
    typer.Option(
        "--reject",
        metavar="RUN",
        help="Say that a run is not as it should be. May be given several times.",
        autocompletion=completion.runs,
    ),
]
HistoryJsonOption = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE", help="Write the list as JSON (`-`: stdout, and all text to stderr)."),
]
RunsArgument = Annotated[
    list[str],
    typer.Argument(metavar="RUN...", help=f"The runs. {RUN_WORDS}.", autocompletion=completion.runs),
]
BeforeArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN_A",
        help=f"The run before; with --against the one run. {RUN_WORDS} (default: @last~1; with --against @last).",
        autocompletion=completion.runs,
    ),
]
AfterArgument = Annotated[
    str | None, typer.Argument(metavar="RUN_B", help="The run after (default: @last).", autocompletion=completion.runs)
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Compare runs of different scenarios or machines all the same.")
]
AgainstOption = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="BASELINE",
        help='Judge one run by those that were accepted before it, as in "median(14)": the last 14, the newest two '
        "left out.",
    ),
]
HistoryOption = Annotated[
    list[str] | None,
    typer.Option(
        "--history",
        metavar="RUN",
        help="With --against: these are the accepted runs, such as a folder of --json files (default: the store's).",
    ),
]
CompareJsonOption = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE", help="Write the comparison as JSON (`-`: stdout, and all text to stderr)."),
]
MarkdownOption = Annotated[
    str | None,
    typer.Option(
        "--markdown", metavar="FILE", help="Write it as Markdown, for a pull request (`-`: stdout, text to stderr)."
    ),
]
OutputOption = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="FILE", help="Where to (`-`: stdout; default: report.html, .json, …)."),
]
FormatOption = Annotated[
    str,
    typer.Option("--format", "-f", metavar="NAME", help="html, perfetto (a trace for its viewer), csv or markdown."),
]
TableOption = Annotated[
    str | None, typer.Option("--table", metavar="NAME", help="With csv: cells, steps or attempts (default: attempts).")
]
