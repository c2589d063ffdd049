"""Every block of every page is in a language that is known here, and is read as its reader reads it.

``test_documentation.py`` runs what can be run. Here are the others: parts of files, and commands that need a service or
take long, which have to name commands and options that there are.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import typer.main
import yaml
from typer.testing import CliRunner

from development.documentation.command_line_page import commands_of
from development.documentation.public_names import PUBLIC
from executor.backends import GROUP as BACKENDS
from executor.tools.registry import GROUP as TOOLS
from harness.cli import app
from tests.pages import BLOCK, PAGES, ROOT, commands_in

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = set(PROJECT["project"]["optional-dependencies"])
# Not read: output, drawings, and a diagram that a test of its own compares with the code.
SHOWN = {"", "text", "mermaid"}
READ = {"console", "json", "promql", "python", "sh", "toml", "yaml"}
# The configuration of Prometheus, which promtool checks.
PROMETHEUS = {"global", "scrape_configs", "storage"}
COMMANDS = dict(commands_of(typer.main.get_command(app)))
INSTALL = ROOT / "docs" / "how-to" / "install.md"


def blocks(*languages: str) -> list[Any]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in BLOCK.finditer(text):
            language, *options = block["mark"].split() or [""]
            if language in languages:
                line = text.count("\n", 0, block.start()) + 1
                found.append(pytest.param(block["body"], options, id=f"{page.relative_to(ROOT)}:{line}"))
    return found


def left_alone() -> Iterator[str]:
    """Each command of a page that ``test_documentation.py`` does not run, those within sentences included."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in BLOCK.finditer(text):
            if block["mark"].split()[:1] == ["console"] and "no-run" in block["mark"].split():
                yield from (command for command, _ in commands_in(block["body"]) if command.startswith("makespan "))
        for command in re.findall(r"`(makespan [a-z][^`]*)`", BLOCK.sub("", text)):
            yield " ".join(command.split())


def test_every_block_is_in_a_language_that_is_known_here() -> None:
    marks = {mark for page in PAGES for mark in re.findall(BLOCK, page.read_text(encoding="utf-8"))}
    assert {mark[0].partition(" ")[0] for mark in marks} - SHOWN - READ == set()


@pytest.mark.parametrize(("body", "options"), blocks("yaml"))
def test_a_yaml_block_is_a_workflow_or_a_configuration_without_a_fault(
    body: str, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The package that is a reader's own.
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "texts.py").write_text("def count_words(text): ...\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "shop_tools.py").write_text("def price(name): ...\n", encoding="utf-8")
    # Looked for, and not run; where it is missing, a tool that is to be isolated is refused.
    (tmp_path / "bwrap").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    content = yaml.safe_load(body)
    if "jobs" in content:
        commands = [step["run"] for job in content["jobs"].values() for step in job["steps"] if "run" in step]
        for command in commands:
            if command.startswith("makespan "):
                test_a_command_that_is_not_run_has_a_name_and_options_that_there_are(command)
        return
    if set(content) <= PROMETHEUS or "file=broken.yaml" in options:
        return
    workflow, arguments = tmp_path / "workflow.yaml", []
    if "steps" in content:
        workflow.write_text(body, encoding="utf-8")
    else:
        workflow.write_text("steps: [{step_id: a, tool: noop}]\n", encoding="utf-8")
        (tmp_path / "some.yaml").write_text(body, encoding="utf-8")
        arguments = ["--config", str(tmp_path / "some.yaml")]
    done = CliRunner().invoke(app, ["plan", str(workflow), *arguments])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(("body", "options"), blocks("json"))
def test_a_json_block_is_json(body: str, options: list[str]) -> None:
    assert json.loads(body)


@pytest.mark.parametrize(("body", "options"), blocks("python"))
def test_a_python_block_imports_only_what_there_is_and_runs(body: str, options: list[str]) -> None:
    assert ast.parse(body).body
    assert "no-run" not in options


@pytest.mark.parametrize(("body", "options"), blocks("python"))
def test_a_python_block_imports_nothing_of_ours_that_is_not_public(body: str, options: list[str]) -> None:
    public = {**PUBLIC, "node_runtime": PUBLIC["executor.node_runtime"]}
    imported = [
        (node.module or "", alias.name)
        for node in ast.walk(ast.parse(body))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    ours = [
        (module, name) for module, name in imported if module.split(".")[0] in ("executor", "harness", "node_runtime")
    ]
    assert [(module, name) for module, name in ours if name not in public.get(module, ())] == []


@pytest.mark.parametrize(("body", "options"), blocks("sh"))
def test_a_shell_block_is_shell(body: str, options: list[str]) -> None:
    done = subprocess.run(["bash", "-n"], input=body, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("body", "options"), blocks("promql"))
def test_a_query_is_promql_about_metrics_of_ours(body: str, options: list[str]) -> None:
    promql_parser.parse(body)
    listed = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    assert [name for name in re.findall(r"\bmakespan_\w+", body) if f"`{name}`" not in listed] == []


@pytest.mark.parametrize(("body", "options"), blocks("toml"))
def test_a_toml_block_names_groups_of_entry_points_that_there_are(body: str, options: list[str]) -> None:
    groups = tomllib.loads(body)["project"]["entry-points"]
    assert set(groups) <= {BACKENDS, TOOLS}


@pytest.mark.parametrize("command", sorted(set(left_alone())))
def test_a_command_that_is_not_run_has_a_name_and_options_that_there_are(command: str) -> None:
    words = shlex.split(command, comments=True)[1:]
    names = [name for name in COMMANDS if name.split() == words[: len(name.split())]]
    if not names:
        assert [*words[1:], "--help"][0] == "--help", command
        assert words[0] in {name.split()[0] for name in COMMANDS}, command
        return
    (name,) = names
    there_are = {option for one in COMMANDS[name].params for option in [*one.opts, *one.secondary_opts]} | {"--help"}
    named = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert named - there_are == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_names_an_extra_that_there_is_and_leaves_to_one_page_how_it_is_installed(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert set(re.findall(r"\bextras? `([\w-]+)`", text)) - EXTRAS == set()
    if page != INSTALL:
        assert re.findall(r"pip install '?makespan|makespan\[\w", text) == []


def test_every_extra_stands_in_the_table_or_is_for_those_who_change_makespan() -> None:
    table = set(re.findall(r"^\| `([\w-]+)` \|", INSTALL.read_text(encoding="utf-8"), re.MULTILINE))
    assert table - EXTRAS == set()
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert [name for name in EXTRAS - table if f"extra `{name}`" not in contributing] == []


def test_the_page_installs_the_wheel_of_this_version() -> None:
    versions = re.findall(r"makespan-([\d.]+)-py3", INSTALL.read_text(encoding="utf-8"))
    assert set(versions) == {PROJECT["project"]["version"]}
