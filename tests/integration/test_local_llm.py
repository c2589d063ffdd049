"""What a local model may lack and how its server may fail, with programs that behave like broken servers.

The real model has a folder of its own, tests/model; how it is installed, test_llm_install.py.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from executor.model.workflow import Resource, Retry
from harness.config import LanguageModel, LocalModel, load_config
from harness.execution import execute
from harness.local_llm import LocalModelError, LocalServer, local_model, suited
from harness.local_llm.files import find_program, find_weights
from harness.local_llm.using import PATIENT_RETRY
from harness.scenario.scenario_file import load
from harness.standin import StandIn
from tests.integration.calling import called, folder

__all__ = ["folder"]


def endpoint(server: LocalServer) -> LanguageModel:
    return LanguageModel.model_validate(
        {"base_url": server.base_url, "api_key": server.key, "model": server.model, "slots": server.slots}
    )


def servers_of(pid: int) -> list[int]:
    done = subprocess.run(["ps", "-ww", "-eo", "pid=,ppid=,args="], check=True, capture_output=True, text=True)
    rows = (line.split(None, 2) for line in done.stdout.splitlines())
    return [int(child) for child, parent, args in rows if int(parent) == pid and "--ctx-size" in args]


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


def test_an_option_that_a_program_of_another_version_refuses_is_left_out(tmp_path: Path) -> None:
    code = f"""
for option in ("--no-ui", "--props"):
    if option in sys.argv: sys.exit("error: invalid argument: " + option)
{HEALTHY}"""
    with LocalServer(settings_for(tmp_path, code)) as server:
        assert server.slots == 7
        assert server.restarts == 0


def test_a_refused_option_that_is_needed_ends_it_with_its_name(tmp_path: Path) -> None:
    code = "sys.exit('error: invalid argument: --ctx-size')"
    with pytest.raises(LocalModelError, match="invalid argument: --ctx-size"):
        LocalServer(settings_for(tmp_path, code)).start()


def test_a_named_program_finds_its_own_libraries_then_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "built").mkdir()
    program = broken_server(tmp_path / "built", "")
    (tmp_path / "link").symlink_to(program)
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/gpu/lib")
    found = find_program(str(tmp_path / "link"))
    assert found.argv == (str(tmp_path / "link"),)
    assert found.environment() == {"LD_LIBRARY_PATH": f"{tmp_path / 'built'}:/opt/gpu/lib"}


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
        find_program("no-such-program")
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
