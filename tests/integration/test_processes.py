"""The `processes` backend, with real processes: what they say, how they die, and that none is left."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from executor import BackendError, Instrument, Resource, Retry, Run, Step, Tool, ToolContext, arun, run
from executor.backends.base import usable_cores
from executor.backends.processes.frames import MAGIC_BYTES, SUCCEEDED, pack_result
from executor.backends.processes.process_backend import ProcessesBackend
from executor.record.timeline import Attempt
from executor.scheduler.scheduler import Scheduler
from tests.integration.process_runs import DIES, die_once, go, go_until, gone, no_child_is_left, steps_of, written

__all__ = ["no_child_is_left"]


def whoami() -> int:
    return os.getpid()


def length(data: bytes) -> int:
    return len(data)


# ---------------------------------------------------------------- what runs


def test_steps_run_in_other_processes_and_are_recorded_there() -> None:
    result = go(Step(step_id="a", tool="whoami"), Step(step_id="b", tool="whoami"), tools={"whoami": whoami})
    assert result.ok
    assert os.getpid() not in result.outputs.values()
    assert {attempt.worker for attempt in result.timeline.attempts} <= {"process-1", "process-2"}
    for attempt in result.timeline.attempts:
        assert attempt.started is not None
        assert attempt.ended is not None
        assert attempt.known is not None
        assert 0 <= attempt.ready <= attempt.granted <= attempt.started <= attempt.ended <= attempt.known


def test_the_default_number_of_workers_is_the_usable_cores() -> None:
    assert ProcessesBackend().capacity == usable_cores()


def test_lambdas_closures_and_coroutines_travel_by_value() -> None:
    offset = 10

    async def later(value: int) -> int:
        await asyncio.sleep(0.001)
        return value * 2

    result = go(
        Step(step_id="a", tool="plus", args={"value": 1}),
        Step(step_id="b", tool="later", args={"value": "{{ steps.a.output }}"}, depends_on=("a",)),
        tools={"plus": lambda value: value + offset, "later": later},
    )
    assert result.outputs == {"a": 11, "b": 22}


def test_functions_and_classes_of_a_script_without_a_main_guard_work(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from dataclasses import dataclass\n"
        "from executor import Step, Workflow, run\n"
        "@dataclass\n"
        "class Point:\n"
        "    x: int\n"
        "def make(): return Point(3)\n"
        "def read(point): return point.x + 1\n"
        "a = Step(step_id='a', tool='make')\n"
        "b = Step(step_id='b', tool='read', args={'point': '{{ steps.a.output }}'})\n"
        "tools = {'make': make, 'read': read}\n"
        "result = run(Workflow(steps=(a, b)), backend='processes', workers=2, tools=tools)\n"
        "errors = [str(error) for error in result.errors.values()]\n"
        "print(isinstance(result.outputs['a'], Point), result.outputs.get('b'), errors)\n"
    )
    done = subprocess.run([sys.executable, script], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "True 4 []\n"


def test_a_step_may_write_to_stdout_and_close_stdin_without_harm(capfd: pytest.CaptureFixture[str]) -> None:
    def talk() -> str:
        print("from the worker")
        os.write(1, b"and by hand\n")
        os.write(2, b"and to stderr\n")
        os.close(0)
        return "said"

    result = go(Step(step_id="a", tool="talk"), workers=1, tools={"talk": talk})
    written = capfd.readouterr()
    assert result.outputs == {"a": "said"}
    assert "from the worker\n" in written.out
    assert "and by hand\n" in written.out
    assert "and to stderr\n" in written.err


def test_large_arguments_and_results_travel_both_ways() -> None:
    size = 50_000_000
    result = go(
        Step(step_id="a", tool="make"),
        Step(step_id="b", tool="measure", args={"data": "{{ steps.a.output }}"}),
        tools={"make": lambda: b"x" * size, "measure": length},
    )
    assert not result.errors
    assert len(result.outputs["a"]) == size
    assert result.outputs["b"] == size


def test_tokens_facts_and_cpu_seconds_come_home() -> None:
    class Counting(Tool):
        def call(self, context: ToolContext, prompt: str | None, args: Any) -> Any:
            context.record_tokens(7)
            context.record("gen_ai.request.model", "none")
            until = time.thread_time() + 0.01
            while time.thread_time() < until:
                pass
            return (context.step_id, context.attempt, context.expected_seconds, prompt)

    facts: list[dict[str, Any]] = []

    class Watch(Instrument):
        def run_finished(self, engine: Any) -> None:
            facts.extend(engine.facts.values())

    result = go(
        Step(step_id="a", tool="count", prompt="hello", expected_seconds=2.0),
        tools={"count": Counting("count")},
        instruments=[Watch()],
    )
    (attempt,) = result.timeline.attempts
    assert result.outputs["a"] == ("a", 1, 2.0, "hello")
    assert attempt.tokens_used == 7
    assert attempt.cpu_seconds is not None
    assert attempt.cpu_seconds >= 0.01
    assert facts == [{"gen_ai.request.model": "none"}]


# ---------------------------------------------------------------- what fails


def test_an_exception_carries_the_traceback_of_its_worker() -> None:
    def fails() -> None:
        raise ValueError("as planned")

    result = go(Step(step_id="a", tool="fails"), Step(step_id="b", tool="noop"), tools={"fails": fails})
    assert result.statuses == {"a": "failed", "b": "succeeded"}
    error = result.errors["a"]
    assert (error.error_type, error.message) == ("ValueError", "as planned")
    assert "in fails" in error.traceback


def test_exceptions_that_cannot_be_pickled_or_printed_are_failures_like_others() -> None:
    def locked() -> None:
        error = RuntimeError("holds a lock")
        error.lock = threading.Lock()  # type: ignore[attr-defined]
        raise error

    def mute() -> None:
        class MuteError(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no")

        raise MuteError

    def leaves() -> None:
        sys.exit(3)

    tools = {"locked": locked, "mute": mute, "leaves": leaves, "whoami": whoami}
    result = go(*(Step(step_id=name, tool=name) for name in tools), workers=1, tools=tools)
    assert result.errors["locked"].message == "holds a lock"
    assert result.errors["mute"].error_type == "MuteError"
    assert result.errors["leaves"].error_type == "SystemExit"
    assert len({attempt.worker for attempt in result.timeline.attempts}) == 1


def test_a_result_that_cannot_be_pickled_is_named_and_the_worker_lives_on() -> None:
    result = go(
        Step(step_id="a", tool="bad", retry=Retry(max_attempts=3, backoff_seconds=0)),
        Step(step_id="b", tool="whoami"),
        workers=1,
        tools={"bad": lambda: {"list": [1, threading.Lock()]}, "whoami": whoami},
    )
    error = result.errors["a"]
    assert error.attempt == 1
    assert "step 'a': its result['list'][1] is a _thread.lock, which cannot be pickled" in error.message
    assert result.statuses["b"] == "succeeded"
    assert {attempt.worker for attempt in result.timeline.attempts} == {"process-1"}


class BecomesALock:
    """Becomes something else on its first journey, and cannot make a second one."""

    def __reduce__(self) -> Any:
        return threading.Lock, ()


def test_an_argument_that_cannot_be_pickled_is_named() -> None:
    result = go(
        Step(step_id="a", tool="make"),
        Step(step_id="b", tool="use", args={"thing": "{{ steps.a.output }}"}),
        tools={"make": BecomesALock, "use": lambda thing: None},
    )
    assert result.statuses == {"a": "succeeded", "b": "failed"}
    assert "step 'b': args['thing'] is a _thread.lock, which cannot be pickled" in result.errors["b"].message


def test_a_template_that_fails_is_its_steps_failure() -> None:
    result = go(
        Step(step_id="a", tool="noop"),
        Step(step_id="b", tool="noop", prompt="{{ steps.a.output.nothing.there }}"),
        Step(step_id="c", tool="noop"),
    )
    assert result.statuses == {"a": "succeeded", "b": "failed", "c": "succeeded"}


def test_a_tool_that_cannot_be_sent_stops_the_run_before_it_starts() -> None:
    lock = threading.Lock()
    with pytest.raises(BackendError, match=r"tool 'holds'.*lock"):
        go(Step(step_id="a", tool="holds"), tools={"holds": lambda: lock})


class FailsToArrive(Tool):
    def __setstate__(self, state: Any) -> None:
        raise ImportError("no module named nowhere")


def test_a_tool_that_a_worker_cannot_load_is_named() -> None:
    with pytest.raises(BackendError, match="tool 'fails' cannot be had in a worker process: ImportError: no module"):
        go(Step(step_id="a", tool="fails"), tools={"fails": FailsToArrive("fails")})


class EndsItsProcess(Tool):
    def __setstate__(self, state: Any) -> None:
        os.write(2, b"a library spoke its last words\n")
        os._exit(3)


def test_workers_that_die_before_they_are_ready_end_the_run_with_what_they_wrote() -> None:
    with pytest.raises(BackendError, match="exited with status 3 before it was ready; it wrote:\na library spoke"):
        go(Step(step_id="a", tool="ends"), tools={"ends": EndsItsProcess("ends")})


class HangsUp(Tool):
    def __setstate__(self, state: Any) -> None:
        os.closerange(3, 1_000)
        time.sleep(DIES)


def test_workers_that_close_their_channel_before_they_are_ready_end_the_run_as_it_opens() -> None:
    with pytest.raises(BackendError, match="before it was ready"):
        go(Step(step_id="a", tool="hangs_up"), tools={"hangs_up": HangsUp("hangs_up")})


class EndsItsProcessAfterAWhile(Tool):
    """Its workers start until the file is there."""

    def __init__(self, name: str, marker: str) -> None:
        super().__init__(name)
        self.marker = marker

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state)
        if Path(self.marker).exists():
            os._exit(3)

    def call(self, context: Any, prompt: Any, args: Any) -> None:
        Path(self.marker).touch()
        os._exit(5)


def test_when_no_worker_starts_any_more_what_has_ended_is_kept(tmp_path: Path) -> None:
    before = [Step(step_id=f"s{n}", tool="length", args={"data": "x" * n}) for n in range(50)]
    fatal = EndsItsProcessAfterAWhile("fatal", str(tmp_path / "marker"))
    result = go(
        *before,
        Step(step_id="a", tool="fatal", depends_on=tuple(step.step_id for step in before)),
        Step(step_id="b", tool="fatal", depends_on=tuple(step.step_id for step in before)),
        Step(step_id="c", tool="length", args={"data": ""}, depends_on=("a",)),
        tools={"length": length, "fatal": fatal},
    )
    assert result.outputs == {f"s{n}": n for n in range(50)}
    assert [result.statuses[name] for name in "abc"] == ["failed", "failed", "skipped"]
    for name in "ab":
        assert "no worker process is left" in result.errors[name].message
        assert "exited with status 3 before it was ready" in result.errors[name].message
    assert any("no more workers could be started" in warning for warning in result.warnings)


# ---------------------------------------------------------------- what comes on a channel and is no result


def scribble(data: bytes) -> None:
    """Write into every descriptor that the worker may have."""
    for fd in range(3, 64):
        with suppress(OSError):
            os.write(fd, data)


@pytest.mark.slow
@pytest.mark.parametrize(
    "data",
    [b"\xff" * 64, b"\x00" * 64, b"no", MAGIC_BYTES + b"\xff" * 60, pack_result(SUCCEEDED, 0, 0, 0, 0, 0, 1 << 60)],
    ids=["64 × ff", "64 × 00", "2 bytes", "the right beginning", "a head with too long a body"],
)
def test_stray_bytes_on_a_channel_are_the_death_of_one_worker(data: bytes) -> None:
    others = [Step(step_id=f"o{n}", tool="noop") for n in range(20)]
    result = go(Step(step_id="a", tool="scribble"), *others, tools={"scribble": lambda: scribble(data)})
    assert result.statuses == {"a": "failed", **{step.step_id: "succeeded" for step in others}}
    assert result.errors["a"].outcome == "worker_died"
    assert "bytes that are no result" in result.errors["a"].message


def test_a_program_that_a_step_starts_has_none_of_its_workers_channels() -> None:
    def started() -> str:
        listing = "for fd in $(seq 3 63); do readlink /proc/self/fd/$fd; done"
        return subprocess.run(
            ["sh", "-c", listing], close_fds=False, check=False, stdout=subprocess.PIPE, text=True
        ).stdout

    result = go(Step(step_id="a", tool="started"), tools={"started": started})
    assert "socket:" not in result.outputs["a"]
    assert "pipe:" not in result.outputs["a"]


def test_what_a_forked_process_writes_into_a_channel_reaches_nobody() -> None:
    def fork() -> int:
        child = os.fork()
        if child == 0:
            scribble(b"\xff" * 64)
            os._exit(0)
        return os.waitpid(child, 0)[1]

    result = go(Step(step_id="a", tool="fork"), Step(step_id="b", tool="noop"), tools={"fork": fork})
    assert result.ok
    assert result.outputs["a"] == 0


# ---------------------------------------------------------------- who dies


def test_a_killed_worker_is_replaced_its_step_tried_again_and_nobody_else_notices(tmp_path: Path) -> None:
    others = [Step(step_id=f"o{n}", tool="sleep", args={"seconds": 0.05}) for n in range(6)]
    result = go(
        Step(step_id="a", tool="die", args={"marker": str(tmp_path / "marker")}), *others, tools={"die": die_once}
    )
    assert result.ok
    assert result.outputs["a"] == "second time lucky"
    attempts = [attempt for attempt in result.timeline.attempts if attempt.step_id == "a"]
    assert [attempt.outcome for attempt in attempts] == ["worker_died", "succeeded"]
    assert all(attempt.attempt == 1 for attempt in result.timeline.attempts if attempt.step_id != "a")
    assert attempts[0].worker != attempts[1].worker


def test_a_step_that_always_ends_its_worker_fails_with_the_exit_status() -> None:
    result = go(Step(step_id="a", tool="ends"), Step(step_id="b", tool="noop"), tools={"ends": lambda: os._exit(7)})
    assert result.statuses == {"a": "failed", "b": "succeeded"}
    error = result.errors["a"]
    assert error.outcome == "worker_died"
    assert error.attempt == 3
    assert "exited with status 7" in error.message


def write_and_die() -> None:
    print("x" * 50_000 + " a line of stdout")
    os.write(2, f"and {os.environ['MADE_UP_API_KEY']} on stderr".encode())
    os.kill(os.getpid(), signal.SIGKILL)


def print_line(text: str) -> None:
    print(text)


def test_what_a_dead_worker_wrote_last_is_part_of_its_steps_failure_without_secrets(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MADE_UP_API_KEY", "a value that nobody sees")
    result = go(
        Step(step_id="a", tool="die", idempotent=False),
        Step(step_id="b", tool="say", args={"text": "of another worker"}),
        tools={"die": write_and_die, "say": print_line},
    )
    message = result.errors["a"].message
    assert "was killed by SIGKILL" in message
    assert message.endswith("xxx a line of stdout\nand *** on stderr")
    assert len(message) < 2_500
    # All of it is shown as it came.
    written = capfd.readouterr()
    assert "x" * 50_000 + " a line of stdout\n" in written.out
    assert "of another worker\n" in written.out
    assert "and a value that nobody sees on stderr" in written.err


def print_from_c_and_leave() -> None:
    ctypes.CDLL(None).printf(b"a line of a library in C\n")
    os._exit(1)


def test_a_line_that_a_library_in_c_prints_is_known_when_its_worker_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    result = go(Step(step_id="a", tool="leave", idempotent=False), tools={"leave": print_from_c_and_leave})
    assert result.errors["a"].message.endswith("it wrote last: a line of a library in C")


WITHOUT_STREAMS = """
import sys
from executor import Step, Workflow, run
taken = [open(f"{sys.argv[1]}/{number}", "w+") for number in range(3)]
assert [file.fileno() for file in taken] == [0, 1, 2]
def write(): print("of a step", flush=True)
result = run(Workflow(steps=(Step(step_id="a", tool="write"),)), backend="processes", workers=2, tools={"write": write})
with open(f"{sys.argv[1]}/statuses", "w") as file:
    file.write(str(result.statuses))
