"""`isolate: bubblewrap` on real namespaces: what a program and a node may not do there, and what still works."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from executor import run
from executor.model.workflow import Step, ToolDeclaration, Workflow
from executor.tools.registry import make_tool
from executor.tools.tool import ToolOptionsError
from tests.integration.test_programs_left import bearing
from tests.missing import program

TRY = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"]


@pytest.fixture(scope="module")
def bubblewrap() -> None:
    """It is here, and the kernel lets it make namespaces."""
    program("bwrap", "bubblewrap")
    if subprocess.run(TRY, check=False, capture_output=True).returncode:
        pytest.skip("the kernel lets this user make no namespaces")


needs_bubblewrap = pytest.mark.usefixtures("bubblewrap")


def outcome(
    kind: str, args: dict[str, Any], *, backend: str = "threads", timeout: float | None = None, **options: Any
) -> Any:
    """What the step of an isolated tool gives, or its error."""
    tool = ToolDeclaration.model_validate({"kind": kind, "isolate": "bubblewrap", **options})
    step = Step(step_id="a", tool="t", args=args, timeout=timeout)
    done = run(Workflow(workflow_id="w", steps=(step,)), tools={"t": tool}, backend=backend, workers=1)
    return done.errors.get("a") or done.outputs["a"]


@pytest.fixture
def port() -> Iterator[int]:
    """A server on loopback, that an isolated program must not reach."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@needs_bubblewrap
@pytest.mark.parametrize("backend", ["threads", "asyncio"])
def test_an_isolated_node_works_and_sees_neither_network_nor_processes_nor_can_it_write(
    backend: str, port: int, tmp_path: Path
) -> None:
    source = f"""
import json, os, socket, sys
def tried(function):
    try:
        function()
        return "worked"
    except OSError as error:
        return type(error).__name__
def main():
    return {{
        "number": json.load(sys.stdin)["number"] + 1,
        "network": tried(lambda: socket.create_connection(("127.0.0.1", {port}), 1)),
        "write": tried(lambda: open("/etc/makespan-was-here", "w")),
        "here": tried(lambda: open("{tmp_path}/left", "w")),
        "temporary": tried(lambda: open("/tmp/own", "w").write("1")),
        "processes": len([name for name in os.listdir("/proc") if name.isdigit()]),
    }}
"""
    found = outcome("node", {"source": source, "input": {"number": 1}}, backend=backend)
    assert found["number"] == 2
    assert found["network"] != "worked"
    assert found["write"] != "worked"
    assert found["here"] != "worked" or not (tmp_path / "left").exists()
    assert found["temporary"] == "worked"
    assert not Path("/tmp/own").exists()
    assert found["processes"] <= 3


@needs_bubblewrap
def test_an_isolated_node_runs_from_its_file_calls_tools_and_has_its_memory_limit(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("VALUE = 20\n")
    (tmp_path / "node.py").write_text(
        "import helper, json, sys\nfrom node_runtime import call_tool\n"
        "def main():\n    take = len(bytearray(json.load(sys.stdin)['take']))\n"
        "    return helper.VALUE + take + len(call_tool('command', argv=['echo', 'four']))\n"
    )
    options = {"file": str(tmp_path / "node.py"), "memory_limit_bytes": 300_000_000}
    assert outcome("node", {"take": 0}, **options) == 24
    assert "MemoryError" in str(outcome("node", {"take": 400_000_000}, **options))


@needs_bubblewrap
def test_an_isolated_program_has_stdin_its_folder_and_its_exit_status(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("found")
    script = "cat; cat there; echo x > there"
    error = outcome("command", {"argv": ["sh", "-c", script], "stdin": "said ", "cwd": str(tmp_path)})
    assert "exited with status" in str(error)
    assert "Read-only file system" in str(error)
    assert (tmp_path / "there").read_text() == "found"
    assert outcome("command", {"argv": ["cat", "there"], "cwd": str(tmp_path)}) == "found"
    assert "there is no program 'nosuchprogram'" in str(outcome("command", {"argv": ["nosuchprogram"]}))


@needs_bubblewrap
def test_what_an_isolated_program_starts_in_its_own_session_without_a_mark_ends_with_it() -> None:
    argument = f"86401.{os.getpid()}"
    script = f"env -i setsid sleep {argument} & sleep 0.3"
    assert outcome("command", {"argv": ["sh", "-c", script]}) == ""
    assert bearing(argument) == []


def test_isolation_is_refused_where_bubblewrap_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for kind in ("command", "node"):
        declaration = ToolDeclaration.model_validate({"kind": kind, "isolate": "bubblewrap"})
        with pytest.raises(ToolOptionsError, match="isolate: there is no 'bwrap' on the PATH") as raised:
            make_tool("t", declaration)
        assert "apt install bubblewrap" in (raised.value.fix or "")
