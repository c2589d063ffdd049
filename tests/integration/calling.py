"""Calling the command: in this process, or in one of its own; and the small scenario that most of it is called with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner, Result

from harness.cli import app
from harness.result import run_schema

COMMAND = [sys.executable, "-m", "harness.cli"]
EXECUTORS = ("serial", "threads", "processes", "asyncio", "virtual")

JOKE = """
scenario: joke
scale: 0.02
inputs: {topic: cats}
tools:
  writer: {kind: llm}
steps:
  - {step_id: joke, description: Write a joke, tool: writer, expected_seconds: 5,
     prompt: "A joke on {{ inputs.topic }}"}
  - {step_id: french, description: To French, tool: writer, expected_seconds: 3,
     prompt: "French: {{ steps.joke.output }}"}
  - {step_id: spanish, description: To Spanish, tool: writer, expected_seconds: 3,
     prompt: "Spanish: {{ steps.joke.output }}"}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for name in [name for name in os.environ if name.startswith("MAKESPAN_")]:
        monkeypatch.delenv(name)
    (tmp_path / "joke.yaml").write_text(JOKE, encoding="utf-8")
    return tmp_path


def called(*arguments: str) -> Result:
    """The command in this process, for where a process is not the point."""
    return CliRunner().invoke(app, list(arguments))


def started(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )


def the_result(text: str) -> dict[str, Any]:
    """The one result of a document, after the whole of it was checked by its schema."""
    document = json.loads(text)
    jsonschema.validate(document, run_schema(), cls=jsonschema.Draft202012Validator)
    (result,) = document["results"]
    return dict(result)
