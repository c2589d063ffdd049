"""A run goes on from its journal: what is finished is not done again, and what is done again has its reason."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from executor import Attempt, Instrument, Journal, JournalError, Resource, Resume, Retry, Step, Workflow, arun, run
from executor.backends.threads import ThreadsBackend
from executor.journal.journal_file import JournalFile
from executor.journal.journal_writer import JournalWriter
from executor.journal.kept_run import read_journal
from executor.journal.resume_plan import ResumePlan
from executor.node_runtime import call_tool, call_tools_parallel
from executor.running import Run
from harness.analysis import RunAnalysis
from tests.movable_clock import PATIENCE_SECONDS, Ends, MovableClock

Tools = Mapping[str, Callable[..., Any]]


class Counted:
    """Tools that note what they did. ``broken`` names the values for which they fail."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.broken: set[Any] = set()

    def double(self, value: Any) -> Any:
        self.done.append(value)
        if value in list(self.broken):
            raise ValueError(f"{value} is broken")
        return value * 2

    @property
    def tools(self) -> Tools:
        return {"double": self.double}


def step(step_id: str, value: Any, **words: Any) -> Step:
    return Step(step_id=step_id, tool="double", args={"value": value}, **words)


CHAIN = (step("a", 1), step("b", "{{ steps.a.output }}"), step("c", "{{ steps.b.output }}"))


def fates(path: Path, workflow: Workflow, tools: Tools, **options: Any) -> dict[str, str]:
    """What a resumed run would do, without its doing anything: `runs: why` or the like, by step."""
    shown: dict[str, str] = {}

    class Enough(Exception):  # noqa: N818  # no error
        pass

    def show(plan: ResumePlan) -> None:
        shown.update({one.step_id: f"{one.fate}: {one.reason}".removesuffix(": ") for one in plan.steps})
        raise Enough

    with pytest.raises(Enough):
        run(workflow, tools=tools, resume=Resume(path, show=show, **options))
    return shown


def begun(path: Path, counted: Counted, steps: tuple[Step, ...] = CHAIN, **options: Any) -> Run:
    """A run that is kept, and what its tools did forgotten."""
    found = run(Workflow(steps=steps), tools=counted.tools, journal=path, **options)
    counted.done.clear()
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.sqlite"


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.mark.parametrize("backend", ["threads", "asyncio", "serial"])
def test_a_failed_step_is_tried_again_and_the_finished_ones_are_not(path: Path, counted: Counted, backend: str) -> None:
    counted.broken = {4}
    first = begun(path, counted, backend=backend)
    assert first.statuses == {"a": "succeeded", "b": "succeeded", "c": "failed"}
    counted.broken.clear()
    second = run(Workflow(steps=CHAIN), tools=counted.tools, resume=path, backend=backend)
    assert counted.done == [4]
    assert second.outputs == {"a": 2, "b": 4, "c": 8}
    assert set(second.reused) == {"a", "b"}
    assert [attempt.step_id for attempt in second.timeline.attempts] == ["c"]


@pytest.mark.parametrize("policy", ["dataflow", "levels", "barrier", "serial"])
def test_policies_and_locks_hold_where_steps_are_reused(path: Path, counted: Counted, policy: Any) -> None:
    steps = (
        step("a", 1, writes=("file",)), step("b", 2, reads=("file",)), step("c", 3, writes=("file",)),
        step("d", 4, depends_on=("c",), parallel_group=1), step("e", "{{ steps.d.output }}"),
    )  # fmt: skip
    counted.broken = {3}
    begun(path, counted, steps, policy=policy)
    counted.broken.clear()
    second = run(Workflow(steps=steps), tools=counted.tools, resume=path, policy=policy)
    assert second.outputs == {"a": 2, "b": 4, "c": 6, "d": 8, "e": 16}
    assert counted.done == [3, 4, 8]