"""


def test_a_program_without_standard_streams_has_workers_and_nothing_written_to_its_files(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(WITHOUT_STREAMS)
    subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, script, tmp_path],
        check=True,
        timeout=60,
    )
    assert (tmp_path / "statuses").read_text() == "{'a': 'succeeded'}"
    assert [(tmp_path / str(number)).read_text() for number in range(3)] == ["", "", ""]


def test_a_step_that_is_not_idempotent_is_not_tried_again_after_its_worker_died(tmp_path: Path) -> None:
    result = go(
        Step(step_id="a", tool="die", args={"marker": str(tmp_path / "marker")}, idempotent=False),
        tools={"die": die_once},
    )
    assert result.statuses == {"a": "failed"}
    assert "was killed by SIGKILL" in result.errors["a"].message


def test_a_timeout_kills_the_worker_and_what_it_started(tmp_path: Path) -> None:
    def hang(pids: str) -> None:
        child = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)",
            ],
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        child.stdout.readline()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        Path(pids).write_text(f"{os.getpid()} {child.pid} ")
        while True:
            time.sleep(60)

    pids = tmp_path / "pids"
    result = go_until(
        lambda: written(pids),
        Step(step_id="a", tool="hang", args={"pids": str(pids)}, timeout=60),
        Step(step_id="b", tool="sleep", args={"seconds": 0.1}),
        Step(step_id="c", tool="noop", depends_on=("b",)),
        tools={"hang": hang},
    )
    assert result.statuses == {"a": "failed", "b": "succeeded", "c": "succeeded"}
    assert result.errors["a"].outcome == "timed_out"
    assert all(gone(int(pid)) for pid in pids.read_text().split())


def hang_once(marker: str) -> str:
    path = Path(marker)
    if not path.exists():
        path.touch()
        time.sleep(60)
    return "done"


def test_a_step_past_its_timeout_gives_its_limit_back_when_it_is_dead_and_is_retried(tmp_path: Path) -> None:
    result = go_until(
        (tmp_path / "marker").exists,
        Step(
            step_id="a",
            tool="hang",
            args={"marker": str(tmp_path / "marker")},
            timeout=60,
            needs={"seat": 1},
            retry=Retry(max_attempts=2, backoff_seconds=0),
        ),
        workers=1,
        tools={"hang": hang_once},
        resources={"seat": Resource(capacity=1)},
    )
    assert result.outputs == {"a": "done"}
    assert [attempt.outcome for attempt in result.timeline.attempts] == ["timed_out", "succeeded"]
    assert [attempt.worker for attempt in result.timeline.attempts] == ["process-1", "process-2"]


def test_a_command_that_runs_in_a_killed_worker_dies_with_it(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = f"import os, time, pathlib; pathlib.Path({str(pid)!r}).write_text(f'{{os.getpid()}} '); time.sleep(60)"

    def command() -> None:
        from executor.tools.command import CommandTool

        CommandTool("command").call(ToolContext(None, "a"), None, {"argv": [sys.executable, "-c", code]})  # type: ignore[arg-type]

    step = Step(step_id="a", tool="command_", timeout=60)
    result = go_until(lambda: written(pid), step, workers=1, tools={"command_": command})
    assert result.errors["a"].outcome == "timed_out"
    assert gone(int(pid.read_text()))


def test_a_forked_process_that_returns_from_a_step_does_not_speak_for_the_worker() -> None:
    def fork() -> str:
        child = os.fork()
        if child == 0:
            return "from the child"
        os.waitpid(child, 0)
        return "from the worker"

    result = go(
        Step(step_id="a", tool="fork"), Step(step_id="b", tool="whoami"), tools={"fork": fork, "whoami": whoami}
    )
    assert result.outputs["a"] == "from the worker"
    assert result.statuses["b"] == "succeeded"
    assert result.dropped_completions == 0


def test_no_step_of_the_workflow_starts_before_the_calls_of_one_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    # A call that was sent behind a step that then took long is taken back: it was granted before, and starts later.
    sent_again: list[Attempt] = []
    regrant = Scheduler.regrant

    def noted(scheduler: Scheduler, attempt: Attempt, at: int) -> None:
        sent_again.append(attempt)
        regrant(scheduler, attempt, at)

    monkeypatch.setattr(Scheduler, "regrant", noted)

    def quick(calls: int) -> int:
        from executor.node_runtime import call_tools_parallel  # in the worker

        return len(call_tools_parallel([("leaf", str(number)) for number in range(calls)])) if calls else 0

    def leaf(prompt: str) -> str:
        return prompt

    steps = [Step(step_id=f"s{place}", tool="quick", args={"calls": 6 if place == 60 else 0}) for place in range(400)]
    for _ in range(3):
        attempts = go(*steps, tools={"quick": quick, "leaf": leaf}, workers=2).timeline.attempts
        calls = [one for one in attempts if one.parent and one not in sent_again]
        first, last = min(one.ready for one in calls), max(one.granted for one in calls)
        assert [one.step_id for one in attempts if not one.parent and first < one.granted < last] == []


def test_a_worker_ignores_the_interrupt_that_a_step_sends_it() -> None:
    def interrupt() -> str:
        os.kill(os.getpid(), signal.SIGINT)
        return "still here"

    assert go(Step(step_id="a", tool="interrupt"), tools={"interrupt": interrupt}).outputs == {"a": "still here"}


SCRIPT = """
import os, subprocess, sys, threading, time
from executor import Interrupted, Step, Workflow, run
from executor.engine.instruments import Instrument
class Known(Instrument):
    def attempt_finished(self, attempt, status):
        open(os.path.join(sys.argv[1], "known"), "w").close()
