"""Facts about where a run takes place and what it leaves: instruments, threads, loops, scripts, notebooks, Ctrl-C."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import executor
from executor import Attempt, BackendError, Instrument, Run, Workflow
from executor.engine.instruments import WatchedRun
from executor.record.timeline import StepStatus
from harness.testing.backends.backend_case import BackendFacts, needs, script_environment, step
from harness.testing.backends.protocol_watch import watch
from harness.testing.backends.suite_steps import STEPS, notes

GONE_SECONDS = 10.0

CTRL_C = """
from pathlib import Path

class Begins(Instrument):
    def attempt_started(self, attempt):
        # The step before it has ended, and that is known.
        if attempt.step_id == "slow":
            Path(sys.argv[3], "begins").touch()

steps = (Step(step_id="quick", tool="note", args={"folder": sys.argv[3], "text": "quick"}),
         Step(step_id="slow", tool="sleep", args={"seconds": 60}, depends_on=("quick",)))
try:
    run(Workflow(steps=steps), backend=backend, tools=STEPS, instruments=[Begins()])
except Interrupted as interrupted:
    print(interrupted.run.outputs, interrupted.run.statuses)
"""
NO_GUARD = """
def triple(value):
    return 3 * value

print(run(Workflow(steps=(Step(step_id="a", tool="triple", args={"value": 2}),)), backend=backend,
          tools={"triple": triple}).outputs)
"""
DEATH = """
run(Workflow(steps=(Step(step_id="a", tool="die", args={"folder": sys.argv[3], "times": 99, "text": "a"}),)),
    backend=backend, tools=STEPS)
print("alive")
"""
ORPHANS = """
run(Workflow(steps=(Step(step_id="a", tool="note", args={"folder": sys.argv[3], "text": "a"}),
                    Step(step_id="b", tool="sleep", args={"seconds": 600}, depends_on=("a",)))),
    backend=backend, tools=STEPS)
"""


class Watcher(Instrument):
    """Sees a run from its start to its end."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def run_started(self, engine: WatchedRun) -> None:
        """Note it."""
        self.seen.append("run started")

    def attempt_started(self, attempt: Attempt) -> None:
        """Note it."""
        self.seen.append(f"{attempt.step_id} started")

    def attempt_finished(self, attempt: Attempt, status: StepStatus) -> None:
        """Note it."""
        self.seen.append(f"{attempt.step_id} {status}")

    def run_finished(self, engine: WatchedRun) -> None:
        """Note it."""
        self.seen.append("run finished")


class Broken(Instrument):
    """Raises at its first call, and counts them."""

    calls = 0

    def attempt_started(self, attempt: Attempt) -> None:
        """Raise."""
        self.calls += 1
        raise RuntimeError("oh")


class InstrumentFacts(BackendFacts):
    """What instruments see, and that they do no harm."""

    def test_an_instrument_sees_the_run_from_start_to_end(self) -> None:
        watcher = Watcher()
        self.run(step("a", "noop"), step("b", "noop", depends_on=("a",)), instruments=[watcher])
        assert watcher.seen == [
            "run started", "a started", "a succeeded", "b started", "b succeeded", "run finished",
        ]  # fmt: skip

    def test_an_instrument_that_raises_is_switched_off_and_the_run_goes_on(self) -> None:
        broken = Broken()
        run = self.run(*(step(f"s{i}", "noop") for i in range(4)), instruments=[broken])
        assert run.ok
        assert broken.calls == 1
        assert any("Broken" in warning for warning in run.warnings)


