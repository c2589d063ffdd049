"""`makespan bench --resume`: what a benchmark has that was killed or interrupted is kept, the rest is measured."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from harness.benchmark import MatrixRequest, Measured, Runner, Session, bench_document, build_matrix
from harness.benchmark.bench_figures import sample_document
from harness.benchmark.kept_repetitions import kept_words, measured_again
from harness.benchmark.session import Listener, Sample
from harness.config import Config
from harness.result import run_schema
from harness.store.run_store import Store
from tests.child_programs import Program
from tests.integration.calling import COMMAND, called, folder

__all__ = ["folder"]

DRAWN = """
scenario: drawn
seed: 7
resources: {service: {capacity: 1}}
steps:
  - {step_id: a, tool: flaky, args: {seconds: 2, fail_ratio: 0.5}, retry: {max_attempts: 9}}
  - {step_id: b, tool: flaky, args: {seconds: 3, fail_ratio: 0.5}, needs: {service: 1}, retry: {max_attempts: 9}}
  - {step_id: c, tool: flaky, args: {seconds: 3, fail_ratio: 0.9}, needs: {service: 1}, retry: {max_attempts: 2}}
  - {step_id: d, tool: noop, prompt: "{{ steps.b.output }}", depends_on: [a]}
benchmark: {executors: [virtual], workers: [1, 2, 3], repetitions: 4}
"""
MEASURED = (
    "cpu_seconds", "voluntary_context_switches", "involuntary_context_switches", "peak_memory_bytes",
    "children_peak_memory_bytes", "startup_seconds", "started_at",
)  # fmt: skip
# Each run notes that it was done. Where there is a file `slow`, runs after so many wait to be ended.
NOTED = """
scenario: noted
tools:
  note:
    kind: command
    argv: [sh, -c, "echo run >> done; test ! -e slow || test $(wc -l < done) -le $(cat slow) || sleep 60; sleep 0.01"]
steps: [{step_id: a, tool: note}, {step_id: b, tool: note}]
benchmark: {executors: [threads], workers: [2], repetitions: 4, warmup: 0}
"""


class Kept(Listener):
    """What a store would have, as JSON. ``most``: Ctrl-C comes instead of one more run."""

    def __init__(self, matrix: Any, most: int) -> None:
        self.matrix, self.most = matrix, most
        self.kept: list[str] = []
        self.begun: list[tuple[str, int]] = []

    def begins(self, cell: Any, repetition: int, seconds_left: float | None) -> None:
        if len(self.begun) == self.most:
            raise KeyboardInterrupt
        self.begun.append((cell.label, repetition))

    def analysed(self, sample: Sample) -> None:
        self.kept.append(json.dumps([sample_document(sample), kept_words(sample, self.matrix)]))

    def again(self) -> list[Measured]:
        return [measured_again(words, sample, self.matrix) for sample, words in map(json.loads, self.kept)]


def figures(outcome: Any) -> dict[str, Any]:
    """The document without what depends on the clock."""
    found = bench_document(outcome, {"run_id": "x"}, seed=7, usable_cores=2)
    for result in found["results"]:
        del result["cold_startup_seconds"], result["startup_seconds"]
        for sample in result["samples"]:
            for name in MEASURED:
                sample.pop(name, None)
    return json.loads(json.dumps(found))


@pytest.mark.parametrize("done", range(17))
def test_two_sessions_give_the_figures_of_one(tmp_path: Path, done: int) -> None:
    path = tmp_path / "drawn.yaml"
    path.write_text(DRAWN, encoding="utf-8")
    matrix = build_matrix([path], MatrixRequest(), Config())
    with Runner(matrix) as runner:
        whole_keeper = Kept(matrix, 1000)
        whole = Session(matrix, runner, seed=7, usable_cores=2, listeners=[whole_keeper]).run()
        first = Kept(matrix, done)
        interrupted = Session(matrix, runner, seed=7, usable_cores=2, listeners=[first]).run()
        assert interrupted.stopped_by == ("interrupted" if done < 12 else "repetitions")
        second = Kept(matrix, 1000)
        session = Session(matrix, runner, seed=7, usable_cores=2, listeners=[second])
        session.restore(first.again())
        resumed = session.run()
    assert [*first.begun, *second.begun] == whole_keeper.begun
    assert figures(resumed) == figures(whole)


def runs_done(folder: Path) -> int:
    path = folder / "done"
    return len(path.read_text(encoding="utf-8").split()) if path.exists() else 0


def killed_bench(folder: Path, repetitions: int, stop: signal.Signals) -> str:
    """The id of a benchmark that was ended after so many stored repetitions."""
    (folder / "noted.yaml").write_text(NOTED, encoding="utf-8")
    # The first repetitions at full speed, then one that waits to be ended.
    (folder / "slow").write_text(f"{2 * (repetitions + 1)}", encoding="utf-8")
    command = [*COMMAND, "bench", "noted.yaml", "--store", "runs.sqlite", "-q"]
    with Program(command, cwd=folder, start_new_session=True) as process:
        deadline = time.monotonic() + 60
        while stored(folder)[1] < repetitions:
            assert process.poll() is None or stored(folder)[1] >= repetitions
            assert time.monotonic() < deadline, "it never came to that"
            time.sleep(0.002)
        process.send_signal(stop)
        process.wait(60)
    # What its steps have started ends a moment later, and may note a run until then.
    deadline = time.monotonic() + 60
    while at_work_in(folder):
        assert time.monotonic() < deadline, "something that a step has started lives on"
        time.sleep(0.02)
    (folder / "slow").unlink()
    return stored(folder)[0]


def at_work_in(folder: Path) -> list[str]:
    """The other processes whose current folder it is."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (place / "cwd").readlink() == folder.resolve() and place.name != str(os.getpid()):
                found.append(place.name)
    return found


