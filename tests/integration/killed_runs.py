"""Runs that are killed, and resumed: what every such run must show.

``python -m tests.integration.killed_runs 50`` kills so many in each way, on threads and asyncio, and counts them; names
of backends behind it limit it to these.

A run is a process of its own, made by fork, so that hundreds can be killed. Each step notes on the disk that it was
done, in a file that nothing but these steps writes.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from executor import JournalError, Resume, Step, Workflow, run
from executor.engine.instruments import Instrument
from executor.journal import journal_file
from executor.journal.journal_writer import JournalWriter
from executor.journal.kept_run import read_journal
from executor.node_runtime import call_tool

MODES = ("at random", "in the journal's write", "between end and journal", "while resuming", "twice in a row")
LARGE = "x" * 100_000
# How many calls of `work` a whole run makes.
CALLS = 13


def workflow() -> Workflow:
    """Steps, items, calls of a step, a large output, a state and a retry."""
    return Workflow(
        steps=(
            Step(step_id="a", tool="work", args={"name": "a", "value": 1}, writes=("file",)),
            Step(step_id="b", tool="work", args={"name": "b", "value": "{{ steps.a.output }}"}, reads=("file",)),
            Step(step_id="large", tool="work", args={"name": "large", "value": LARGE}),
            Step(step_id="m", tool="work", args={"name": "m", "value": "{{ item }}"}, for_each=[1, 2, 3, 4, 5]),
            Step(step_id="code", tool="code", depends_on=("b",)),
            Step(
                step_id="end",
                tool="work",
                args={"name": "end", "value": "{{ steps.m.output + [steps.code.output] }}"},
                depends_on=("large",),
            ),
        )
    )


def tools(folder: Path) -> dict[str, Callable[..., Any]]:
    """Each call of ``work`` that comes to its end is noted."""

    def work(name: str, value: Any) -> Any:
        time.sleep(0.01 + random.random() * 0.08)  # no secret
        with (folder / "done").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps([name, str(value)[:20]]) + "\n")
        return value

    def code() -> Any:
        return [call_tool("work", name="called", value=number) for number in range(4)]

    return {"work": work, "code": code}


def done(folder: Path) -> Counter[tuple[str, str]]:
    """How often each call was done."""
    path = folder / "done"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return Counter(tuple(json.loads(line)) for line in lines)


def durable(journal: Path) -> set[tuple[str, str]]:
    """The calls of which the journal says that they are finished."""
    if not journal.is_file():
        return set()
    if not _began(journal):
        return set()
    earlier = read_journal(journal)
    names = {"a", "b", "large", "end"}
    found = {one.end.step_id: one.end for one in earlier.finished()}
    outputs = {step_id: earlier.outputs.read(dict(end.more)) for step_id, end in found.items()}
    calls = {(step_id, str(outputs[step_id])[:20]) for step_id in names & set(found)}
    for step_id, output in outputs.items():
        if "/" in step_id:
            calls.add(("m" if step_id.startswith("m/") else "called", str(output)[:20]))
    return calls


class Forked:
    """A process that does one thing and ends; what it answers is JSON."""

    def __init__(self, folder: Path, action: Callable[[], Any]) -> None:
        self._answer = folder / "answer"
        self._answer.unlink(missing_ok=True)
        self.pid = os.fork()
        if self.pid:
            return
        status = 1
        try:
            answer = action()
            unfinished = folder / "answer.part"
            unfinished.write_text(json.dumps(answer), encoding="utf-8")
            unfinished.replace(self._answer)
            status = 0
        except BaseException:  # the process is ours, and ends here
            traceback.print_exc()
        finally:
            os._exit(status)

    def kill(self) -> None:
        """At once."""
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> Any:
        """Its answer; None if it was killed before that."""
        _, status = os.waitpid(self.pid, 0)
        assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0, "the run failed"
        return json.loads(self._answer.read_text(encoding="utf-8")) if self._answer.exists() else None


def started(folder: Path, backend: str, prepare: Callable[[], None] | None = None) -> Forked:
    """A run that is kept; the second time it is resumed."""
    journal = folder / "run.sqlite"

    def action() -> Any:
        if prepare is not None:
            prepare()
        begun = journal.exists() and bool(_began(journal))
        options: dict[str, Any] = {"resume": Resume(journal)} if begun else {"journal": journal}
        if not begun:
            for path in folder.glob("run.sqlite*"):
                path.unlink()
        found = run(workflow(), tools=tools(folder), backend=backend, workers=3, **options)
        return {"outputs": {name: str(value) for name, value in found.outputs.items()}, "statuses": found.statuses}

    return Forked(folder, action)


def _began(journal: Path) -> bool:
    """Whether the journal can be used: one of a run that was killed before it began says so, and nothing else."""
    try:
        return bool(read_journal(journal).heads)
    except JournalError as error:
        if "is empty" in str(error):
            return False
        raise


def die_in_a_write(number: int, *, before_commit: bool) -> Callable[[], None]:
    """The process dies in the n-th write of its journal, before or after the commit."""

    def prepare() -> None:
        append = journal_file.JournalFile.append
        writes = [0]

        def dying(file: journal_file.JournalFile, bodies: Any) -> None:
            writes[0] += 1
            if writes[0] == number and before_commit:
                connection = file._connection  # the middle of its work
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("INSERT INTO batches VALUES (?, 1, x'00', 0)", (file._batches + 1,))
                os.kill(os.getpid(), signal.SIGKILL)
            append(file, bodies)
            if writes[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)

        journal_file.JournalFile.append = dying  # type: ignore[method-assign, assignment]  # in a process of its own

    return prepare


def die_after_an_end(number: int) -> Callable[[], None]:
    """The process dies when the n-th attempt has ended, and the journal does not know it."""

    def prepare() -> None:
        make = JournalWriter.__init__

        def watched(writer: JournalWriter, *arguments: Any, **options: Any) -> None:
            make(writer, *arguments, **options)
            note = writer.attempt_ended
            ends = [0]

            def dying(attempt: Any) -> None:
                ends[0] += 1
                if ends[0] == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                note(attempt)

            writer.attempt_ended = dying

        JournalWriter.__init__ = watched  # type: ignore[method-assign, assignment]  # in a process of its own

    return prepare


def undisturbed(folder: Path) -> dict[str, Any]:
    """What the run gives when it is not killed: of the steps of the workflow."""
    found = run(workflow(), tools=tools(folder), instruments=[Instrument()])
    return {step.step_id: str(found.outputs[step.step_id]) for step in workflow().steps}


def kill_and_resume(folder: Path, mode: str, draw: random.Random, backend: str, expected: dict[str, Any]) -> int:
    """Kill a run in one of the :data:`MODES`, resume it, and judge what came out. Answers how many steps were durable
    when it was last killed.

    Raises:
        AssertionError: a rule is broken.
    """
    kills = 2 if mode in ("while resuming", "twice in a row") else 1
    finished: Counter[tuple[str, str]] = Counter()
    for number in range(kills):
        prepare = None
        if mode == "in the journal's write":
            prepare = die_in_a_write(draw.randrange(1, 5), before_commit=draw.random() < 0.5)
        elif mode == "between end and journal":
            prepare = die_after_an_end(draw.randrange(1, 15))
        process = started(folder, backend, prepare)
        if prepare is None:
            # While resuming: soon after the start of the second.
            time.sleep(draw.random() * (0.1 if number and mode == "while resuming" else 0.5))
            process.kill()
        process.wait()
        kept = durable(folder / "run.sqlite")
        assert set(finished) <= kept, f"durable once, and no more: {set(finished) - kept}"
        finished = Counter({call: done(folder)[call] for call in kept})
    answer = started(folder, backend).wait()
    assert answer is not None, "the resumed run gave nothing"
    assert {name: answer["outputs"][name] for name in expected} == expected
    assert all(answer["statuses"][name] == "succeeded" for name in expected)
    after = done(folder)
    again = {call: (finished[call], after[call]) for call in finished if after[call] != finished[call]}
    assert not again, f"durable, and done again: {again}"
    assert all(after[call] >= 1 for call in durable(folder / "run.sqlite"))
    return len(finished)


def main(count: int, backends: Sequence[str]) -> None:
    """Kill ``count`` runs of each mode on each backend and print a table."""
    expected = _expected()
    for mode in MODES:
        for backend in backends:
            draw = random.Random(f"{mode} {backend}")  # no secret
            kept: list[int] = []
            for _ in range(count):
                folder = Path(tempfile.mkdtemp(prefix="makespan-killed-"))
                try:
                    kept.append(kill_and_resume(folder, mode, draw, backend, expected))
                finally:
                    shutil.rmtree(folder)
            some = sum(0 < one < CALLS for one in kept)
            sys.stdout.write(f"{mode}, {backend}: {count} runs, {some} with some of their steps durable\n")
            sys.stdout.flush()


def _expected() -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="makespan-killed-"))
    try:
        return undisturbed(folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:] or ("threads", "asyncio"))