def test_a_resumed_run_can_be_resumed(path: Path, counted: Counted) -> None:
    for broken, done in ((2, [2]), (4, [2, 4]), (None, [4])):
        counted.broken = {broken}
        counted.done.clear()
        options: dict[str, Any] = {"resume": path} if path.exists() else {"journal": path}
        if "journal" in options:
            run(Workflow(steps=CHAIN), tools=counted.tools, **options)
            counted.done.clear()
            continue
        run(Workflow(steps=CHAIN), tools=counted.tools, **options)
        assert counted.done == done
    assert len(read_journal(path).heads) == 3


def test_what_has_changed_runs_again_and_says_why(path: Path, counted: Counted) -> None:
    begun(path, counted)
    changed = (CHAIN[0], step("b", "{{ steps.a.output + 1 }}"), CHAIN[2])
    shown = fates(path, Workflow(steps=changed), counted.tools)
    assert shown == {"a": "reused", "b": "runs: its arguments have changed", "c": "depends: after 'b'"}
    second = run(Workflow(steps=changed), tools=counted.tools, resume=path)
    assert second.outputs == {"a": 2, "b": 6, "c": 12}
    assert counted.done == [3, 6]


def test_a_prompt_a_tool_and_its_code_are_told_apart(path: Path) -> None:
    def shout(prompt: str) -> str:
        return prompt.upper()

    def whisper(prompt: str) -> str:
        return prompt.lower()

    steps = (Step(step_id="a", tool="say", prompt="Hello {{ inputs.name }}"),)
    run(Workflow(steps=steps), {"name": "you"}, tools={"say": shout}, journal=path)
    workflow = Workflow(steps=steps, inputs={"name": "you"})
    assert fates(path, workflow, {"say": shout}) == {"a": "reused"}
    assert fates(path, workflow, {"say": whisper}) == {"a": "runs: the code of its tool 'say' has changed"}
    other = Workflow(steps=(steps[0].model_copy(update={"tool": "tell"}),), inputs={"name": "you"})
    assert fates(path, other, {"tell": shout}) == {"a": "runs: its tool was 'say' and is 'tell'"}
    workflow = Workflow(steps=steps, inputs={"name": "her"})
    assert fates(path, workflow, {"say": shout}) == {"a": "runs: its prompt has changed"}


def test_the_words_that_shape_no_output_may_change(path: Path, counted: Counted) -> None:
    begun(path, counted)
    changed = tuple(
        one.model_copy(update={"priority": 3, "timeout": 9.0, "description": "new", "retry": Retry()}) for one in CHAIN
    )
    assert set(fates(path, Workflow(steps=changed), counted.tools).values()) == {"reused"}


def test_a_step_that_reads_no_output_runs_again_after_one_that_does(path: Path, counted: Counted) -> None:
    steps = (step("a", 1), step("b", 2, depends_on=("a",)), step("c", "{{ steps.b.output }}"))
    begun(path, counted, steps)
    second = run(Workflow(steps=steps), tools=counted.tools, resume=Resume(path, rerun=["a"]))
    # `b` may use what `a` left elsewhere; `c` reads what `b` says, and that is the same.
    assert counted.done == [1, 2]
    assert set(second.reused) == {"c"}


def test_a_state_written_anew_is_read_anew(path: Path, counted: Counted) -> None:
    steps = (step("a", 1, writes=("file",)), step("b", 2, reads=("file",)), step("c", 3))
    begun(path, counted, steps)
    run(Workflow(steps=steps), tools=counted.tools, resume=Resume(path, rerun=["a"]))
    assert sorted(counted.done) == [1, 2]


def test_items_of_a_mapped_step_resume_one_by_one_whatever_their_number(path: Path, counted: Counted) -> None:
    def steps(items: list[int]) -> tuple[Step, ...]:
        return (step("m", "{{ item }}", for_each=items), step("z", "{{ steps.m.output }}"))

    counted.broken = {3}
    begun(path, counted, steps([1, 2, 3, 4]))
    counted.broken.clear()
    second = run(Workflow(steps=steps([4, 3, 2, 5, 1])), tools=counted.tools, resume=path)
    assert second.outputs["m"] == [8, 6, 4, 10, 2]
    assert sorted(counted.done, key=str)[:2] == [3, 5]
    counted.done.clear()
    third = run(Workflow(steps=steps([4, 3, 2, 5, 1])), tools=counted.tools, resume=path)
    assert (counted.done, third.outputs["z"]) == ([], second.outputs["z"])
    assert "m" in third.reused


