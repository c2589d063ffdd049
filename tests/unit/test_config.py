"""The configuration: its layers, and what is said about a wrong one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from executor.model.findings import Finding, WorkflowError
from harness.config import Config, load_config


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without a configuration, and an environment without settings."""
    import os

    for name in [name for name in os.environ if name.startswith("MAKESPAN_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(text: str, name: str = "mine.yaml") -> Path:
    path = Path(name)
    path.write_text(text)
    return path


def faults(path: Path | None = None, **overrides: object) -> list[Finding]:
    with pytest.raises(WorkflowError) as caught:
        load_config(path, overrides=overrides)
    return list(caught.value.findings)


def test_without_any_file_the_packaged_one_holds() -> None:
    config = load_config()
    assert (config.executor, config.workers, config.policy) == ("threads", None, "dataflow")
    assert config.default_tool == "content_generator"
    assert {"content_generator", "nmt_translator"} <= config.tools.keys()
    assert config.chat.workflow_mode.enabled
    assert config.chat.workflow_mode.detect_keywords == ("and", "then", "translate", "convert")
    assert config.llm.base_url is None


def test_a_file_in_the_current_folder_is_found() -> None:
    written("workers: 3\n", "config.yaml")
    assert load_config().workers == 3


def test_a_file_keeps_the_packaged_tools_and_replaces_those_that_it_declares() -> None:
    config = load_config(written("tools: {content_generator: {kind: noop}}\nllm: {model: m}\n"))
    assert config.tools["content_generator"].kind == "noop"
    assert config.tools["content_generator"].description == ""
    assert "nmt_translator" in config.tools
    assert (config.llm.model, config.llm.timeout_seconds) == ("m", 120.0)


def test_environment_overrides_the_file_and_the_command_line_overrides_both(monkeypatch: pytest.MonkeyPatch) -> None:
    path = written("workers: 1\nexecutor: serial\npolicy: levels\n")
    monkeypatch.setenv("MAKESPAN_WORKERS", "2")
    monkeypatch.setenv("MAKESPAN_EXECUTOR", "asyncio")
    config = load_config(path, overrides={"workers": 3, "executor": None})
    assert (config.workers, config.executor, config.policy) == (3, "asyncio", "levels")


def test_nested_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAKESPAN_LLM__TIMEOUT_SECONDS", "5")
    monkeypatch.setenv("MAKESPAN_LLM__MODEL", "7")
    monkeypatch.setenv("MAKESPAN_RESOURCES__LLM__CAPACITY", "4")
    monkeypatch.setenv("MAKESPAN_CHAT__WORKFLOW_MODE__DETECT_KEYWORDS", '["und"]')
    config = load_config()
    assert config.llm.timeout_seconds == 5
    assert config.llm.model == "7"
    assert config.resources["llm"].capacity == 4
    assert config.chat.workflow_mode.detect_keywords == ("und",)


def test_every_fault_of_a_file_has_its_line() -> None:
    found = faults(written("workers: '4'\nexecuter: x\nllm:\n  base_url: ftp://x\n  modell: y\n"))
    assert {(each.code, each.line) for each in found} == {
        ("wrong-type", 1), ("unknown-field", 2), ("invalid", 4), ("unknown-field", 5),
    }  # fmt: skip
    assert all(each.file == "mine.yaml" for each in found)


def test_a_fault_in_the_environment_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAKESPAN_LLM__TIMEOUT_SECONDS", "soon")
    monkeypatch.setenv("MAKESPAN_WORKERS", "0")
    found = faults()
    assert {each.file for each in found} == {
        "environment variable MAKESPAN_LLM__TIMEOUT_SECONDS", "environment variable MAKESPAN_WORKERS",
    }  # fmt: skip


def test_a_fault_on_the_command_line_says_so() -> None:
    (fault,) = faults(policy="fifo")
    assert (fault.file, fault.code) == ("command line", "unknown-value")


def test_a_section_of_another_program_is_a_warning_where_the_file_merely_lies_there() -> None:
    text = "workerz: 2\nrag_memory: {use: true}\nworkers: 2\n"
    written(text, "config.yaml")
    config = load_config()
    assert config.workers == 2
    assert [(each.severity, each.line) for each in config.findings] == [("warning", 1), ("warning", 2)]
    assert "workers" in config.findings[0].fix
    assert [each.code for each in faults(written(text))] == ["unknown-field", "unknown-field"]


def test_the_key_stands_in_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAKESPAN_LLM__API_KEY", "12345")
    config = load_config()
    assert config.llm.api_key is not None
    assert config.llm.api_key.get_secret_value() == "12345"
    assert "12345" not in repr(config)
    monkeypatch.setenv("MAKESPAN_LLM__API_KEY", "[12345]")
    monkeypatch.setenv("MAKESPAN_WORKERS", "x")
    assert "12345" not in "\n".join(str(each) for each in faults())


def test_a_missing_file_is_a_finding() -> None:
    assert [each.code for each in faults(Path("nowhere.yaml"))] == ["missing-file"]


def test_a_finding_about_a_declared_tool_is_placed_in_the_file_that_declares_it() -> None:
    config = load_config(written("tools:\n  mine: {kind: noop}\n"))
    placed = config.place(Finding("error", "x", "y", path=("tools", "mine", "kind")))
    assert (placed.file, placed.line) == ("mine.yaml", 2)
    assert config.place(Finding("error", "x", "y", path=("tools", "nmt_translator"))).file != "mine.yaml"


def test_the_constructor_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAKESPAN_WORKERS", "2")
    assert Config().workers is None


def test_the_package_can_be_imported_without_pydantic() -> None:
    code = "import sys, harness, harness.files.packaged; assert 'pydantic' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
