"""`makespan bench` as people call it: the table, the document, the store, limits, ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from harness.files.packaged import shipped_scenarios
from harness.result import run_schema, timeline_from_document
from harness.store.run_store import Store
from tests.child_programs import Program
from tests.integration.calling import COMMAND, called, folder, started

__all__ = ["folder"]

# What is expected holds on any machine, whatever else it does.
BLOCK = """
benchmark: {executors: [threads], workers: [2], repetitions: 3, warmup: 0}
expect: ["errors == 0", "threads@2 speedup_ratio > 0.001"]
"""


@pytest.fixture(autouse=True)
def own_data_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
    with (folder / "joke.yaml").open("a", encoding="utf-8") as stream:
        stream.write(BLOCK)


def document(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.validate(found, run_schema(), cls=jsonschema.Draft202012Validator)
    return dict(found)


def sums_up(found: dict[str, Any]) -> bool:
    return all(
        abs(sum(sample["lost_seconds"].values()) - sample["makespan_seconds"]) < 1e-6
        for result in found["results"] for sample in result["samples"]
    )  # fmt: skip


def test_each_cell_says_how_fast_it_was_could_be_and_what_held_it_back(folder: Path) -> None:
    done = started("bench", "joke.yaml", "--json", "out.json")
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("STAND-IN", "Benchmark of joke, 3 repetitions:", "95 % interval", "serial@1", "baseline",
                  "threads@2/dataflow", "efficiency", "lower bound", "lost most to", "What would help threads@2",
                  "in half the time", "Expectations (3 met, 0 not)"):  # fmt: skip
        assert words in done.stdout
    assert "\x1b" not in done.stdout
    found = document(folder / "out.json")
    assert [(one["executor"], one["workers"], one["repetitions"]) for one in found["results"]] == [
        ("serial", 1, 3),
        ("threads", 2, 3),
    ]
    assert sums_up(found)
    serial, threads = found["results"]
    assert serial["speedup_ratio"]["median"] == 1
    assert threads["speedup_ratio"]["ci95"] is not None
    assert threads["speedup_ratio"]["median"] == pytest.approx(threads["efficiency_ratio"] * 2)
    assert 0 < threads["lower_bound_seconds"] <= threads["makespan_seconds"]["median"] * (1 + 1e-9)
    assert threads["remedy"]
    assert {"slowdown", "running"} & threads["lost_seconds"].keys()
    assert timeline_from_document(threads).workers == 2
    assert [one["met"] for one in found["expectations"]] == [True] * 3
    assert found["environment"]["packages"]["scipy"]


@pytest.mark.slow
def test_serial_processes_dask_and_ray_give_the_same_outputs_in_one_table(folder: Path) -> None:
    scenario = str(shipped_scenarios()["cpu_bound"])
    where = ("-e", "serial,processes,dask,ray", "-w", "2", "--repetitions", "1", "--set", "numbers=2000")
    done = started("bench", scenario, *where, "--no-store", "--json", "out.json")
    # So few numbers gain nothing from processes, as the scenario expects of its own.
    assert done.returncode in (0, 3), done.stdout + done.stderr
    results = document(folder / "out.json")["results"]
    assert [one["executor"] for one in results] == ["serial", "processes", "dask", "ray"]
    outputs = [[step["output"] for step in one["steps"]] for one in results]
    assert outputs[0][-1]["ranges"] == 4
    assert all(one == outputs[0] for one in outputs)
    for cell in ("serial@1", "processes@2/dataflow", "dask@2/dataflow", "ray@2/dataflow"):
        assert re.search(rf"^ +{cell}\b", done.stdout, re.MULTILINE)


def test_the_run_is_in_the_store_and_so_is_the_whole_of_it(folder: Path) -> None:
    assert called("bench", "joke.yaml", "--quiet", "--json", "out.json").output == ""
    with Store.open() as store:
        (row,) = store.history()
        assert (row.status, row.cells, row.repetitions) == ("finished", 2, 6)
        assert store.load("@last")["results"] == document(folder / "out.json")["results"]


def test_nothing_is_kept_where_that_is_asked_for(folder: Path) -> None:
    assert called("bench", "joke.yaml", "--no-store").exit_code == 0
    assert not (folder / "data").exists()


def test_several_scenarios_are_measured_in_one_run_and_judged_by_themselves(folder: Path) -> None:
    other = (folder / "joke.yaml").read_text(encoding="utf-8").replace("scenario: joke", "scenario: other")
    (folder / "other.yaml").write_text(other.replace("ratio > 0.001", "ratio > 50"), encoding="utf-8")
    done = called("bench", "joke.yaml", "other.yaml", "--no-store", "--json", "-", "--junit", "out.xml")
    assert done.exit_code == 3
    found = json.loads(done.stdout)
    assert [one["scenario"] for one in found["results"]] == ["joke", "joke", "other", "other"]
    assert found["scenario"] == "joke + other"
    assert [(one["scenario"], one["met"]) for one in found["expectations"]][-1] == ("other", False)
    assert "NOT MET: threads@2 speedup_ratio > 50" in done.stderr
    root = ET.parse(folder / "out.xml").getroot()
    assert (root.get("tests"), root.get("failures")) == ("6", "1")


def test_an_expectation_about_a_cell_that_was_not_asked_for_is_not_judged(folder: Path) -> None:
    done = called("bench", "joke.yaml", "--no-store", "-e", "asyncio")
    assert done.exit_code == 0
    assert "not judged, its cell was not asked for: threads@2 speedup_ratio > 0.001" in done.stdout


def test_a_failed_step_is_exit_status_1_unless_errors_are_expected(folder: Path) -> None:
    text = """