def work(name):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    with open(os.path.join(sys.argv[1], name), "w") as file:
        file.write(f"{os.getpid()} {child.pid} ")
    if name == "c":
        return "finished"
    time.sleep(60)
steps = tuple(Step(step_id=n, tool="work", args={"name": n}) for n in ("a", "b", "c"))
for _ in range(int(sys.argv[2])):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
try:
    run(Workflow(steps=steps), backend="processes", workers=3, tools={"work": work}, instruments=[Known()])
except Interrupted as error:
    print(error.run.statuses, error.run.outputs)
    sys.exit(130)
"""


def start_script(tmp_path: Path, threads: int = 0) -> tuple[subprocess.Popen[str], list[int]]:
    """A script with three steps under way, the last of them ended, and the processes that they run in and started."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen([sys.executable, script, str(tmp_path), str(threads)], stdout=subprocess.PIPE, text=True)
    files = [tmp_path / name for name in ("a", "b", "c")]
    until = time.monotonic() + 30
    while not ((tmp_path / "known").exists() and all(map(written, files))):
        assert time.monotonic() < until
        time.sleep(0.02)
    return process, [int(pid) for path in files for pid in path.read_text().split()]


def test_ctrl_c_ends_a_script_with_its_finished_outputs_and_leaves_no_process(tmp_path: Path) -> None:
    process, pids = start_script(tmp_path)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == "{'a': 'cancelled', 'b': 'cancelled', 'c': 'succeeded'} {'c': 'finished'}\n"
    assert all(gone(pid) for pid in pids)


