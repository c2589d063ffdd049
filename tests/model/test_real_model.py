"""The real model on this machine: it runs scenarios, is killed in the middle, is served, and leaves nothing.

``make test-model`` runs this folder, after ``makespan llm install`` in an environment of its own.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import httpx
import pytest

from harness.config import LanguageModel, LocalModel
from harness.execution import execute
from harness.local_llm import LocalServer, suited
from harness.local_llm.files import find_program
from harness.scenario.scenario_file import load
from tests.child_programs import Program
from tests.integration.calling import COMMAND, called, the_result


def endpoint(server: LocalServer) -> LanguageModel:
    return LanguageModel.model_validate(
        {"base_url": server.base_url, "api_key": server.key, "model": server.model, "slots": server.slots}
    )


@pytest.mark.parametrize("name", ["three_jokes", "joke_translations"])
def test_a_scenario_runs_unchanged_on_the_local_model(name: str, server: LocalServer) -> None:
    execution = execute(load(name), llm=endpoint(server))
    assert execution.run.ok, execution.run.errors
    assert not execution.stand_in
    for output in execution.run.outputs.values():
        assert isinstance(output, str)
        assert output.strip()
        assert "[stand-in" not in output


def test_no_more_calls_run_at_once_than_the_server_has_slots(server: LocalServer) -> None:
    loaded = load("three_jokes")
    assert loaded.resources["llm"].capacity == 4
    execution = execute(loaded, llm=endpoint(server))
    assert execution.loaded.resources["llm"].capacity == server.slots == 2
    result = execution.result()
    assert result["concurrency"]["max"] == 2
    assert "resource.llm" in result["lost_seconds"]


def test_a_server_that_is_killed_in_the_middle_comes_back_and_its_steps_are_tried_again() -> None:
    with LocalServer(LocalModel(slots=2, max_tokens=64)) as server:
        pid = server.pid
        assert pid is not None
        threading.Timer(1.0, os.kill, (pid, signal.SIGKILL)).start()
        execution = execute(load("three_jokes"), llm=endpoint(server))
        assert execution.run.ok, execution.run.errors
        assert server.restarts == 1
        assert server.pid != pid
    assert max(attempt.attempt for attempt in execution.run.timeline.attempts) > 1


def test_only_who_knows_the_key_is_answered(server: LocalServer) -> None:
    body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
    refused = httpx.post(f"{server.base_url}/chat/completions", json=body, trust_env=False)
    assert refused.status_code == 401
    assert server.pid is not None
    listed = Path(f"/proc/{server.pid}/cmdline").read_bytes()
    assert server.key.encode() not in listed
    assert b"127.0.0.1" in listed


def test_a_page_from_elsewhere_is_not_let_in_by_the_fetched_program(server: LocalServer) -> None:
    if not find_program().is_generic:
        pytest.skip("the program here is the user's own")
    headers = {"Origin": "http://elsewhere.example", "Authorization": f"Bearer {server.key}"}
    answer = httpx.get(f"{server.base_url}/models", headers=headers, trust_env=False)
    assert answer.headers.get("access-control-allow-origin") not in ("*", "http://elsewhere.example")


def test_the_command_starts_a_server_for_its_run_and_leaves_none(with_model: Path) -> None:
    (with_model / "config.yaml").write_text("llm: {local: {max_tokens: 16}}", encoding="utf-8")
    before = servers_of(os.getpid())
    done = called("run", "three_jokes", "--llm", "local", "--json", "out.json")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert "STAND-IN" not in done.stdout
    result = the_result((with_model / "out.json").read_text(encoding="utf-8"))
    assert [step["status"] for step in result["steps"]] == ["succeeded"] * 3
    assert servers_of(os.getpid()) == before


def test_a_sentence_runs_on_the_local_model(with_model: Path) -> None:
    (with_model / "config.yaml").write_text("llm: {base_url: local, local: {max_tokens: 16}}", encoding="utf-8")
    done = called("run", "--task", "write 3 different jokes about cats, dogs, and birds")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert "Executing 3 steps in parallel:" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_serve_answers_until_it_is_ended_and_leaves_nothing(number: signal.Signals, with_model: Path) -> None:
    argv = [*COMMAND, "llm", "serve", "--slots", "3"]
    with Program(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "3 requests at once" in line
            base_url = line.split(" answers on ")[1].split(",")[0]
            # The number of slots is not given: the server itself says it.
            loaded = suited(load("three_jokes"), LanguageModel(base_url=base_url))
            assert loaded.resources["llm"].capacity == 3
            below = servers_of(process.pid)
            assert len(below) == 1
            process.send_signal(number)
            status = process.wait(timeout=30)
        finally:
            process.kill()
    assert status == (-9 if number == signal.SIGKILL else 0)
    end = time.monotonic() + 20
    while any(is_alive(pid) for pid in below) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(is_alive(pid) for pid in below)


def test_installing_again_fetches_nothing(with_model: Path) -> None:
    done = called("llm", "install")
    assert done.exit_code == 0, done.stderr
    assert "fetch" not in done.stdout
    assert "The program is there: " in done.stdout
    assert "The weights are there: " in done.stdout


def test_the_doctor_has_tried_the_program(with_model: Path) -> None:
    done = called("doctor")
    assert re.search(r"ok +local model +\S+ \(version.*\) with \S+\.gguf", done.stdout), done.stdout


def is_alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    return False


def servers_of(pid: int) -> list[int]:
    done = subprocess.run(["ps", "-ww", "-eo", "pid=,ppid=,args="], check=True, capture_output=True, text=True)
    rows = (line.split(None, 2) for line in done.stdout.splitlines())
    return [int(child) for child, parent, args in rows if int(parent) == pid and "--ctx-size" in args]