steps: [{step_id: a, tool: flaky, args: {fail_times: 9}, retry: {max_attempts: 1}}]
benchmark: {executors: [threads], workers: [1], repetitions: 1, warmup: 0}
"""
    (folder / "bad.yaml").write_text(text, encoding="utf-8")
    assert called("bench", "bad.yaml", "--no-store").exit_code == 1
    (folder / "bad.yaml").write_text(text + 'expect: ["errors == 1"]\n', encoding="utf-8")
    assert called("bench", "bad.yaml", "--no-store").exit_code == 0


def test_a_dry_run_tells_and_runs_nothing(folder: Path) -> None:
    done = called("bench", "joke.yaml", "--dry-run", "--max-calls", "10", "--parameter", "topic=cats,dogs")
    assert done.exit_code == 0
    for words in ("Nothing is run", "2 cells, 6 runs", "3 a run, 18 in all", "In all: 12 runs, 36 calls",
                  "--max-calls 10 would end it before"):  # fmt: skip
        assert words in done.stdout
    assert not (folder / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-e", "thread"), ("no executor 'thread'", "did you mean 'threads'")),
        (("-w", "two"), ("--workers 'two'", "2,4,8")),
        (("-p", "barriers"), ("no policy 'barriers'", "'barrier'")),
        (("--parameter", "topics=a,b"), ("no input 'topics'", "'topic'")),
        (("--until-width", "5 percent"), ("--until-width", "5%")),
        (("--max-time", "soon"), ("--max-time 'soon'", "60s")),
        (("--max-calls", "2"), ("one run makes 3 calls",)),
        (("--cache", "uniq"), ("--cache 'uniq'", "'unique'")),
        (("--json", "no/such/folder.json"), ("cannot write JSON",)),
        (("--junit", "no/such/folder.xml"), ("cannot write JUnit XML",)),
        (("--replay", "nothing.jsonl"), ("cannot read the recorded calls",)),
        (("--record", "a", "--replay", "b"), ("--record and --replay",)),
        (("--record", "joke.yaml"), ("already",)),
        (("--store", "joke.yaml/x"), ("joke.yaml/x", "--no-store")),
        (("--workers", "2", "nothing.yaml"), ("nothing.yaml",)),
    ],
)
def test_bad_input_is_exit_status_2_with_a_fix_before_anything_runs(
    folder: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    done = called("bench", "joke.yaml", *arguments)
    assert done.exit_code == 2
    assert "Traceback" not in done.output
    assert "Benchmark of" not in done.output
    for word in words:
        assert word in done.output


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_writes_and_stores_what_was_finished(folder: Path, stop: signal.Signals) -> None:
    command = [*COMMAND, "bench", "joke.yaml", "-n", "5000", "--json", "out.json"]
    with Program(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: stored_repetitions(folder) >= 3)
        process.send_signal(stop)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, output + errors
    assert "interrupted: what was finished is kept" in output
    assert "makespan bench --resume @last" in output
    found = document(folder / "out.json")
    assert found["benchmark"]["stopped_by"] == "interrupted"
    assert sum(one["repetitions"] for one in found["results"]) >= 3
    assert sums_up(found)
    with Store.open() as store:
        (row,) = store.history()
        assert row.status == "interrupted"


def test_a_killed_benchmark_has_its_repetitions_in_the_store(folder: Path) -> None:
    with Program([*COMMAND, "bench", "joke.yaml", "-n", "5000", "-q"]) as process:
        wait_for(lambda: stored_repetitions(folder) >= 4)
        process.kill()
    with Store.open() as store:
        found = store.load("@last")
    jsonschema.validate(found, run_schema(), cls=jsonschema.Draft202012Validator)
    assert sum(one["repetitions"] for one in found["results"]) >= 4


def stored_repetitions(folder: Path) -> int:
    path = folder / "data/makespan/runs.sqlite"
    if not path.exists():
        return 0
    with Store.open(path) as store:
        return sum(row.repetitions for row in store.history())


def wait_for(condition: Any) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("it never came to that")


@pytest.mark.slow
def test_calls_are_recorded_once_and_replayed_for_nothing(folder: Path) -> None:
    assert called("bench", "joke.yaml", "--no-store", "-n", "2", "--record", "calls.jsonl").exit_code == 0
    options = ("-n", "2", "--replay", "calls.jsonl", "-e", "threads,processes", "-w", "3", "--json", "out.json")
    done = called("bench", "joke.yaml", "--no-store", *options)
    assert done.exit_code == 0, done.output
    assert "STAND-IN" not in done.stdout
    found = document(folder / "out.json")
    assert found["benchmark"]["calls"] == 0
    lines = [json.loads(line) for line in (folder / "calls.jsonl").read_text(encoding="utf-8").splitlines()[1:]]
    recorded = [{call["step_id"]: call["output"] for call in line["calls"]} for line in lines]
    assert [one["executor"] for one in found["results"]] == ["serial", "threads", "processes"]
    for one in found["results"]:
        assert {step["step_id"]: step["output"] for step in one["steps"]} in recorded


def test_a_replay_asks_the_endpoint_nothing_at_all(folder: Path) -> None:
    assert called("bench", "joke.yaml", "--no-store", "-n", "2", "--record", "calls.jsonl").exit_code == 0
    with socket.create_server(("127.0.0.1", 0)) as endpoint:
        endpoint.setblocking(False)
        address = f"http://127.0.0.1:{endpoint.getsockname()[1]}/v1"
        done = called("bench", "joke.yaml", "--no-store", "-n", "1", "--replay", "calls.jsonl", "--llm", address)
        assert done.exit_code == 0, done.output
        with pytest.raises(BlockingIOError):
            endpoint.accept()


@pytest.mark.slow
def test_the_calls_of_a_node_are_replayed_under_their_limit_and_the_node_does_not_run(folder: Path) -> None:
    text = shipped_scenarios()["translation_node"].read_text(encoding="utf-8")
    (folder / "node.yaml").write_text(text.partition("expect:")[0], encoding="utf-8")
    once = ("node.yaml", "--no-store", "-n", "1", "--set", "scale=0.02")
    assert called("bench", *once, "-e", "threads", "-w", "3", "--record", "calls.jsonl").exit_code == 0
    (folder / "node.yaml").write_text(
        text.partition("expect:")[0].replace("import json\n", "raise SystemExit(1)\n", 1), encoding="utf-8"
    )
    done = called("bench", *once, "-e", "threads,asyncio,processes", "-w", "3", "--replay", "calls.jsonl",
                  "--json", "out.json")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "STAND-IN" not in done.stdout
    found = document(folder / "out.json")
    assert found["benchmark"]["calls"] == 0
    assert [one["executor"] for one in found["results"]] == ["serial", "threads", "asyncio", "processes"]
    calls = [f"translations/{number}" for number in (1, 2, 3)]
    outputs = []
    for one in found["results"]:
        steps = {step["step_id"]: step for step in one["steps"]}
        assert sorted(steps) == ["joke", "translations", *calls]
        assert {step["status"] for step in steps.values()} == {"succeeded"}
        assert list(steps["translations"]["output"].values()) == [steps[call]["output"] for call in calls]
        assert steps["translations"]["attempts"][0]["blocked"]
        granted = sorted(steps[call]["attempts"][0]["granted"] for call in calls)
        # Two at a time: the third begins when another is over.
        assert granted[2] >= min(steps[call]["attempts"][0]["known"] for call in calls)
        outputs.append({step_id: step["output"] for step_id, step in steps.items()})
    assert all(one == outputs[0] for one in outputs)


class Model(BaseHTTPRequestHandler):
    """A model service of the world: it keeps what it was asked."""

    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body["messages"][0]["content"])
        answer = {"choices": [{"message": {"content": "fine"}, "finish_reason": "stop"}],
                  "usage": {"prompt_tokens": 5, "completion_tokens": 1}}  # fmt: skip
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def model_service() -> Iterator[str]:
    Model.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Model) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "beginnings"), [("unique", 5), ("allow", 1)])
def test_on_a_real_endpoint_no_two_runs_begin_alike_unless_caches_are_allowed(
    folder: Path, mode: str, beginnings: int
) -> None:
    with model_service() as url:
        text = f"""