def test_calls_of_a_step_resume_one_by_one_in_any_order(path: Path, counted: Counted) -> None:
    order = [1, 2, 3, 1]

    def code() -> list[int]:
        outputs = [call_tool("double", value=value) for value in order]
        if not counted.broken:
            return outputs
        raise ValueError("at its end")

    tools = {**counted.tools, "code": code}
    steps = (Step(step_id="p", tool="code"),)
    counted.broken = {9}
    run(Workflow(steps=steps), tools=tools, journal=path)
    counted.broken.clear()
    counted.done.clear()
    order[:] = [3, 1, 1, 1, 2]
    second = run(Workflow(steps=steps), tools=tools, resume=path)
    assert second.outputs["p"] == [6, 2, 2, 2, 4]
    # Two of the three equal calls were done before.
    assert counted.done == [1]


@pytest.mark.parametrize("backend", ["threads", "asyncio"])
def test_calls_made_together_resume_where_all_are_finished(path: Path, counted: Counted, backend: str) -> None:
    def code() -> Any:
        results = call_tools_parallel([("double", None, {"value": value}) for value in range(20)], max_workers=3)
        if counted.broken:
            raise ValueError("at its end")
        return len(results)

    tools = {**counted.tools, "code": code}
    steps = (Step(step_id="p", tool="code"), step("q", "{{ steps.p.output }}"))
    counted.broken = {99}
    run(Workflow(steps=steps), tools=tools, journal=path, backend=backend)
    counted.broken.clear()
    counted.done.clear()
    second = run(Workflow(steps=steps), tools=tools, resume=path, backend=backend)
    assert (second.outputs["q"], counted.done) == (40, [20])


def test_a_step_that_is_asked_to_runs_again_with_all_below_it(path: Path, counted: Counted) -> None:
    def code() -> Any:
        return call_tool("double", value=5)

    tools = {**counted.tools, "code": code}
    steps = (Step(step_id="p", tool="code"), step("q", "{{ steps.p.output }}"))
    run(Workflow(steps=steps), tools=tools, journal=path)
    counted.done.clear()
    second = run(Workflow(steps=steps), tools=tools, resume=Resume(path, rerun=["p"]))
    assert (counted.done, set(second.reused)) == ([5], {"q"})


def test_a_false_condition_is_asked_again(path: Path, counted: Counted) -> None:
    steps = (step("a", 1), step("b", 2, when="inputs.wanted"), step("c", 3, depends_on=("b",)))
    run(Workflow(steps=steps), {"wanted": False}, tools=counted.tools, journal=path)
    counted.done.clear()
    second = run(Workflow(steps=steps), {"wanted": True}, tools=counted.tools, resume=path)
    assert second.outputs == {"a": 2, "b": 4, "c": 6}
    # `c` reads nothing of `b`, but comes after it.
    assert counted.done == [2, 3]


def unsure(path: Path, counted: Counted) -> Workflow:
    """A run that ended while `pay` was running, which must not be done twice: as a killed process leaves it."""
    copy = path.with_name("copy.sqlite")

    def pay(value: int) -> int:
        counted.done.append(value)
        shutil.copyfile(path, copy)
        shutil.copyfile(f"{path}-wal", f"{copy}-wal")
        return value

    steps = (
        step("a", 1), Step(step_id="pay", tool="pay", args={"value": 7}, idempotent=False, depends_on=("a",)),
        step("z", 3, depends_on=("pay",)),
    )  # fmt: skip
    run(Workflow(steps=steps), tools={**counted.tools, "pay": pay}, journal=path)
    for name in ("", "-wal"):
        shutil.move(f"{copy}{name}", f"{path}{name}")
    counted.done.clear()
    return Workflow(steps=steps)


def test_what_must_not_be_done_twice_is_asked_about(path: Path, counted: Counted) -> None:
    workflow = unsure(path, counted)
    tools = {**counted.tools, "pay": counted.double}
    with pytest.raises(JournalError, match="'pay' was running, which must not be done twice") as refused:
        run(workflow, tools=tools, resume=path)
    assert "--rerun-unsure" in refused.value.fix
    assert counted.done == []


