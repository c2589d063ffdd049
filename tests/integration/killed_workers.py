"""Worker processes that are killed while a run goes on: what every such run must show.

``python -m tests.integration.killed_workers 2000`` kills so many workers of runs that are kept, and counts them.

Each call notes on the disk that it began and that it came to its end, in a file that nothing but these calls writes.
A worker is killed once it is ready: after three in a row that die while they start, no more are started.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from executor import Retry, Run, Step, Workflow, run
from executor.backends.processes.process_backend import ProcessesBackend
from executor.journal.kept_run import read_journal

STEPS = 300
WORKERS = 4
# Of so many steps one must not be done twice.
ONCE = 20
# How often an idle worker is killed where none is busy.
_IDLE = 0.1
_OFTEN = Retry(max_attempts=100, backoff_seconds=0)


@dataclass
class Counts:
    """What was seen. ``lost``: attempts that a death ended. ``told_before``: calls that came to their end and whose
    worker died before it said so: these are done again.
    """

    runs: int = 0
    kills: int = 0
    steps: int = 0
    lost: int = 0
    told_before: int = 0
    once_failed: int = 0

    def add(self, other: Counts) -> None:
        """Take in another run."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


def work(folder: str, name: str, seconds: float) -> str:
    """Note the beginning, take some time, note the end."""
    _note(folder, f"began {name}")
    time.sleep(seconds)
    _note(folder, f"ended {name}")
    return f"output of {name}"


def _note(folder: str, line: str) -> None:
    file = os.open(Path(folder) / "notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, f"{line}\n".encode())
    os.close(file)


def workflow(folder: Path, draw: random.Random, count: int) -> Workflow:
    """Steps that each come after some of those before."""
    steps = []
    for number in range(count):
        after = {f"s{draw.randrange(max(0, number - 40), number)}" for _ in range(2)} if number % 4 else set[str]()
        # What must not be done twice may fail for good: nothing comes after it.
        after = {step_id for step_id in after if int(step_id[1:]) % ONCE}
        once = {"idempotent": False} if number % ONCE == 0 else {"retry": _OFTEN}
        args = {"folder": str(folder), "name": f"s{number}", "seconds": draw.random() * 0.02}
        steps.append(Step(step_id=f"s{number}", tool="work", args=args, depends_on=tuple(sorted(after)), **once))
    return Workflow(workflow_id="killed-workers", steps=tuple(steps))


class Killer:
    """Kills a ready worker every now and then, until it is asked to stop."""

    def __init__(self, backend: ProcessesBackend, draw: random.Random, seconds: float) -> None:
        self.killed: set[int] = set()
        self.seen: set[int] = set()
        self._backend = backend
        self._draw = draw
        self._seconds = seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.wait(self._draw.random() * self._seconds):
            pool = self._backend._pool  # only a killer needs to know which are ready
            workers = [] if pool is None else list(pool.workers)
            self.seen.update(worker.pid for worker in workers)
            alive = [worker for worker in workers if worker.ready and worker.pid not in self.killed]
            # Mostly one that has steps: of others nothing can be lost.
            busy = [worker for worker in alive if worker.given]
            if busy or (alive and self._draw.random() < _IDLE):
                pid = self._draw.choice(busy or alive).pid
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    self.killed.add(pid)


def kill_workers(folder: Path, draw: random.Random, seconds: float = 0.15, steps: int = STEPS) -> Counts:
    """One run of so many steps, kept, with a worker killed about every ``seconds`` / 2.

    Raises:
        AssertionError: a rule is broken.
    """
    flow = workflow(folder, draw, steps)
    before = _held()
    backend = ProcessesBackend(WORKERS)
    with Killer(backend, draw, seconds) as killer:
        found = run(flow, backend=backend, tools={"work": work}, journal=folder / "run.sqlite")
    assert not any(Path(f"/proc/{pid}").exists() for pid in killer.seen), "a worker was left behind"
    after = _held()
    # What an earlier test has left may end meanwhile.
    assert all(now <= then for now, then in zip(after, before, strict=True)), (
        f"threads, descriptors, children: {before} before and {after} after"
    )
    return _judge(found, folder, len(killer.killed))


def _judge(found: Run, folder: Path, kills: int) -> Counts:
    counts = Counts(runs=1, kills=kills, steps=len(found.statuses))
    notes = Counter((folder / "notes").read_text(encoding="utf-8").splitlines())
    attempts: dict[str, list[Any]] = {}
    for attempt in found.timeline.attempts:
        attempts.setdefault(attempt.step_id, []).append(attempt)
    kept = read_journal(folder / "run.sqlite")
    ends = Counter(end.step_id for session in kept.ends for end in session if end.outcome == "succeeded")
    for step_id, status in found.statuses.items():
        tries = attempts[step_id]
        outcomes = [attempt.outcome for attempt in tries]
        counts.lost += outcomes.count("worker_died")
        counts.told_before += max(0, notes[f"ended {step_id}"] - 1)
        assert set(outcomes[:-1]) <= {"worker_died"}, f"{step_id}: {outcomes}"
        assert notes[f"began {step_id}"] <= len(tries), f"{step_id} began more often than its record says"
        if status != "succeeded":
            once = int(step_id[1:]) % ONCE == 0
            assert (once, status, outcomes) == (True, "failed", ["worker_died"]), f"{step_id}: {status}, {outcomes}"
            assert ends[step_id] == 0
            counts.once_failed += 1
            continue
        assert outcomes[-1] == "succeeded"
        assert found.outputs[step_id] == f"output of {step_id}"
        assert ends[step_id] == 1, f"{step_id} ended well {ends[step_id]} times in the journal"
        assert kept.outputs.read(dict(kept.steps[step_id].end.more)) == found.outputs[step_id]
    return counts


def _held() -> tuple[int, int, int]:
    """Threads, descriptors, and children that live."""
    children = 0
    for place in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            words = place.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            children += int(words[1]) == os.getpid()
    return threading.active_count(), len(list(Path("/proc/self/fd").iterdir())), children


def main(kills: int, seed: int = 1) -> Counts:
    """Kill so many workers, and return the counts."""
    draw = random.Random(seed)  # no secret
    total = Counts()
    while total.kills < kills:
        folder = Path(tempfile.mkdtemp(prefix="makespan-killed-"))
        try:
            total.add(kill_workers(folder, draw))
        finally:
            shutil.rmtree(folder)
        sys.stdout.write(f"{total}\n")
        sys.stdout.flush()
    return total


if __name__ == "__main__":
    main(int(sys.argv[1]))