tools: {{m: {{kind: llm, base_url: "{url}", model: m, system: Be short., stream: false}}}}
steps: [{{step_id: a, tool: m, prompt: hi}}, {{step_id: b, tool: m, prompt: ho}}]
benchmark: {{executors: [threads, processes], workers: [1], repetitions: 1, warmup: 0}}
"""
        (folder / "real.yaml").write_text(text, encoding="utf-8")
        repetitions = "1" if mode == "allow" else "2"
        arguments = ("-e", "threads,processes", "-w", "1", "-n", repetitions, "--max-calls", "10", "--cache", mode)
        done = called("bench", "real.yaml", "--no-store", "--json", "-", *arguments)
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["benchmark"]["calls"] == len(Model.asked) == (6 if mode == "allow" else 10)
        assert len(set(Model.asked)) == beginnings
        assert all(text.endswith("Be short.") for text in Model.asked)


@pytest.mark.slow
def test_a_store_that_fails_in_the_middle_costs_no_result(folder: Path) -> None:
    script = f"""
import sys
from harness.store.run_store import Store
from harness.store.store_errors import StoreError
def full(*_, **__): raise StoreError("database or disk is full")
Store.add_sample = Store.finish_run = full
sys.argv = ["makespan", "bench", {str(folder / "joke.yaml")!r}]
from harness.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "disk is full" in done.stderr
    assert "Benchmark of joke" in done.stdout
    (rescued,) = folder.glob("makespan-*.json")
    assert rescued.name in done.stderr
    assert len(document(rescued)["results"]) == 2


