"""`cache: inputs`: what a run takes from earlier ones, what it leaves, and what is never taken."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from executor import Cache, Resume, Run, Step, ToolError, Workflow, WorkflowError, run, step
from executor.journal.resume_plan import ResumePlan
from executor.model.workflow import dump_workflow, parse_workflow
from executor.output_cache.cache_file import MIGRATIONS, CacheError, CacheFile, NewOutput

CALLS: list[str] = []
LARGE = "x" * 100_000


def shout(text: str = "") -> str:
    CALLS.append(text)
    return text.upper()


def large() -> str:
    CALLS.append("large")
    return LARGE


def pair() -> tuple[int, int]:
    CALLS.append("pair")
    return 1, 2


def fails() -> None:
    CALLS.append("fails")
    raise ToolError("no", retryable=False)


def calls_others(text: str) -> Any:
    from node_runtime import call_tool

    CALLS.append(f"outer {text}")
    return call_tool("shout", text=text)


TOOLS = {"shout": shout, "large": large, "pair": pair, "fails": fails, "calls_others": calls_others}


@pytest.fixture(autouse=True)
def no_calls() -> None:
    CALLS.clear()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outputs.cache"


def cached(step_id: str, tool: str = "shout", **words: Any) -> Step:
    return Step(step_id=step_id, tool=tool, cache="inputs", **words)


def done(path: Path, *steps: Step, **options: Any) -> Run:
    options = {"cache": Cache(path, run_id="later"), "tools": TOOLS, **options}
    return run(Workflow(steps=steps, inputs=options.pop("inputs", {})), **options)


@pytest.mark.parametrize("backend", ["serial", "threads", "asyncio", "processes"])
def test_a_call_that_an_earlier_run_made_is_not_made_again(path: Path, backend: str) -> None:
    steps = (
        Step(step_id="a", tool="noop", prompt="{{ inputs.word }}", cache="inputs"),
        Step(step_id="b", tool="noop", prompt="{{ steps.a.output }}!", cache="inputs"),
        Step(step_id="c", tool="noop", prompt="{{ steps.b.output }}?"),
    )
    first = done(path, *steps, inputs={"word": "hi"}, backend=backend, cache=Cache(path, run_id="first"))
    assert (first.reused, first.cached) == ({}, frozenset())
    second = done(path, *steps, inputs={"word": "hi"}, backend=backend)
    assert second.outputs == first.outputs == {"a": "hi", "b": "hi!", "c": "hi!?"}
    assert second.reused == {"a": "first", "b": "first"}
    assert set(second.cached) == {"a", "b"}
    # What was taken is in no figure.
    assert [attempt.step_id for attempt in second.timeline.attempts] == ["c"]
    assert sorted(second.timeline.cached) == [0, 1]
    third = done(path, *steps, inputs={"word": "other"}, backend=backend)
    assert third.reused == {}


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ({"args": {"text": "b"}}, {}),
        ({"prompt": "b"}, {}),
        ({"tool": "other"}, {}),
        ({}, {"seed": 5}),
        ({}, {"tools": {"shout": lambda text="": text.lower()}}),
    ],
)
def test_another_call_is_made(path: Path, words: dict[str, Any], options: dict[str, Any]) -> None:
    tools = {**TOOLS, "other": shout}
    done(path, cached("a", "noop" if "prompt" in words else "shout"), tools=tools)
    assert not done(path, cached("a", **{"tool": "noop" if "prompt" in words else "shout", **words}),
                    **{"tools": tools, **options}).reused  # fmt: skip


def test_a_call_counts_whichever_step_makes_it(path: Path) -> None:
    done(path, cached("a", args={"text": "x"}))
    found = done(path, cached("b", args={"text": "x"}), cached("c", args={"text": "x"}))
    assert set(found.cached) == {"b", "c"}
    assert CALLS == ["x"]


def test_items_are_taken_one_by_one_and_a_mapped_step_is_cached_where_all_are(path: Path) -> None:
    words = {"args": {"text": "{{ item }}"}}
    done(path, cached("m", for_each=["a", "b"], **words), cache=Cache(path, run_id="first"))
    found = done(path, cached("m", for_each=["b", "c", "a"], **words))
    assert found.outputs["m"] == ["B", "C", "A"]
    assert CALLS == ["a", "b", "c"]
    assert found.reused == {"m/1": "first", "m/3": "first"}
    assert set(done(path, cached("m", for_each=["a", "c"], **words)).cached) == {"m", "m/1", "m/2"}


def test_what_a_cached_step_would_call_is_not_called(path: Path) -> None:
    steps = (cached("a", "calls_others", args={"text": "x"}),)
    assert done(path, *steps).outputs["a"] == "X"
    assert CALLS == ["outer x", "x"]
    found = done(path, *steps)
    assert found.reused == {"a": "later"}
    assert CALLS == ["outer x", "x"]
    assert list(found.statuses) == ["a"]


def test_the_calls_of_a_step_that_is_not_cached_are_made(path: Path) -> None:
    for _ in range(2):
        done(path, Step(step_id="a", tool="calls_others", args={"text": "x"}), cached("b", args={"text": "x"}))
    assert CALLS.count("outer x") == 2
    assert CALLS.count("x") == 3


def test_a_failed_step_is_never_cached_and_neither_is_what_json_does_not_give_back(path: Path) -> None:
    for _ in range(2):
        found = done(path, cached("a", "fails"), cached("b", "pair"))
        assert found.reused == {}
    assert sorted(CALLS) == ["fails", "fails", "pair", "pair"]
    assert any("step 'b': not cached: JSON does not give it back" in text for text in found.warnings)


def test_a_step_after_another_whose_output_it_does_not_read_runs_where_that_one_ran(path: Path) -> None:
    steps = (Step(step_id="a", tool="shout"), cached("b", args={"text": "b"}, depends_on=("a",)))
    assert not done(path, *steps).reused
    assert not done(path, *steps).reused
    # Where that one is taken from the cache itself, so is this one.
    steps = (cached("a", args={"text": "a"}), steps[1])
    assert not done(path, *steps).reused
    assert set(done(path, *steps).cached) == {"a", "b"}


def test_an_output_that_is_too_old_is_made_again_and_that_is_said(path: Path) -> None:
    done(path, cached("a", args={"text": "x"}))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE outputs SET stored_at = stored_at - 100")
    assert done(path, cached("a", args={"text": "x"}, ttl=200)).reused
    found = done(path, cached("a", args={"text": "x"}, ttl=50))
    assert not found.reused
    assert found.warnings == ["step 'a': not taken from the cache: older than its `ttl` of 50 s"]
    assert done(path, cached("a", args={"text": "x"}, ttl=50)).reused


def test_an_output_that_was_altered_is_made_again_and_that_is_said(path: Path) -> None:
    steps = (cached("a", args={"text": "x"}), cached("b", "large"))
    done(path, *steps)
    (file,) = path.with_name(f"{path.name}.outputs").iterdir()
    file.write_bytes(file.read_bytes().replace(b"x", b"y", 1))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE outputs SET words = '{\"output\":\"Y\"}' WHERE step_id = 'a'")
    found = done(path, *steps)
    assert found.outputs == {"a": "X", "b": LARGE}
    assert found.reused == {}
    assert "step 'a': not taken from the cache: what is stored for it was altered" in found.warnings
    assert any("was altered" in text and "'b'" in text for text in found.warnings)
    assert set(done(path, *steps).cached) == {"a", "b"}


def test_a_run_may_store_and_take_nothing(path: Path) -> None:
    done(path, cached("a", args={"text": "x"}))
    for _ in range(2):
        assert not done(path, cached("a", args={"text": "x"}), cache=Cache(path, reads=False)).reused
    assert CALLS == ["x"] * 3


def test_no_word_of_a_call_is_kept_but_its_output(path: Path) -> None:
    secret = "sk-very-secret"

    def count(key: str) -> int:
        return len(key)

    tools = {"count": count}
    done(path, cached("a", "count", args={"key": secret}), tools=tools)
    kept = b"".join(file.read_bytes() for file in path.parent.iterdir() if file.is_file())
    assert b"count" not in kept
    assert secret.encode() not in kept
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("words", "code", "field"),
    [
        ({"cache": "inputs", "idempotent": False}, "not-cacheable", "cache"),
        ({"cache": "inputs", "writes": ["s"]}, "not-cacheable", "cache"),
        ({"cache": "inputs", "reads": ["s"]}, "not-cacheable", "cache"),
        ({"cache": "outputs"}, "unknown-value", "cache"),
        ({"cache": "inputs", "ttl": 0}, "out-of-range", "ttl"),
        ({"cache": "inputs", "ttl": "1h"}, "wrong-type", "ttl"),
        ({"ttl": 5}, "invalid", "ttl"),
        ({"cache": "inputs", "tll": 5}, "unknown-field", "tll"),
    ],
)
def test_wrong_words_are_named_with_their_place(words: dict[str, Any], code: str, field: str) -> None:
    steps = [{"step_id": "z", "tool": "noop"}, {"step_id": "a", "tool": "noop", **words}]
    workflow, findings = parse_workflow({"steps": steps})
    if workflow is not None:
        with pytest.raises(WorkflowError) as error:
            run(workflow)
        findings = error.value.findings
    assert [(one.code, one.path) for one in findings] == [(code, ("steps", 1, field))]
    assert findings[0].step == "a"


def test_words_survive_the_way_to_a_file_and_absent_ones_are_no_field(path: Path) -> None:
    words = {"workflow_id": "w", "steps": [{"step_id": "a", "cache": "inputs", "ttl": 5.0}, {"step_id": "b"}]}
    workflow, _ = parse_workflow(words)
    assert workflow is not None
    assert dump_workflow(workflow) == words
    off, findings = parse_workflow({"steps": [{"step_id": "a", "tool": "noop", "cache": None, "ttl": None}]})
    assert findings == []
    assert off is not None
    assert not run(off, cache=path).reused
    assert not path.exists()


def test_functions_that_are_steps_may_be_cached(path: Path) -> None:
    @step(cache="inputs", ttl=60)
    def doubled(value: int) -> int:
        CALLS.append(str(value))
        return 2 * value

    for _ in range(2):
        promise = doubled(4)
        found = run(promise, cache=path)
        assert found.output(promise) == 8
    assert CALLS == ["4"]
    assert len(found.cached) == 1


def test_on_the_virtual_clock_nothing_is_taken_and_nothing_stored(path: Path) -> None:
    done(path, cached("a", args={"text": "x"}))
    assert not done(path, cached("a", args={"text": "x"}), backend="virtual").reused


def test_a_cache_that_cannot_be_used_costs_a_warning_and_not_the_run(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE others (x)")
    found = done(path, cached("a", args={"text": "x"}))
    assert found.ok
    assert f"steps were not cached: {str(path)!r} is another program's database, and no cache" in found.warnings
    path.unlink()
    CacheFile.open(path).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    assert any("newer makespan" in text for text in done(path, cached("a")).warnings)


def test_a_cache_that_is_taken_away_in_the_middle_costs_a_warning(path: Path) -> None:
    def spoil() -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("DROP TABLE outputs")

    after = cached("c", prompt="{{ steps.b.output }}")
    steps = (cached("a"), Step(step_id="b", tool="spoil", depends_on=("a",)), after)
    found = done(path, *steps, tools={**TOOLS, "spoil": spoil, "shout": lambda prompt=None: prompt})
    assert found.ok
    assert any("no such table" in text for text in found.warnings)


def test_runs_side_by_side_share_a_cache(path: Path) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(5):
                assert done(path, *(cached(f"s{n}", args={"text": str(n)}) for n in range(20))).ok
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(done(path, *(cached(f"s{n}", args={"text": str(n)}) for n in range(20))).cached) == 20


def test_a_resumed_run_uses_its_own_steps_first_and_reruns_past_the_cache(path: Path, tmp_path: Path) -> None:
    journal = tmp_path / "run.journal"
    steps = (cached("a", args={"text": "x"}), Step(step_id="b", tool="shout", args={"text": "{{ steps.a.output }}"}))
    done(path, *steps, journal=journal)
    found = done(path, *steps, resume=journal)
    assert (set(found.reused), set(found.cached)) == ({"a", "b"}, set())
    again = done(path, *steps, resume=Resume(journal, rerun=["a"]))
    assert "a" not in again.reused
    assert CALLS.count("x") == 2


def test_a_resumed_step_after_another_that_ran_before_the_seam_is_not_taken_from_the_cache(
    path: Path, tmp_path: Path
) -> None:
    broken = {"b"}

    def note(name: str) -> str:
        CALLS.append(name)
        if name in list(broken):
            raise ToolError("broken", retryable=False)
        return name

    tools = {"note": note}
    words = {"args": {"name": "b"}}
    broken.clear()
    done(path, cached("b", "note", **words), tools=tools)
    broken.add("b")
    steps = (Step(step_id="a", tool="note", args={"name": "a"}), cached("b", "note", depends_on=("a",), **words))
    assert not done(path, *steps, tools=tools, journal=tmp_path / "run.journal").ok
    broken.clear()
    CALLS.clear()
    found = done(path, *steps, tools=tools, resume=tmp_path / "run.journal")
    # What `a` left elsewhere was made after the output in the cache.
    assert set(found.reused) == {"a"}
    assert CALLS == ["b"]


def test_the_plan_of_a_resumed_run_says_what_the_cache_may_have(path: Path, tmp_path: Path) -> None:
    steps = (cached("a", "fails"), Step(step_id="b", tool="fails"))
    done(path, *steps, journal=tmp_path / "run.journal")
    reasons: dict[str, str] = {}

    def show(plan: ResumePlan) -> None:
        reasons.update({one.step_id: one.reason for one in plan.steps})

    done(path, *steps, resume=Resume(tmp_path / "run.journal", show=show))
    assert reasons == {"a": "it had failed, unless the cache has its output", "b": "it had failed"}


def test_old_outputs_are_dropped_with_their_files(path: Path) -> None:
    with closing(CacheFile.open(path)) as file:
        file.put([NewOutput("old", "r", "a", 100.0, file.outputs.kept(LARGE)), NewOutput("new", "r", "b", 200.0, {})])
        kept = {"output": "y"}
        file.put([NewOutput("newer", "r", "c", 300.0, kept)])
        assert file.drop_before(200.0) == 1
        assert file.find("old") is None
        assert file.find("newer") is not None
        # A young file may belong to a row that is about to be written.
        assert file.drop_before(time.time() + 60) == 2
        assert list(path.with_name(f"{path.name}.outputs").iterdir()) == []


def test_a_damaged_row_is_told(path: Path) -> None:
    with closing(CacheFile.open(path)) as file:
        file.put([NewOutput("x", "r", "a", 1.0, {"output": 1})])
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE outputs SET words = ?", (json.dumps({"output": 2}),))
        with pytest.raises(CacheError, match="was altered"):
            file.find("x")
