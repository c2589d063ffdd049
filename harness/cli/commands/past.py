"""``history``, ``compare`` and ``report``: their options and help. What they do stands in the file of each.

Rules of this module:
- It imports nothing but typer and the tables, so that `--help` and completion answer at once.
"""
# ruff: noqa: PLC0415 - imports in functions are what keeps `--help` light

from __future__ import annotations

from harness.cli.guard import guarded
from harness.cli.options import common, past
from harness.exit_codes import ExitCode


@guarded
def history(
    scenario: past.HistoryScenarioOption = None,
    executor: past.HistoryExecutorOption = None,
    since: past.SinceOption = None,
    limit: past.LimitOption = 20,
    accept: past.AcceptOption = None,
    reject: past.RejectOption = None,
    json_: past.HistoryJsonOption = None,
    store: common.StoreOption = None,
    config: common.ConfigOption = None,
) -> ExitCode:
    """List the runs that were kept, the newest first; or say which of them are as they should be."""
    from harness.cli.history import Request, show_history

    return show_history(
        Request(
            scenario=scenario,
            executor=executor,
            since=since,
            limit=limit,
            accept=tuple(accept or ()),
            reject=tuple(reject or ()),
            json_target=json_,
            store=store,
            config_path=config,
        )
    )


@guarded
def compare(
    run_a: past.BeforeArgument = None,
    run_b: past.AfterArgument = None,
    force: past.ForceOption = False,
    fail_if: common.FailIfOption = None,
    against: past.AgainstOption = None,
    history: past.HistoryOption = None,
    markdown: past.MarkdownOption = None,
    json_: past.CompareJsonOption = None,
    store: common.StoreOption = None,
    config: common.ConfigOption = None,
) -> ExitCode:
    """Say what changed between two runs, for each executor, number of workers, policy and parameters: whether it is
    real, how large it is, and whether it is the schedule's doing or the work's.
    """
    from harness.cli.compare_runs import Request, compare_runs

    return compare_runs(
        Request(
            before=run_a,
            after=run_b,
            force=force,
            limits=tuple(fail_if or ()),
            against=against,
            history=tuple(history or ()),
            markdown_target=markdown,
            json_target=json_,
            store=store,
            config_path=config,
        )
    )


@guarded
def report(
    runs: past.RunsArgument,
    output: past.OutputOption = None,
    format_: past.FormatOption = "html",
    table: past.TableOption = None,
    store: common.StoreOption = None,
    config: common.ConfigOption = None,
) -> ExitCode:
    """Write a report on runs: one page that needs no network, or a file that other programs read."""
    from harness.cli.report import Request, write_report_of

    return write_report_of(
        Request(runs=tuple(runs), output=output, format=format_, table=table, store=store, config_path=config)
    )