def test_what_must_not_be_done_twice_is_done_or_left_out_as_the_person_says(path: Path, counted: Counted) -> None:
    workflow = unsure(path, counted)
    tools = {**counted.tools, "pay": counted.double}
    for name in ("", "-wal"):
        shutil.copyfile(f"{path}{name}", f"{path}.second{name}")
    again = run(workflow, tools=tools, resume=Resume(path, unsure="rerun"))
    assert (again.outputs["pay"], counted.done) == (14, [7, 3])
    counted.done.clear()
    without = run(workflow, tools=tools, resume=Resume(f"{path}.second", unsure="skip"))
    assert without.statuses == {"a": "succeeded", "pay": "skipped", "z": "succeeded"}
    assert counted.done == [3]


def test_a_step_that_comes_after_one_that_ran_again_in_a_resume_that_died_runs_again(
    path: Path, counted: Counted
) -> None:
    """The second run does `a` again and ends before `b`: what `b` left in the first one is out of date."""
    a, b = step("a", 1, writes=("file",)), step("b", 2, reads=("file",))
    stops = step("stops", 3, depends_on=("a",), on_failure="stop", priority=1)
    steps = (a, stops, b)
    begun(path, counted, steps)
    counted.broken = {3}
    second = run(Workflow(steps=steps), tools=counted.tools, resume=Resume(path, rerun=["a"]), workers=1)
    assert (second.statuses["b"], counted.done) == ("cancelled", [1, 3])
    counted.broken.clear()
    counted.done.clear()
    assert fates(path, Workflow(steps=steps), counted.tools)["b"] == "runs: it comes after 'a', which ran again since"
    run(Workflow(steps=steps), tools=counted.tools, resume=path)
    assert sorted(counted.done) == [2, 3]


def test_items_and_calls_of_a_step_that_comes_after_one_that_runs_again_are_done_again(
    path: Path, counted: Counted
) -> None:
    def calling() -> Any:
        return call_tool("double", value=30)

    steps = (
        step("a", 1, writes=("file",)),
        step("m", "{{ item }}", for_each=[10, 20], reads=("file",)),
        Step(step_id="c", tool="calling", reads=("file",)),
    )
    tools = {**counted.tools, "calling": calling}
    run(Workflow(steps=steps), tools=tools, journal=path)
    counted.done.clear()
    run(Workflow(steps=steps), tools=tools, resume=path)
    assert counted.done == []
    run(Workflow(steps=steps), tools=tools, resume=Resume(path, rerun=["a"]))
    assert sorted(counted.done) == [1, 10, 20, 30]


def test_an_item_that_was_left_out_is_asked_about_again(path: Path, counted: Counted) -> None:
    """Its mapped step has ended since, and is asked for item by item all the same."""

    backend, ends = ThreadsBackend(1), Ends()
    clock = MovableClock(backend)

    def pay(value: int) -> None:
        counted.done.append(value)
        clock.move(60)
        assert ends.all_ended.wait(PATIENCE_SECONDS)

    items = Step(step_id="m", tool="pay", args={"value": "{{ item }}"}, for_each=[7], timeout=60, idempotent=False)
    tools = {"pay": pay}
    first = run(Workflow(steps=(items,)), backend=backend, tools=tools, journal=path, instruments=[ends])
    assert first.statuses["m/1"] == "failed"
    left_out = run(Workflow(steps=(items,)), tools=tools, resume=Resume(path, unsure="skip"))
    assert (left_out.statuses, left_out.outputs) == ({"m": "succeeded", "m/1": "skipped"}, {"m": [None]})
    with pytest.raises(JournalError, match="must not be done twice"):
        run(Workflow(steps=(items,)), tools=tools, resume=path)
    assert counted.done == [7]


