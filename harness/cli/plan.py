"""``makespan plan``: what a file or a task says, what the rules say of it, and what it promises. Runs nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

from executor.backends import find_backend
from executor.dependencies import workflow_with_dependencies
from executor.model.findings import WorkflowError
from executor.model.workflow import dump_workflow
from harness.cli.requests.running import PlanRequest
from harness.cli.typed_values import read_settings
from harness.config import load_config
from harness.execution import cache_assumed, workers_for
from harness.exit_codes import ExitCode
from harness.files.json_output import STDOUT, check_writable, write_json
from harness.files.packaged import shipped_scenarios
from harness.report.terminal.console import Line, Terminal, finding_lines
from harness.report.terminal.plan_text import outlook_lines, plan_lines, remark_lines
from harness.scenario.forecast import forecast
from harness.scenario.scenario_file import load
from harness.scenario.scenario_model import Loaded

_SUFFIXES: Final = (".json", ".yaml", ".yml")
# What a workflow needs beside its steps to be run again as it was planned.
_CARRIED: Final = ("scenario", "task", "scale", "seed", "resources", "devices", "tools", "expected_outputs")


def show_plan(request: PlanRequest) -> ExitCode:
    """Show the plan of a file or of a task; the lower bound is for the number of workers that was asked for.

    Raises:
        OutputError: the plan cannot be written where it is asked for.
        UsageFault: there is no such planner.
        WorkflowError: the file must not run, or the task cannot be planned.

    """
    if request.save is not None:
        check_writable(request.save, "the plan")
    if request.json_target is not None:
        check_writable(request.json_target)
    config = load_config(
        request.config_path,
        overrides={"workers": request.workers, "llm": {"base_url": request.llm, "model": request.model}},
    )
    settings = read_settings(request.settings)
    if is_file_argument(request.file):
        loaded = load(request.file, settings=settings, config=config, allow_missing_inputs=True)
        _check_expectations(loaded)
    else:
        from harness.cli.tasks import load_task  # noqa: PLC0415 - planners, for a task alone

        loaded = load_task(
            request.file, planner=request.planner, config=config, settings=settings, allow_missing_inputs=True
        )
    terminal = Terminal(sys.stderr) if STDOUT in (request.json_target, request.save) else Terminal()
    if not request.quiet:
        slots = find_backend(config.executor)(workers_for(config.executor, request.workers, config.workers)).capacity
        outlook = forecast(
            loaded.graph,
            workers=slots,
            scale=loaded.scenario.scale,
            resources=loaded.resources,
            inputs=loaded.workflow.inputs,
            expected_outputs=loaded.scenario.expected_outputs,
        )
        terminal.write(plan_lines(loaded.workflow, width=terminal.width))
        terminal.line()
        terminal.write(outlook_lines(loaded.graph, outlook))
        terminal.write(Line(f"  {text}", "dim") for text in cache_assumed(loaded))
        terminal.line()
        terminal.write(remark_lines(loaded.findings))
    else:
        Terminal(sys.stderr).write(finding_lines(one for one in loaded.findings if one.severity == "warning"))
    if request.save is not None:
        from harness.cli.tasks import save_plan  # noqa: PLC0415 - the same

        save_plan(workflow_document(loaded), request.save)
    if request.json_target is not None:
        write_json(workflow_document(loaded), request.json_target)
    return ExitCode.FINE


def _check_expectations(loaded: Loaded) -> None:
    """A benchmark would refuse these lines: who plans a file wants to know before.

    Raises:
        WorkflowError: one of them does not parse.
    """
    if loaded.scenario.expect:
        from harness.expectations import parse_expectations  # noqa: PLC0415 - few files have such lines

        try:
            parse_expectations(loaded.scenario.expect)
        except WorkflowError as error:
            raise WorkflowError(loaded.document.place(error.findings)) from None


def is_file_argument(argument: str) -> bool:
    """Whether a file is meant: one that exists or looks like one, or a name without white space."""
    try:
        exists = Path(argument).exists()
    except (OSError, ValueError):  # too long for a path, or with a null character
        exists = False
    named = argument.lower().endswith(_SUFFIXES) or argument in shipped_scenarios()
    return exists or named or not any(sign.isspace() for sign in argument)


def workflow_document(loaded: Loaded) -> dict[str, Any]:
    """The workflow in the shape of a file, every dependency written into ``depends_on``, with the scenario's tools and
    limits, so that it runs as it was planned.
    """
    words = loaded.scenario.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    carried = {name: words[name] for name in _CARRIED if words.get(name)}
    return {**carried, **dump_workflow(workflow_with_dependencies(loaded.workflow, loaded.graph))}