def stored(folder: Path) -> tuple[str, int]:
    path = folder / "runs.sqlite"
    if not path.exists():
        return "", 0
    with closing(sqlite3.connect(path, timeout=10)) as connection:
        try:
            found = connection.execute("SELECT run_id, (SELECT COUNT(*) FROM samples) FROM runs").fetchone()
        except sqlite3.OperationalError:
            return "", 0
    return found or ("", 0)


def bench(*arguments: str) -> Any:
    return called("bench", *arguments, "--store", "runs.sqlite", "--no-progress")


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_a_bench_that_was_ended_goes_on_at_the_first_repetition_that_is_missing(
    folder: Path, stop: signal.Signals
) -> None:
    run_id = killed_bench(folder, 3, stop)
    before = stored(folder)[1]
    assert 3 <= before < 8
    status = {signal.SIGKILL: "unfinished", signal.SIGINT: "interrupted"}[stop]
    with Store.open(folder / "runs.sqlite") as store:
        assert [row.status for row in store.history()] == [status]
    listed = called("history", "--store", "runs.sqlite").stdout
    assert ("killed" if stop == signal.SIGKILL else "interrupted") in listed
    if stop == signal.SIGKILL:
        assert f"What is missing can be done: makespan bench --resume {run_id[:12]}" in listed
    (folder / "done").unlink()
    done = bench("--resume", "@last", "--json", "out.json")
    assert done.exit_code == 0, done.output
    assert f"Resuming benchmark {run_id[:12]} of noted: {before} of 8 repetitions are kept." in done.stdout
    assert done.stdout.index("kept, ") < done.stdout.index("Benchmark of noted, 4 repetitions")
    # Two steps a repetition, and none twice.
    assert runs_done(folder) == 2 * (8 - before)
    found = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    jsonschema.validate(found, run_schema(), cls=jsonschema.Draft202012Validator)
    assert found["run_id"] == run_id
    assert [[sample["repetition"] for sample in one["samples"]] for one in found["results"]] == [[1, 2, 3, 4]] * 2
    assert all(sample["baseline_seconds"] is not None for one in found["results"] for sample in one["samples"])
    with Store.open(folder / "runs.sqlite") as store:
        (row,) = store.history()
        assert (row.status, row.repetitions, row.run_id) == ("finished", 8, run_id)
        assert store.repetitions(run_id) == []
    again = bench("--resume", run_id[:8])
    assert again.exit_code == 2
    assert "is finished: no repetition of it is missing" in again.stderr


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("left")
    (place / "noted.yaml").write_text(NOTED, encoding="utf-8")
    killed_bench(place, 2, signal.SIGKILL)
    return place


