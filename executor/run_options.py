"""What :func:`executor.run` is given, looked at before anything is made of it. Pure.

Rules of this module:
- What is of the wrong kind raises ``TypeError``, what is out of range ``ValueError``; both say what belongs there.
- What is plainly meant is taken: mappings for resources, as files have them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from os import PathLike
from typing import Any

from executor.model.findings import did_you_mean
from executor.model.workflow import Resource, Step
from executor.run_result import RunOptions
from executor.step_decorator import StepFunction


def checked_options(options: RunOptions) -> RunOptions:
    """The options, with each limit a :class:`Resource`.

    Raises:
        TypeError: an option is unknown, or of another kind than it has to be.
        ValueError: ``scale`` is out of range, or a limit says what none may.
    """
    for name in options:
        if name not in RunOptions.__annotations__:
            meant = did_you_mean("backend" if name == "executor" else name, RunOptions.__annotations__)
            raise TypeError(f"a run has no option {name!r}: {meant}")
    for name in ("workers", "seed"):
        given = options.get(name)
        if given is not None and (isinstance(given, bool) or not hasattr(given, "__index__")):
            raise TypeError(f"{name} is {given!r}, where a whole number belongs")
    scale: Any = options.get("scale", 1.0)
    if isinstance(scale, bool) or not isinstance(scale, int | float):
        raise TypeError(f"scale is {scale!r}, where a number belongs")
    if not 0 < scale < math.inf:
        raise ValueError(f"scale is {scale!r}: it has to be above 0, and finite")
    resources = options.get("resources")
    check_mapping("tools", options.get("tools"), "name: function")
    check_mapping("resources", resources, "name: Resource(…)")
    if not resources:
        return options
    return {**options, "resources": {name: _resource(name, one) for name, one in resources.items()}}


def check_workflow(given: object) -> None:
    """See that it is none of the things that people take for a workflow.

    Raises:
        TypeError: it is one, and what to give instead.
    """
    if isinstance(given, str | PathLike):
        fix = "read the file (yaml.safe_load), and give Workflow(steps=…), tools=… and resources=…"
    elif isinstance(given, Mapping) and "steps" in given:
        fix = "give Workflow(steps=…), and beside it tools=… and resources=…"
    elif isinstance(given, Step) or (isinstance(given, list | tuple) and any(isinstance(one, Step) for one in given)):
        fix = "put steps into a workflow: Workflow(steps=(…))"
    elif isinstance(given, StepFunction):
        fix = "call it, and run what it gives: run(f(…))"
    elif callable(given):
        fix = "mark the function with @step, and run what a call of it gives: run(f(…))"
    else:
        return
    raise TypeError(f"{type(given).__name__} is no workflow and no result of a step: {fix}")


def check_mapping(name: str, given: object, form: str) -> None:
    """See that an option is a mapping, if it is given.

    Raises:
        TypeError: it is something else.
    """
    if given is not None and not isinstance(given, Mapping):
        raise TypeError(f"{name} is of type {type(given).__name__}, where a mapping belongs: {{{form}}}")


def _resource(name: str, given: Any) -> Resource:
    if isinstance(given, Resource):
        return given
    check_mapping(f"the resource {name!r}", given, "capacity: 3")
    return Resource.model_validate(given)