class CleanFacts(BackendFacts):
    """What is left after a run: nothing."""

    def test_no_thread_is_left(self) -> None:
        self._run_each_kind()
        before = set(threading.enumerate())
        self._run_each_kind()
        deadline = time.monotonic() + GONE_SECONDS
        while (left := set(threading.enumerate()) - before) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not left, left

    def test_no_process_is_left(self) -> None:
        before = _children()
        self._run_each_kind()
        deadline = time.monotonic() + GONE_SECONDS
        while (left := _children() - before) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not left, left

    def test_no_open_file_is_left(self) -> None:
        self._run_each_kind()
        gc.collect()
        before = _open_files()
        for _ in range(3):
            self._run_each_kind()
        deadline = time.monotonic() + GONE_SECONDS
        while gc.collect() is not None and (left := _open_files()) > before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert left <= before, f"{left} files are open, {before} were before"

    def test_a_backend_may_be_closed_twice_and_without_a_run(self) -> None:
        backend = self.make()
        backend.close()
        backend.close()

    def test_no_workers_are_refused(self) -> None:
        made = executor.find_backend(self.backend) if isinstance(self.backend, str) else type(self).__dict__["backend"]
        for count in (0, -1):
            try:
                getattr(made, "__func__", made)(count)
            except (BackendError, ValueError):
                continue
            raise AssertionError(f"a backend with {count} workers was made; it has to raise BackendError")

    @needs("tools", "interrupts", "lets_go")
    def test_a_program_that_is_killed_leaves_no_worker(self, tmp_path: Path) -> None:
        assert not self.left_by_a_killed_program(tmp_path)

    def left_by_a_killed_program(self, folder: Path) -> set[int]:
        """The processes that are still there some time after their program was killed; they are ended then."""
        command = self.script_command(ORPHANS, folder)
        with subprocess.Popen(command, env=script_environment(), start_new_session=True) as program:  # noqa: S603  # ours
            while not notes(folder):
                time.sleep(0.02)
            below = _descendants(program.pid)
            program.kill()
        deadline = time.monotonic() + GONE_SECONDS
        while (left := {process for process in below if _is_alive(process)}) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid, _ in left:
            os.kill(pid, signal.SIGKILL)
        return {pid for pid, _ in left}

    def _run_each_kind(self) -> None:
        self.run(step("a", "noop"), step("b", "flaky", fail_times=1), step("c", "noop", depends_on=("a",)))


