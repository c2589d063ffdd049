"""What the command line does with a task text: plan it, show it before it runs, save it.

Rules of this module:
- A question is asked on a terminal alone; ``--yes`` answers it, and where no answer is possible none is asked.
- A saved plan is a file like any other, with every dependency in ``depends_on``: it runs as it was planned.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import typer
import yaml

from executor.backends import find_backend
from executor.model.findings import did_you_mean
from harness.cli.guard import UsageFault
from harness.config import Config
from harness.files.json_output import STDOUT, write_json, write_text
from harness.local_llm import local_model
from harness.planner import PLANNERS, LivePlan, load_plan, plan_task, planner_for
from harness.report.terminal.console import Terminal
from harness.scenario.scenario_model import Loaded

_YAML: Final = (".yaml", ".yml")


def load_task(
    task: str,
    *,
    config: Config,
    planner: str | None = None,
    settings: dict[str, str] | None = None,
    allow_missing_inputs: bool = False,
) -> Loaded:
    """Plan a task and check the plan.

    Raises:
        UsageFault: there is no such planner.
        WorkflowError: the task cannot be planned, or the plan must not run.

    """
    check_planner(planner)
    planned = plan_task(task, config=config, planner=planner)
    return load_plan(planned, config=config, settings=settings, allow_missing_inputs=allow_missing_inputs)


def check_planner(planner: str | None) -> None:
    """Refuse a planner that there is not.

    Raises:
        UsageFault: see above.

    """
    if planner is not None and planner not in PLANNERS:
        fix = did_you_mean(planner, PLANNERS, f"use one of: {', '.join(PLANNERS)}")
        raise UsageFault(f"there is no planner {planner!r}: {fix}")


@contextmanager
def with_planning_model(task: str | None, planner: str | None, config: Config) -> Iterator[Config]:
    """The configuration; where a model plans the task and it is the local one, with its server for the whole block.

    Raises:
        LocalModelError: it cannot be had.

    """
    if task is None or planner_for(planner, config) != "llm":
        yield config
        return
    with local_model(config.llm) as llm:
        yield config.model_copy(update={"llm": llm})


@contextmanager
def live_plan(task: str | None, planner: str | None, config: Config, *, whole: bool) -> Iterator[LivePlan | None]:
    """A plan that is run while a model writes it; None where there is no task, no model plans, the plan is wanted
    ``whole`` before it runs, or no time passes (a simulation).

    Raises:
        UsageFault: there is no such planner.
        WorkflowError: the task is none.

    """
    check_planner(planner)
    # A plan that may have to be made again cannot be run while it is written.
    by_model = planner_for(planner, config) == "llm"
    if task is None or whole or not by_model or find_backend(config.executor).simulates:
        yield None
        return
    with LivePlan(task, config) as live:
        yield live


def can_ask(terminal: Terminal) -> bool:
    """Whether a person at the terminal could answer."""
    return terminal.is_live and sys.stdin.isatty()


def is_approved(terminal: Terminal) -> bool:
    """Whether the person at the terminal wants the plan to run.

    Raises:
        KeyboardInterrupt: Ctrl-C at the question.

    """
    try:
        return typer.confirm("Run this plan?", default=True, err=terminal.stream is sys.stderr)
    except typer.Abort:
        raise KeyboardInterrupt from None


def save_plan(document: dict[str, Any], target: str) -> None:
    """Write a plan as YAML or JSON, as the name says (stdout: YAML).

    Raises:
        OutputError: it cannot be written.

    """
    if target == STDOUT or target.lower().endswith(_YAML):
        write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100), target, "the plan")
    else:
        write_json(document, target)
