"""The command line before it does anything: its help, what that imports, its table of exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from development.documentation.command_line_page import commands_of
from harness.cli import app
from harness.exit_codes import ExitCode
from harness.store.run_store import Store
from tests.unit.run_documents import document, result

GROUPS = ("llm", "dashboards")
# What typer itself consists of, in the versions that are allowed; `harness` is ours.
LIGHT = {"annotated_doc", "click", "harness", "shellingham", "typer", "typing_extensions"}
SCRIPT = """
import sys
before = set(sys.modules)
sys.argv = ["makespan", *{arguments!r}]
from harness.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
tops = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(*sorted(top for top in tops if top not in sys.stdlib_module_names), file=sys.stderr)
"""


def imported_by(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(arguments=arguments)],
        check=True,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    return {name for name in done.stderr.split() if not name.startswith("_")}


@pytest.mark.parametrize(
    "arguments", [("--version",), ("--help",), *((name, "--help") for name in ("run", "compare", *GROUPS))]
)
def test_help_and_version_import_nothing_but_typer(arguments: tuple[str, ...]) -> None:
    assert imported_by(*arguments) <= LIGHT


def test_a_run_on_the_virtual_clock_loads_no_event_loop_and_no_tool_that_it_does_not_use(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("scenario: s\nsteps: [{step_id: a, tool: sleep, args: {seconds: 1}}]\n")
    names = ("asyncio", "httpx", "executor.tools.command", "executor.tools.http", "executor.tools.node")
    code = (
        SCRIPT.format(arguments=["run", str(file), "-e", "virtual", "-q"])
        + f"print(*({set(names)} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.split() == []


@pytest.mark.parametrize("name", ["", *GROUPS, *(name for name, _ in commands_of(typer.main.get_command(app)))])
def test_help_lists_every_exit_code_with_its_meaning(name: str) -> None:
    shown = CliRunner().invoke(app, [*name.split(), "--help"])
    assert shown.exit_code == 0
    lines = [line.strip() for line in shown.stdout.splitlines()]
    for code in ExitCode:
        assert f"{code.value:<3} {code.meaning}".split() in [line.split() for line in lines]


def test_the_exit_codes_are_those_of_the_design() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "FINE": 0,
        "FAULT": 1,
        "BAD_INPUT": 2,
        "EXPECTATION": 3,
        "INTERRUPTED": 130,
    }


def test_every_option_of_run_has_a_help_text() -> None:
    shown = CliRunner().invoke(app, ["run", "--help"]).stdout
    options = [line for line in shown.splitlines() if line.startswith("  -")]
    assert len(options) >= 10
    assert [line for line in options if len(line.split("  ")[-1].split()) < 3] == []


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["rum"],
        ["run"],
        ["run", "a", "b"],
        ["run", "--nothing", "x"],
        ["run", "--workers", "0", "x"],
        ["run", "--workers", "many", "x"],
        ["run", "--seed", "-1", "x"],
        ["plan"],
        ["report"],
        ["compare", "a", "b", "c"],
        ["history", "--limit", "0"],
    ],
)
def test_wrong_usage_is_exit_status_2(arguments: list[str]) -> None:
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == ExitCode.BAD_INPUT
    assert "Traceback" not in shown.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_can_be_shown_for_the_usual_shells(shell: str) -> None:
    environment = {**os.environ, "_MAKESPAN_COMPLETE": f"source_{shell}"}
    command = [sys.executable, "-m", "harness.cli"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    assert "_MAKESPAN_COMPLETE=complete_" in done.stdout


def completions(words: str, cwd: Path | None = None) -> list[str]:
    environment = {**os.environ, "_MAKESPAN_COMPLETE": "complete_bash", "COMP_WORDS": words}
    environment["COMP_CWORD"] = str(len(words.split(" ")) - 1)
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli"], check=True, capture_output=True, text=True, env=environment, cwd=cwd
    )
    return done.stdout.split()


def test_completion_offers_executors_and_policies() -> None:
    assert completions("makespan run x --executor as") == ["asyncio"]
    assert completions("makespan run x --policy b") == ["best", "barrier"]


def test_completion_offers_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert completions("makespan compare @last~") == ["@last~1"]
    with Store.open() as store:
        store.save(document(result([1.0]), run_id="0123456789abcdef"))
    assert completions("makespan report 01") == ["0123456789ab"]


def test_completion_offers_shipped_scenarios_and_files(tmp_path: Path) -> None:
    (tmp_path / "joke_of_mine.yaml").touch()
    assert completions("makespan plan joke", cwd=tmp_path) == ["joke_translations", "joke_of_mine.yaml"]