def test_items_that_are_alike_take_their_own_results(path: Path, counted: Counted) -> None:
    """Of what the first run left, the third item's would be older than the second item, which ran since."""
    items = step("m", "{{ item }}", for_each=[5, 6, 5], writes=("file",))
    counted.broken = {6}
    begun(path, counted, (items,), workers=1)
    counted.broken.clear()
    run(Workflow(steps=(items,)), tools=counted.tools, resume=path, workers=1)
    assert counted.done == [6, 5]
    counted.done.clear()
    assert fates(path, Workflow(steps=(items,)), counted.tools) == {"m": "reused"}
    run(Workflow(steps=(items,)), tools=counted.tools, resume=path, workers=1)
    assert counted.done == []


def test_large_outputs_stand_in_files_that_are_checked(path: Path, counted: Counted) -> None:
    steps = (step("a", "x" * 50_000), step("b", "{{ steps.a.output }}y"))
    first = begun(path, counted, steps)
    folder = path.with_name("run.sqlite.outputs")
    assert len(list(folder.iterdir())) == 2
    second = run(Workflow(steps=steps), tools=counted.tools, resume=path)
    assert (second.outputs, counted.done) == (first.outputs, [])
    smallest = min(folder.iterdir(), key=lambda file: file.stat().st_size)
    smallest.write_text("altered", encoding="utf-8")
    with pytest.raises(JournalError, match="was altered") as refused:
        run(Workflow(steps=steps), tools=counted.tools, resume=path)
    assert refused.value.fix == "do it again: --rerun a"
    smallest.unlink()
    with pytest.raises(JournalError, match="cannot be read"):
        run(Workflow(steps=steps), tools=counted.tools, resume=path)
    assert run(Workflow(steps=steps), tools=counted.tools, resume=Resume(path, rerun=["a"])).outputs == first.outputs


@pytest.mark.parametrize("output", [(1, 2), {1: 2}, float("nan"), object(), {1, 2}])
def test_an_output_that_json_does_not_give_back_is_made_again(path: Path, output: Any) -> None:
    made: list[int] = []

    def make() -> Any:
        made.append(1)
        return output

    steps = (Step(step_id="a", tool="make"),)
    run(Workflow(steps=steps), tools={"make": make}, journal=path)
    assert fates(path, Workflow(steps=steps), {"make": make})["a"].startswith(
        "runs: its output could not be kept: JSON"
    )
    run(Workflow(steps=steps), tools={"make": make}, resume=path)
    assert made == [1, 1]


def test_the_journal_of_another_workflow_is_refused(path: Path, counted: Counted) -> None:
    begun(path, counted)
    with pytest.raises(JournalError, match="is of the workflow 'workflow', and this one is 'other'"):
        run(Workflow(workflow_id="other", steps=CHAIN), tools=counted.tools, resume=path)


def test_a_step_that_is_gone_is_named(path: Path, counted: Counted) -> None:
    begun(path, counted)
    with pytest.raises(JournalError, match="a step that this workflow has no more: 'c'") as refused:
        run(Workflow(steps=CHAIN[:2]), tools=counted.tools, resume=path)
    assert refused.value.fix.endswith("--forget c")
    found = run(Workflow(steps=CHAIN[:2]), tools=counted.tools, resume=Resume(path, forget=["c"]))
    assert (found.outputs, counted.done) == ({"a": 2, "b": 4}, [])


def test_a_step_to_run_again_that_is_nowhere_is_named(path: Path, counted: Counted) -> None:
    begun(path, counted)
    with pytest.raises(JournalError, match="there is no step 'x' to run again"):
        run(Workflow(steps=CHAIN), tools=counted.tools, resume=Resume(path, rerun=["x"]))


def test_a_run_that_goes_on_cannot_be_resumed_a_second_time(path: Path, counted: Counted) -> None:
    begun(path, counted)
    refusals: list[str] = []

    def resume_it_too(value: int) -> int:
        with pytest.raises(JournalError) as refused:
            run(Workflow(steps=CHAIN), tools=counted.tools, resume=path)
        refusals.append(str(refused.value))
        return value

    run(Workflow(steps=CHAIN), tools={"double": resume_it_too}, resume=Resume(path, run_id="0123456789abcdef"))
    assert "run 0123456789ab, process" in refusals[0]