@pytest.mark.parametrize(
    ("arguments", "text", "words"),
    [
        (["-n", "5"], NOTED, "repetitions of 'noted': 4 then, 5 now"),
        (["--seed", "3"], NOTED, "seed: 0 then, 3 now"),
        (["-w", "2,3"], NOTED, "the cell noted threads@3/dataflow is asked for and was not before"),
        (["-e", "serial"], NOTED, "the cell noted threads@2/dataflow was measured and is not any more"),
        ([], NOTED.replace("step_id: b", "step_id: c"), "the file of 'noted' has changed"),
        ([], NOTED.replace("sleep 0.01", "sleep 0.02"), "the declaration or code of tool 'note'"),
        (["--cache", "allow"], NOTED, "--cache: unique then, allow now"),
        (["--no-store"], NOTED, "leave --no-store out"),
        (["--record", "calls.jsonl"], NOTED, "--record and --resume at once"),
    ],
)
def test_another_benchmark_is_refused_and_what_differs_is_named(
    left: Path, folder: Path, arguments: list[str], text: str, words: str
) -> None:
    (left / "noted.yaml").write_text(text, encoding="utf-8")
    before = stored(left)
    done = called("bench", "--resume", "@last", "--store", str(left / "runs.sqlite"), *arguments)
    assert done.exit_code == 2, done.output
    assert words in done.stderr
    assert "Traceback" not in done.output
    assert stored(left) == before


def test_without_a_benchmark_there_is_nothing_to_resume(folder: Path) -> None:
    assert "give a SCENARIO, or --resume RUN" in called("bench").stderr
    assert "there is no benchmark to resume" in bench("--resume", "@last").stderr
    called("run", "joke.yaml", "--store", "runs.sqlite", "-q")
    assert "no benchmark is meant by '@last'" in bench("--resume", "@last").stderr
    with Store.open(folder / "runs.sqlite") as store:
        run_id = store.history()[0].run_id
    assert "it is no benchmark, or an older one" in bench("--resume", run_id).stderr


def test_a_bench_that_was_killed_before_its_first_repetition_is_listed_and_goes_on(folder: Path) -> None:
    (folder / "noted.yaml").write_text(NOTED.replace("sleep 0.01", "while [ ! -e go ]; do sleep 0.02; done"))
    with Program([*COMMAND, "bench", "noted.yaml", "--store", "runs.sqlite", "-q"], start_new_session=True) as process:
        deadline = time.monotonic() + 60
        while not stored(folder)[0] or not runs_done(folder):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
    (folder / "go").touch()
    listed = called("history", "--store", "runs.sqlite").stdout
    assert "killed" in listed
    assert f"makespan bench --resume {stored(folder)[0][:12]}" in listed
    assert "noted" not in called("history", "--store", "runs.sqlite", "--scenario", "other").stdout
    done = bench("--resume", "@last")
    assert done.exit_code == 0, done.output
    assert "0 of 8 repetitions are kept." in done.stdout


def test_a_bench_that_goes_on_is_not_resumed_beside_itself(folder: Path) -> None:
    slow = NOTED.replace("sleep 0.01", "sleep 30")
    (folder / "noted.yaml").write_text(slow, encoding="utf-8")
    command = [*COMMAND, "bench", "noted.yaml", "--store", "runs.sqlite", "-q"]
    with Program(command, start_new_session=True) as process:
        deadline = time.monotonic() + 60
        while not stored(folder)[0] or not runs_done(folder):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        refused = bench("--resume", "@last")
        going_on = called("history", "--store", "runs.sqlite", "--json", "-").stdout
        process.terminate()
        process.wait(60)
    assert '"killed"' not in going_on
    assert refused.exit_code == 2
    assert f"is writing benchmark {stored(folder)[0][:12]}" in refused.stderr
