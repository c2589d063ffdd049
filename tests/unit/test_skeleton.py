"""Facts about the project itself: what is locked, what is packed, what is found by name, and what imports what."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from harness.local_llm.packages import PROGRAM

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
ENTRY_POINTS = [
    *PROJECT["project"]["scripts"].values(),
    *(target for group in PROJECT["project"]["entry-points"].values() for target in group.values()),
]


def test_constraints_hold_names_and_versions_and_no_addresses() -> None:
    files = [ROOT / "tests" / "trace-store.txt", *(ROOT / "development").glob("*.txt")]
    apart = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    for line in [*CONSTRAINTS, *apart]:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.!+]*", line), line


def test_every_direct_dependency_is_locked() -> None:
    locked = {canonicalize_name(line.partition("==")[0]) for line in CONSTRAINTS}
    extras = PROJECT["project"]["optional-dependencies"]
    # The local model is fetched by itself, and only when asked for.
    locked_extras = (texts for extra, texts in extras.items() if extra != "local-llm")
    asked_for = [*PROJECT["project"]["dependencies"], *(text for texts in locked_extras for text in texts)]
    names = {canonicalize_name(Requirement(text).name) for text in asked_for} - {"makespan"}
    assert names - locked == set()


def test_the_locked_versions_are_ones_that_the_project_allows() -> None:
    locked = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in CONSTRAINTS)}
    extras = PROJECT["project"]["optional-dependencies"]
    for text in [*PROJECT["project"]["dependencies"], *(text for extra in extras.values() for text in extra)]:
        requirement = Requirement(text)
        version = locked.get(canonicalize_name(requirement.name))
        assert version is None or requirement.specifier.contains(version, prereleases=True), text


@pytest.mark.parametrize("target", ENTRY_POINTS)
def test_every_entry_point_loads(target: str) -> None:
    module, _, name = target.partition(":")
    found = importlib.import_module(module)
    assert not name or callable(getattr(found, name))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    (path,) = folder.glob("makespan-*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_the_wheel_carries_every_scenario_with_its_documents_and_the_configuration(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    files = [path.relative_to(ROOT) for path in (ROOT / "scenarios").rglob("*") if path.is_file()]
    assert len(files) >= 9
    assert {f"harness/_data/{path.as_posix()}" for path in files} - names == set()
    assert wheel.read("harness/_data/config.yaml") == (ROOT / "config.yaml").read_bytes()


def test_the_wheel_carries_both_packages_their_types_and_the_licence_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert {"executor/py.typed", "harness/py.typed"} <= set(names)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"executor", "harness", "node_runtime.py"}


def test_importing_the_executor_loads_no_harness_no_terminal_and_no_sdk() -> None:
    unwanted = [
        "harness",
        "typer",
        "rich",
        "yaml",
        "pydantic_settings",
        "opentelemetry.sdk",
        "httpx",
        "scipy",
        "dask",
        "ray",
    ]
    script = f"import executor, sys; print(*[name for name in {unwanted!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)
    assert run.stdout.split() == []


@pytest.mark.parametrize("package", ["executor", "harness/testing"])
def test_no_module_that_others_embed_names_the_telemetry_sdk(package: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for module in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
        if module.startswith("opentelemetry.sdk")
    ]
    assert found == []


def test_every_module_opens_with_what_it_is_for() -> None:
    modules = [path for package in ("executor", "harness") for path in (ROOT / package).rglob("*.py")]
    assert [str(path) for path in modules if not ast.get_docstring(ast.parse(path.read_bytes()))] == []


def test_the_hooks_before_a_commit_run_the_tools_of_the_environment() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repository["repo"] for repository in hooks["repos"]] == ["local"]
    commands = [hook["entry"].split()[0] for repository in hooks["repos"] for hook in repository["hooks"]]
    assert all(command.startswith(".venv/bin/") for command in commands)


def test_the_check_before_a_merge_is_an_executable_that_runs_both_suites_and_the_bare_machine() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert {"make test-bare", "make test", "make test-slow"} <= set(script.read_text(encoding="utf-8").splitlines())


def test_the_program_of_the_local_model_is_locked_once() -> None:
    assert f"{PROGRAM.name}=={PROGRAM.version}" in CONSTRAINTS
    requirement = Requirement(PROJECT["project"]["optional-dependencies"]["local-llm"][0])
    assert requirement.name == PROGRAM.name
    assert requirement.specifier.contains(PROGRAM.version)


def test_no_other_extra_brings_the_local_model() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    for name in set(extras) - {"local-llm"}:
        requirements = [Requirement(text) for text in extras[name]]
        assert PROGRAM.name not in {requirement.name for requirement in requirements}, name
        assert all("local-llm" not in requirement.extras for requirement in requirements), name