def test_progress_is_plain_lines_without_a_terminal_and_can_be_switched_off(folder: Path) -> None:
    assert "warm-up, 0 of 8 runs done" in called("bench", "joke.yaml", "--no-store", "--warmup", "1").stdout
    assert "runs done" not in called("bench", "joke.yaml", "--no-store", "--no-progress").stdout


@pytest.mark.slow
def test_a_reader_that_goes_away_costs_no_result(folder: Path) -> None:
    command = f"{' '.join(COMMAND)} bench joke.yaml --json out.json | head -1"
    subprocess.run(["bash", "-c", command], check=True, capture_output=True, env=os.environ)
    assert len(document(folder / "out.json")["results"]) == 2


@pytest.mark.parametrize(
    ("place", "repetitions"),
    [("harness.benchmark.runner.Runner.run", 0), ("harness.benchmark.bench_judging.Judge.judge", 3)],
)
def test_a_bench_that_is_interrupted_anywhere_is_kept_as_interrupted_with_what_it_had(
    place: str, repetitions: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(place, interrupted)
    done = called("bench", "joke.yaml", "-n", "3", "-e", "virtual", "-w", "2", "--store", "kept.db")
    assert done.exit_code == 130, done.output
    with closing(sqlite3.connect("kept.db")) as database:
        ((run_id, status),) = database.execute("SELECT run_id, status FROM runs").fetchall()
    assert status == "interrupted"
    if repetitions:
        with Store.open(Path("kept.db")) as store:
            assert {result["repetitions"] for result in store.load(run_id)["results"]} == {repetitions}