def test_a_simulated_run_keeps_nothing(path: Path, counted: Counted) -> None:
    with pytest.raises(JournalError, match="on virtual nothing really runs"):
        run(Workflow(steps=CHAIN), tools=counted.tools, journal=path, backend="virtual")


def test_both_ways_at_once_are_refused(path: Path, counted: Counted) -> None:
    with pytest.raises(JournalError, match="goes on in its own journal"):
        run(Workflow(steps=CHAIN), tools=counted.tools, journal=path, resume=path)


def test_a_journal_that_cannot_be_written_harms_nothing_and_is_told(path: Path, counted: Counted) -> None:
    def spoil(value: int) -> int:
        counted.done.append(value)
        if len(counted.done) == 1:
            connection = sqlite3.connect(path)
            connection.execute("ALTER TABLE batches RENAME TO elsewhere")
            connection.commit()
            connection.close()
        return value

    found = run(Workflow(steps=CHAIN), tools={"double": spoil}, journal=path)
    assert found.ok
    assert "3 ends of attempts are not in the journal" in found.warnings[-1]


def test_a_full_disk_harms_nothing_and_what_was_kept_before_is_used(path: Path, counted: Counted) -> None:
    steps = (*(step(f"s{number}", number) for number in range(30)), step("z", "{{ steps.s0.output }}"))
    append = JournalFile.append

    def full(file: JournalFile, bodies: Sequence[str]) -> None:
        # No page more than there is: what SQLite says of a full disk.
        file._connection.execute("PRAGMA max_page_count = 1")  # below its public face
        append(file, [*bodies, json.dumps({"filling": [random.random() for _ in range(3000)]})])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JournalFile, "append", full)
        found = run(Workflow(steps=steps), tools=counted.tools, journal=path)
    assert found.ok
    assert "ends of attempts are not in the journal" in found.warnings[-1]
    assert "full" in found.warnings[-1]
    counted.done.clear()
    again = run(Workflow(steps=steps), tools=counted.tools, resume=path)
    assert (again.outputs, len(counted.done)) == (found.outputs, len(steps))


