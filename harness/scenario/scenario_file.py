"""Scenarios: a workflow, and what to measure about it. Reads every kind of file that can be run.

A scenario file, a bare workflow file (also the seed's JSON blocks as they stand), and the richer files of the seed's
system all become the same :class:`Loaded`.

Rules of this module:
- One report holds all findings of a file: model, rules, resources, tools, benchmark. Each has its file and line.
- What the command line sets is checked like what the file says, and named as the command line's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from executor.model.findings import raise_errors
from harness.config import Config, load_config
from harness.files.packaged import shipped_scenarios
from harness.files.strict_file import Document, read_document
from harness.scenario.loading import Loading
from harness.scenario.scenario_model import Benchmark, Loaded, Scenario

__all__ = ["Benchmark", "Loaded", "Scenario", "load", "load_document", "resolve"]


def load(
    path: str | Path,
    *,
    settings: Mapping[str, Any] | None = None,
    config: Config | None = None,
    allow_missing_inputs: bool = False,
) -> Loaded:
    """Read and check a scenario or workflow; ``path`` is a file, or the name of a shipped scenario.

    ``settings`` set ``scale`` or inputs: text is read as the command line's is, other values are taken as they are.
    ``config``: default is :func:`harness.config.load_config`. ``allow_missing_inputs``: an input without a value is
    null, with a warning, for whoever only looks at the plan.

    Raises:
        WorkflowError: with all findings, at least one of them an error.

    """
    return load_document(
        read_document(resolve(path)), settings=settings, config=config, allow_missing_inputs=allow_missing_inputs
    )


def resolve(path: str | Path) -> Path:
    """The file that is meant: an existing one, else the shipped scenario of that name, else the path as it is."""
    given = Path(path)
    try:
        exists = given.exists()
    except (OSError, ValueError):
        return given
    return given if exists else shipped_scenarios().get(str(path), given)


def load_document(
    document: Document,
    *,
    settings: Mapping[str, Any] | None = None,
    config: Config | None = None,
    allow_missing_inputs: bool = False,
) -> Loaded:
    """The same for a file that was read already. Raises as :func:`load` does."""
    loading = Loading(document, config or load_config(), allow_missing_inputs=allow_missing_inputs)
    loaded = loading.load(settings or {})
    raise_errors(loading.findings)
    assert loaded is not None, "no error and no result"
    return loaded
