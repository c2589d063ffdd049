"""``run``, ``bench`` and ``plan``: their options and help. What they do stands in the file of each.

Rules of this module:
- It imports nothing but typer and the tables, so that `--help` and completion answer at once.
"""
# ruff: noqa: PLC0415 - imports in functions are what keeps `--help` light

from __future__ import annotations

from harness.cli.guard import guarded
from harness.cli.options import benchmark, common, planning, running
from harness.exit_codes import ExitCode


@guarded
def run(
    scenario: running.RunArgument = None,
    task: planning.TaskOption = None,
    planner: planning.PlannerOption = None,
    save: planning.SaveOption = None,
    yes: planning.YesOption = False,
    llm: common.LlmOption = None,
    executor: running.ExecutorOption = None,
    backend_option: common.BackendOptionOption = None,
    workers: common.WorkersOption = None,
    policy: running.PolicyOption = None,
    set_: common.SetOption = None,
    seed: running.SeedOption = None,
    json_: common.ResultOption = None,
    metrics_port: common.MetricsPortOption = None,
    store: common.StoreOption = None,
    no_store: common.NoStoreOption = False,
    trace: common.TraceOption = None,
    trace_file: common.TraceFileOption = None,
    quiet: common.QuietOption = False,
    no_progress: common.NoProgressOption = False,
    config: common.ConfigOption = None,
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


@guarded
def bench(
    scenarios: benchmark.ScenariosArgument,
    executor: benchmark.ExecutorsOption = None,
    backend_option: common.BackendOptionOption = None,
    workers: benchmark.WorkerCountsOption = None,
    policy: benchmark.PoliciesOption = None,
    set_: common.SetOption = None,
    parameter: benchmark.ParameterOption = None,
    repetitions: benchmark.RepetitionsOption = None,
    warmup: benchmark.WarmupOption = None,
    until_width: benchmark.UntilWidthOption = None,
    max_time: benchmark.MaxTimeOption = None,
    max_calls: benchmark.MaxCallsOption = None,
    max_tokens: benchmark.MaxTokensOption = None,
    seed: benchmark.BenchSeedOption = None,
    dry_run: benchmark.DryRunOption = False,
    cache: benchmark.CacheOption = "unique",
    record: benchmark.RecordOption = None,
    replay: benchmark.ReplayOption = None,
    llm: common.LlmOption = None,
    json_: common.ResultOption = None,
    junit: benchmark.JunitOption = None,
    against: benchmark.BenchAgainstOption = None,
    fail_if: common.FailIfOption = None,
    confirm: benchmark.ConfirmOption = 0,
    metrics_port: common.MetricsPortOption = None,
    store: common.StoreOption = None,
    no_store: common.NoStoreOption = False,
    trace: common.TraceOption = None,
    trace_file: common.TraceFileOption = None,
    quiet: common.QuietOption = False,
    no_progress: common.NoProgressOption = False,
    config: common.ConfigOption = None,
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


@guarded
def plan(
    file: planning.PlanArgument,
    workers: common.WorkersOption = None,
    set_: common.SetOption = None,
    planner: planning.PlannerOption = None,
    llm: common.LlmOption = None,
    save: planning.SaveOption = None,
    json_: planning.WorkflowOption = None,
    quiet: common.QuietOption = False,
    config: common.ConfigOption = None,
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