# The thread that started the workers is gone before the others are.
@pytest.mark.parametrize("threads", [0, 100])
def test_workers_and_what_they_started_end_when_their_parent_is_killed(tmp_path: Path, threads: int) -> None:
    process, pids = start_script(tmp_path, threads)
    process.kill()
    process.communicate(timeout=30)
    assert all(gone(pid) for pid in pids)


# ---------------------------------------------------------------- where it is called from


def test_it_runs_inside_a_running_event_loop_and_awaited() -> None:
    workflow = steps_of(Step(step_id="a", tool="whoami"))

    async def cell() -> list[Run]:
        blocking = run(workflow, backend="processes", workers=1, tools={"whoami": whoami})
        return [blocking, await arun(workflow, backend="processes", workers=1, tools={"whoami": whoami})]

    assert all(result.ok and result.outputs["a"] != os.getpid() for result in asyncio.run(cell()))


def test_cancelling_an_awaited_run_kills_its_workers(tmp_path: Path) -> None:
    pid = tmp_path / "pid"

    def hang() -> None:
        pid.write_text(str(os.getpid()))
        time.sleep(60)

    async def main() -> None:
        task = asyncio.ensure_future(
            arun(steps_of(Step(step_id="a", tool="hang")), backend="processes", workers=1, tools={"hang": hang})
        )
        while not pid.exists():  # noqa: ASYNC110  # a file of another process sets no event
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert gone(int(pid.read_text() or 0))


def test_an_engine_that_breaks_leaves_no_process_behind() -> None:
    class BreaksError(BaseException):
        """Not one of those that an instrument is switched off for."""

    class Breaks(Instrument):
        def attempt_finished(self, attempt: Attempt, status: str) -> None:
            raise BreaksError

    steps = [Step(step_id=str(n), tool="sleep", args={"seconds": n}) for n in (0, 30)]
    with pytest.raises(BreaksError):
        go(*steps, instruments=[Breaks()])