class PlaceFacts(BackendFacts):
    """Where a run can take place."""

    def test_runs_follow_each_other(self) -> None:
        for _ in range(3):
            assert self.run(step("a", "noop")).ok

    def test_two_runs_at_once_do_not_disturb_each_other(self) -> None:
        runs = self._in_threads(2)
        assert [run.ok for run in runs] == [True, True]

    def test_a_run_in_a_thread(self) -> None:
        assert [run.ok for run in self._in_threads(1)] == [True]

    def test_arun_leaves_the_loop_free(self, tmp_path: Path) -> None:
        async def come() -> None:
            while not (tmp_path / "step").exists():  # noqa: ASYNC110  # another process may write it
                await asyncio.sleep(0.001)
            (tmp_path / "loop").touch()

        async def main() -> Run:
            coming = asyncio.ensure_future(come())
            backend = watch(self.make(), patience_seconds=self.patience_seconds)
            # The step ends once the loop has gone on; where no tool runs there is nothing to wait for.
            meets = step("a", "meet", folder=str(tmp_path), name="step", names=["loop"])
            sleeps = step("a", "sleep", seconds=0.05)
            steps = (meets if self.can("tools") else sleeps,)
            run = await executor.arun(Workflow(steps=steps), backend=backend, tools=STEPS)
            coming.cancel()
            return run

        run = asyncio.run(main())
        assert run.ok, run.errors

    def test_run_inside_a_running_loop(self) -> None:
        async def cell() -> Run:
            return self.run(step("a", "noop"))

        assert asyncio.run(cell()).ok

    @needs("tools")
    def test_a_script_needs_no_guard(self, tmp_path: Path) -> None:
        script = tmp_path / "script.py"
        command = self.script_command(NO_GUARD)
        script.write_text(command[2], encoding="utf-8")
        done = subprocess.run(  # noqa: S603  # a program written here
            [command[0], str(script), *command[3:]],
            capture_output=True,
            text=True,
            timeout=GONE_SECONDS * 12,
            check=False,
            env=script_environment(),
        )
        assert (done.stdout, done.stderr) == ("{'a': 6}\n", "")

    @needs("tools", "interrupts", "lets_go")
    def test_ctrl_c_ends_the_run_and_keeps_what_was_done(self, tmp_path: Path) -> None:
        command = self.script_command(CTRL_C, tmp_path)
        with subprocess.Popen(  # noqa: S603  # a program written here
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=script_environment()
        ) as program:
            while not (tmp_path / "begins").exists() and program.poll() is None:
                time.sleep(0.02)
            # Most often the step has really begun by then, but it need not have.
            time.sleep(0.3)
            program.send_signal(signal.SIGINT)
            try:
                output, errors = program.communicate(timeout=GONE_SECONDS * 3)
            finally:
                program.kill()
        assert errors == ""
        assert output == "{'quick': 'quick'} {'quick': 'succeeded', 'slow': 'cancelled'}\n"

    def _in_threads(self, count: int) -> list[Run]:
        runs: list[Run] = []
        errors: list[BaseException] = []

        def work() -> None:
            try:
                runs.append(self.run(*(step(f"s{i}", "noop") for i in range(20))))
            except BaseException as error:  # noqa: BLE001  # raised below, where it is seen
                errors.append(error)

        threads = [threading.Thread(target=work) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return runs


class ImpossibleFacts(BackendFacts):
    """What a backend is said to be unable to do is really impossible."""

    def test_what_it_cannot_do_is_really_impossible(self, tmp_path: Path) -> None:
        for number, capability in enumerate(self.lacking()):
            folder = tmp_path / str(number)
            folder.mkdir()
            probe: Any = getattr(self, f"can_it_{capability}")
            assert not probe(folder), f"it is said that it cannot ({capability}), and it can: take it from the table"

    def can_it_tools(self, folder: Path) -> bool:
        """Whether a step's tool is called."""
        self.run(step("a", "note", folder=str(folder), text="a"))
        return bool(notes(folder))

    def can_it_parallel(self, folder: Path) -> bool:
        """Whether there can be two workers."""
        made = executor.find_backend(self.backend) if isinstance(self.backend, str) else type(self).__dict__["backend"]
        try:
            backend = getattr(made, "__func__", made)(2)
        except BackendError:
            return False
        capacity: int = backend.capacity
        backend.close()
        return capacity > 1

    def can_it_interrupts(self, folder: Path) -> bool:
        """Whether a step ends at its timeout."""
        run = self.run(step("a", "nap", seconds=2.0, timeout=0.2))
        return run.timeline.makespan_seconds < 2.0

    def can_it_lets_go(self, folder: Path) -> bool:
        """Whether nothing is left of a program that was killed during a step."""
        return not self.left_by_a_killed_program(folder)  # type: ignore[attr-defined]  # of CleanFacts

    def can_it_replaces(self, folder: Path) -> bool:
        """Whether a step gets the slot of one that goes on past its timeout."""
        return self.replaces("nap", 3.0) < 3.0  # type: ignore[attr-defined,no-any-return]  # of TimeoutFacts

    def can_it_stops_functions(self, folder: Path) -> bool:
        """Whether a function is stopped at its timeout."""
        return self.stops("beat", folder)  # type: ignore[attr-defined,no-any-return]  # of TimeoutFacts

    def can_it_stops_coroutines(self, folder: Path) -> bool:
        """Whether a coroutine is stopped at its timeout."""
        return self.stops("beat_async", folder)  # type: ignore[attr-defined,no-any-return]  # of TimeoutFacts

    def can_it_survives_death(self, folder: Path) -> bool:
        """Whether the program goes on when a step ends its process."""
        return "alive" in self.script(DEATH, folder).stdout

    def can_it_unpicklable(self, folder: Path) -> bool:
        """Whether a lock comes back."""
        return self.run(step("a", "lock")).ok


def _children() -> set[int]:
    """This process's children (zombies among them)."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found |= {int(child) for child in (task / "children").read_text(encoding="ascii").split()}
        except OSError:
            continue
    return found


def _descendants(pid: int) -> set[tuple[int, str]]:
    """All processes below this one, each with its start time, so that it is not mistaken for a later one."""
    parents = {}
    for place in Path("/proc").iterdir():
        if place.name.isdigit() and (stat := _stat(int(place.name))) is not None:
            parents[int(place.name)] = int(stat[1])
    found: set[int] = set()
    open_ids = {pid}
    while open_ids:
        open_ids = {child for child, parent in parents.items() if parent in open_ids} - found
        found |= open_ids
    return {(child, stat[19]) for child in found if (stat := _stat(child)) is not None}


def _is_alive(process: tuple[int, str]) -> bool:
    stat = _stat(process[0])
    return stat is not None and stat[19] == process[1] and stat[0] != "Z"


def _stat(pid: int) -> list[str] | None:
    """The fields of ``/proc/PID/stat`` after the name, from the state on."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


__all__ = ["STEPS", "CleanFacts", "ImpossibleFacts", "InstrumentFacts", "PlaceFacts"]