def test_without_a_thread_the_journal_is_written_at_the_end(
    path: Path, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "makespan-journal":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    found = run(Workflow(steps=CHAIN), tools=counted.tools, journal=path)
    assert found.ok
    assert "is whole now: can't start new thread" in found.warnings[-1]
    assert set(read_journal(path).steps) == {"a", "b", "c"}


def test_a_cancelled_run_goes_on(path: Path, counted: Counted) -> None:
    class Impatient(Instrument):
        def attempt_started(self, attempt: Attempt) -> None:
            if attempt.step_id == "b":
                self.engine.request_cancel()

        def run_started(self, engine: Any) -> None:
            self.engine = engine

    first = run(Workflow(steps=CHAIN), tools=counted.tools, journal=path, instruments=[Impatient()])
    assert first.statuses["a"] == "succeeded"
    assert not first.ok
    second = run(Workflow(steps=CHAIN), tools=counted.tools, resume=path)
    assert second.outputs == {"a": 2, "b": 4, "c": 8}
    assert "a" in second.reused


@pytest.mark.parametrize("seed", [pytest.param(seed, marks=[pytest.mark.slow] * (seed >= 12)) for seed in range(100)])
def test_random_runs_that_are_resumed_give_what_undisturbed_ones_give(path: Path, seed: int) -> None:
    draw = random.Random(seed)
    broken: set[str] = set()
    done: list[str] = []

    def work(name: str, values: Any) -> Any:
        done.append(name)
        if name in broken:
            raise ValueError(name)
        return [name, len(str(values))]

    def code(name: str, count: int) -> Any:
        return [call_tool("work", name=f"{name}.{number}", values=None) for number in range(count)]

    steps: list[Step] = []
    for number in range(draw.randrange(3, 15)):
        above = draw.sample(range(number), min(number, draw.randrange(3)))
        words: dict[str, Any] = {"step_id": f"s{number}", "depends_on": tuple(f"s{one}" for one in above[1:])}
        state = draw.choice([{}, {}, {"reads": ("x",)}, {"writes": ("x",)}])
        group = draw.choice([{}, {"needs": {"limit": 1}}])
        args: dict[str, Any] = {"name": f"s{number}", "values": f"{{{{ steps.s{above[0]}.output }}}}" if above else 1}
        kind = draw.choice(["plain", "plain", "mapped", "code"])
        if kind == "mapped":
            words |= {"for_each": list(range(draw.randrange(4)))}
            args["name"] = f"s{number}.{{{{ item }}}}"
        elif kind == "code":
            args = {"name": f"s{number}", "count": draw.randrange(4)}
        tool = "code" if kind == "code" else "work"
        steps.append(Step(**{**words, **state, **group, "tool": tool, "args": args}))
    options: dict[str, Any] = {
        "tools": {"work": work, "code": code}, "policy": draw.choice(["dataflow", "levels", "barrier", "serial"]),
        "backend": draw.choice(["threads", "asyncio", "serial"]), "resources": {"limit": Resource(capacity=2)},
    }  # fmt: skip
    workflow = Workflow(steps=tuple(steps))
    undisturbed = run(workflow, **options)
    names = list(done)
    broken.update(draw.sample(names, min(len(names), draw.randrange(1, 4))))
    run(workflow, journal=path, **options)
    broken.clear()
    done.clear()
    found = run(workflow, resume=path, **options)
    top = [one.step_id for one in steps]
    assert {name: found.outputs[name] for name in top} == {name: undisturbed.outputs[name] for name in top}
    assert not set(done) & set(found.reused)
    assert len(done) <= len(names)
    analysis = RunAnalysis(found.timeline)
    assert sum(analysis.lost_nanoseconds.values()) == found.timeline.makespan_nanoseconds
    assert analysis.lower_bound.nanoseconds <= found.timeline.makespan_nanoseconds
    done.clear()
    again = run(workflow, resume=path, **options)
    assert (done, again.outputs.keys() >= set(top)) == ([], True)


def test_each_step_can_be_waited_for(path: Path, counted: Counted) -> None:
    kept: list[set[str]] = []

    def look(value: int) -> int:
        kept.append(set(read_journal(path).steps))
        return value

    run(Workflow(steps=CHAIN), tools={"double": look}, journal=Journal(path, durable="each"))
    assert kept == [set(), {"a"}, {"a", "b"}]


def test_a_coroutine_run_is_kept_and_resumed(path: Path, counted: Counted) -> None:
    async def both() -> Run:
        await arun(Workflow(steps=CHAIN), tools=counted.tools, journal=path)
        counted.done.clear()
        return await arun(Workflow(steps=CHAIN), tools=counted.tools, resume=path)

    assert asyncio.run(both()).outputs == {"a": 2, "b": 4, "c": 8}
    assert counted.done == []


def test_tokens_errors_and_waits_come_back_as_they_were(path: Path, counted: Counted) -> None:
    counted.broken = {4}
    first = begun(path, counted, (*CHAIN, step("d", 4, retry=Retry(max_attempts=2, backoff_seconds=0.001))), workers=1)
    earlier = read_journal(path)
    ends = {(end.step_id, end.attempt): end for end in earlier.ends[0]}
    assert set(ends) == {(attempt.step_id, attempt.attempt) for attempt in first.timeline.attempts}
    for attempt in first.timeline.attempts:
        end = ends[attempt.step_id, attempt.attempt]
        assert (end.outcome, end.ready, end.ended, end.known) == (
            attempt.outcome, attempt.ready, attempt.ended, attempt.known,
        )  # fmt: skip
    assert ends["d", 2].more["error"][:2] == ["ValueError", "4 is broken"]
    assert earlier.closed == "finished"


def test_a_fault_of_the_journal_itself_harms_nothing_and_is_told(
    path: Path, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_writer: JournalWriter, _attempts: Any) -> Any:
        raise KeyError("a fault")

    monkeypatch.setattr(JournalWriter, "_end_rows", broken)
    found = run(Workflow(steps=CHAIN), tools=counted.tools, journal=path)
    assert found.ok
    assert "the journal is not whole: KeyError" in found.warnings[-1]
