"""What a start loads: each command, and `from executor import run`, import what they need and nothing else.

A start that becomes slow does so by an import. Times depend on the machine; what is imported does not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.config import load_config

COMMAND = """
import json, sys
sys.argv = ["makespan", *{arguments!r}]
from harness.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""
LIBRARY = "import json, sys; {code}; print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
# What no start needs, whatever it starts.
NEVER = {"scipy", "numpy", "plotly", "pydantic_settings", "httpx", "distributed", "hypothesis", "opentelemetry.sdk"}
# The options of the commands; `shared` has those of `--version` and of commands without options of their own.
OPTIONS = {
    f"harness.cli.requests.{name}"
    for name in ("dashboards", "fuzzing", "kept_runs", "local_llm", "recording", "running", "traces", "workloads")
}
VALIDATION = {"pydantic", "jinja2", "asyncio", "executor.engine", "executor.scheduler", "importlib.metadata"}


def loaded(program: str, folder: Path) -> set[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKESPAN_")}
    environment["XDG_DATA_HOME"] = str(folder)
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=True, capture_output=True, text=True, cwd=folder, env=environment, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    ("program", "not_loaded"),
    [
        (LIBRARY.format(code="from executor import run"), VALIDATION | {"logging", "traceback"}),
        (LIBRARY.format(code="from executor import run, Workflow"), VALIDATION - {"pydantic", "importlib.metadata"}),
        (LIBRARY.format(code="import harness.doctor"), VALIDATION - {"importlib.metadata"}),
        (LIBRARY.format(code="import harness.cli.analyze"), VALIDATION | {"yaml", "harness.result"}),
        (COMMAND.format(arguments=["--help"]), VALIDATION | OPTIONS | {"executor"}),
        (COMMAND.format(arguments=["scenarios"]), VALIDATION | OPTIONS | {"sqlite3"}),
        (
            COMMAND.format(arguments=["history"]),
            VALIDATION | OPTIONS - {"harness.cli.requests.kept_runs"} | {"yaml", "harness.analysis"},
        ),
        (
            COMMAND.format(arguments=["run", "joke_translations", "-e", "virtual", "-q", "--no-store"]),
            {
                "harness.planner", "harness.local_llm.llama_server", "harness.standin.standin_server", "http.server",
                "harness.report.html", "harness.benchmark", "executor.journal.kept_run", "executor.backends.threads",
            },
        ),
    ],
    ids=["run", "run and Workflow", "doctor", "analyze", "help", "scenarios", "history", "run on virtual"],
)  # fmt: skip
def test_a_start_does_not_load(program: str, not_loaded: set[str], tmp_path: Path) -> None:
    assert loaded(program, tmp_path) & (not_loaded | NEVER) == set()


def test_history_reads_the_configuration_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("store: {path: other.sqlite}\n", encoding="utf-8")
    program = COMMAND.format(arguments=["history"])
    assert "harness.config" in loaded(program, tmp_path)


def test_the_configuration_of_the_package_names_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config().store.path is None
