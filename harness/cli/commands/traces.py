"""``analyze`` and ``simulate``: their options and help. What they do stands in the file of each.

Rules of this module:
- It imports nothing but typer and the tables, so that `--help` and completion answer at once.
"""
# ruff: noqa: PLC0415 - imports in functions are what keeps `--help` light

from __future__ import annotations

from harness.cli.guard import guarded
from harness.cli.options import common, traces
from harness.exit_codes import ExitCode


@guarded
def analyze(
    files: traces.TraceFilesArgument = None,
    from_dir: traces.FromDirOption = None,
    trace: traces.TraceIdOption = None,
    edges: traces.EdgesOption = None,
    workers: traces.PredictedWorkersOption = None,
    rate: traces.ServiceRateOption = None,
    set_capacity: traces.ServiceCapacityOption = None,
    json_: traces.AnalysisJsonOption = None,
    html: traces.AnalysisHtmlOption = None,
    scenario: traces.AnalysisScenarioOption = None,
    quiet: common.QuietOption = False,
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


@guarded
def simulate(
    subject: traces.SubjectArgument,
    workers: traces.SimulatedWorkersOption = None,
    policy: traces.SimulatedPoliciesOption = None,
    set_capacity: traces.SetCapacityOption = None,
    speed_up: traces.SpeedUpOption = None,
    rate: traces.RateOption = None,
    without_retries: traces.WithoutRetriesOption = False,
    distribution: traces.DistributionOption = False,
    runs: traces.DrawnRunsOption = None,
    cell: traces.CellOption = None,
    edges: traces.EdgesOption = None,
    set_: common.SetOption = None,
    seed: traces.SimulatedSeedOption = None,
    json_: traces.SimulationJsonOption = None,
    store: common.StoreOption = None,
    config: common.ConfigOption = None,
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
