"""Workflows from ordinary calls: what becomes a step, what a dependency, and what a promise cannot do."""

from __future__ import annotations

import asyncio
import doctest
import operator
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import executor.front_end
from executor import Retry, StepResult, Workflow, arun, run, step, tools_of, workflow_of
from executor.dependencies import plan
from executor.front_end import NoOutputError

REAL = ("serial", "threads", "asyncio", "processes")


@step
def article() -> str:
    """Write an article.

    At length.
    """
    return "one two three"


@step
def summary(text: str, words: int = 1) -> str:
    return " ".join(text.split()[:words])


@step
def report(short: str, long: str) -> dict[str, Any]:
    return {"short": short, "long": long, "parts": [short, long]}


@step
def joined(*parts: str, between: str = " ", **named: str) -> str:
    return between.join([*parts, *(f"{key}={value}" for key, value in named.items())])


@step
def placed(first: int, /, second: int = 2) -> list[int]:
    return [first, second]


# For calls that a type checker refuses as well.
untyped: Any = summary
untyped_step: Any = step
untyped_run: Any = run


@step
async def awaited(value: int) -> int:
    await asyncio.sleep(0)
    return value + 1


@step
def counted(tree: dict[str, Any]) -> int:
    return sum(len(str(item)) for item in tree["items"])


def shape(*results: Any) -> dict[str, tuple[str, ...]]:
    return {one.step_id: one.depends_on for one in workflow_of(*results).steps}


# ---------------------------------------------------------------------- what becomes of calls


def test_dependencies_are_seen_from_the_arguments() -> None:
    text = article()
    assert shape(report(summary(text), text)) == {
        "article": (),
        "summary": ("article",),
        "report": ("summary", "article"),
    }


def test_each_call_is_a_step_of_its_own() -> None:
    assert shape(report(summary(article()), article())) == {
        "article": (),
        "summary": ("article",),
        "article-2": (),
        "report": ("summary", "article-2"),
    }


def test_equal_calls_of_a_pure_function_are_one_step() -> None:
    calls: list[str] = []

    @step(pure=True)
    def source(name: str) -> str:
        calls.append(name)
        return name

    result = joined(source("a"), source("a"), source("b"))
    assert shape(result) == {"source": (), "source-2": (), "joined": ("source", "source-2")}
    assert run(result).output(result) == "a a b"
    assert sorted(calls) == ["a", "b"]


def test_results_inside_of_lists_and_mappings_are_dependencies() -> None:
    result = counted({"items": [article(), [summary("x y")], {"deep": awaited(1)}, "{{ 1 }}"]})
    assert shape(result)["counted"] == ("article", "summary", "awaited")
    assert run(result).output(result) == len("one two three") + len("['x']") + len("{'deep': 2}") + len("{{ 1 }}")


def test_a_part_of_a_result_is_a_promise_too() -> None:
    whole = report("a", "b")
    result = joined(whole["short"], whole["parts"][1])
    assert shape(result) == {"report": (), "joined": ("report",)}
    done = run(result)
    assert done.output(result) == "a b"
    assert done.output({"it": [whole["long"]]}) == {"it": ["b"]}


def test_several_results_are_run_together() -> None:
    results = [summary("a b"), summary("c d")]
    done = untyped_run(results)
    assert done.output(results) == ["a", "c"]


@pytest.mark.parametrize("backend", REAL)
def test_every_kind_of_parameter_works_on_every_backend(backend: str) -> None:
    result = joined(
        summary("a b c", words=2), article(), between="|", total=awaited(1), list=placed(3, second=awaited(3))
    )
    done = run(result, backend=backend)
    assert done.ok, done.errors
    assert done.output(result) == "a b|one two three|total=2|list=[3, 4]"


@pytest.mark.parametrize("backend", REAL)
def test_functions_that_nobody_can_import_work_on_every_backend(backend: str) -> None:
    factor = 3

    @step
    def scaled(value: int) -> int:
        return factor * value

    result = scaled(scaled(2))
    assert run(result, backend=backend).output(result) == 18


def test_the_same_runs_in_the_callers_event_loop() -> None:
    async def main() -> Any:
        result = awaited(awaited(1))
        return (await arun(result)).output(result)

    assert asyncio.run(main()) == 3


def test_inside_of_a_step_a_marked_function_is_an_ordinary_function() -> None:
    @step
    def outer() -> str:
        return str(summary("x y"))

    result = outer()
    assert run(result).output(result) == "x"
    assert shape(result) == {"outer": ()}


def test_the_function_itself_can_be_called_at_any_time() -> None:
    assert summary.function("a b") == "a"
    assert summary.__name__ == "summary"


# ---------------------------------------------------------------------- the same model and rules


def test_options_are_those_of_a_step() -> None:
    @step(
        name="take notes", description="Notes", retry=Retry(max_attempts=2), timeout=5.0, needs={"llm": 1},
        reads=["page"], writes=["notebook"], priority=3, on_failure="stop", idempotent=False, expected_seconds=2.0,
    )  # fmt: skip
    def note(text: str) -> str:
        return text

    (made,) = workflow_of(note("x")).steps
    assert made.step_id == "take notes"
    assert made.retry == Retry(max_attempts=2)
    assert (made.timeout, made.needs, made.reads, made.writes) == (5.0, {"llm": 1}, ("page",), ("notebook",))
    assert (made.priority, made.on_failure, made.idempotent, made.expected_seconds) == (3, "stop", False, 2.0)


def test_the_description_is_the_first_line_of_the_docstring() -> None:
    assert workflow_of(article()).steps[0].description == "Write an article."


def test_steps_that_write_one_state_exclude_each_other() -> None:
    @step(writes=["file"])
    def write(number: int) -> int:
        return number

    result = joined(write(1), write(2))
    done = run(result)
    first, second = (attempt for attempt in done.timeline.attempts if attempt.step_id.startswith("write"))
    assert first.ended is not None
    assert second.granted >= first.ended


def test_a_workflow_of_calls_is_one_like_any_other() -> None:
    result = report(summary(article()), article())
    workflow = workflow_of(result, workflow_id="mine")
    assert isinstance(workflow, Workflow)
    assert plan(workflow).findings == []
    done = run(workflow, tools=tools_of(result))
    assert done.outputs["report"]["short"] == "one"


def test_a_failure_names_its_step_and_the_reason() -> None:
    @step
    def broken() -> int:
        raise ValueError("no paper")

    result = joined(broken())
    done = run(result)
    assert not done.ok
    with pytest.raises(NoOutputError, match="'joined' has no output: skipped"):
        done.output(result)
    with pytest.raises(NoOutputError, match="no paper"):
        done.output(broken_part(result))


def broken_part(result: StepResult) -> Any:
    return result.call.arguments["parts"][0]  # the promise below, which the test has let go


# ---------------------------------------------------------------------- what a promise cannot do


@pytest.mark.parametrize(
    ("misuse", "words"),
    [
        (bool, "ask inside of a step"),
        (list, "give it whole to a step"),
        (len, "length"),
        (str, "give it to a step as an argument"),
        (lambda it: f"{it:>4}", "give it to a step as an argument"),
        (lambda it: "x" in it, "for what it holds"),
        (lambda it: it < 3, "compare inside of a step"),
        (lambda it: operator.getitem(it, 1.5), "by a text or a number"),
        (lambda it: [*it], "goes through them"),
    ],
)
def test_a_promise_that_is_taken_for_a_value_says_what_to_do(misuse: Callable[[Any], Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        misuse(article())


def test_an_attribute_of_a_promise_says_what_to_do() -> None:
    with pytest.raises(AttributeError, match=r"inside of a step, or take a part of a mapping as result\['upper'\]"):
        article().upper()


def test_awaiting_a_promise_says_what_to_do() -> None:
    async def main() -> None:
        await article()

    with pytest.raises(TypeError, match="await arun"):
        asyncio.run(main())


def endless() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


def test_many_calls_of_one_function_cost_as_much_each_as_few() -> None:
    def seconds(calls: int) -> float:
        begin = time.perf_counter()
        many = workflow_of([untyped("a") for _ in range(calls)])
        assert many.steps[-1].step_id == f"summary-{calls}"
        return time.perf_counter() - begin

    # Sixteen times as many: a search for each free name would take 256 times as long.
    assert min(seconds(8000) for _ in range(2)) < 100 * min(seconds(500) for _ in range(3))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (untyped, "missing a required argument"),
        (lambda: untyped("a", nothing=1), "unexpected keyword"),
        (lambda: untyped(object()), "the argument text is a Python object"),
        (lambda: counted({"items": [{1, 2}]}), r"tree\['items'\]\[0\] is a Python set"),
        (lambda: workflow_of("text"), "no result of a step"),
        (lambda: untyped_run("text"), "no result of a step"),
        (lambda: untyped_step(retries=3), "unknown option 'retries'"),
        (lambda: step(int), "marks functions"),
        (lambda: untyped(endless()), "the argument text holds itself"),
    ],
)
def test_wrong_calls_are_told_where_they_are_made(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        call()


def test_a_wrong_option_is_told_where_it_is_written() -> None:
    with pytest.raises(ValueError, match="timeout"):

        @step(timeout=-1)
        def late() -> None: ...


def test_a_method_is_refused_with_what_to_do() -> None:
    class Author:
        @step
        def write(self) -> str:
            return "x"

    author: Any = Author()
    with pytest.raises(TypeError, match="mark a plain function"):
        author.write()


def test_a_promise_of_another_run_is_told_apart() -> None:
    done = run(article())
    with pytest.raises(LookupError, match="no part of this run"):
        done.output(article())


# ---------------------------------------------------------------------- any arguments


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.text(max_size=8)
    | st.sampled_from(["{{ x }}", "{%", "{", "{#"]),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=3), inside, max_size=3),
    max_leaves=8,
)


@step
def same(value: Any) -> Any:
    return value


@given(_VALUES)
@settings(max_examples=60, deadline=None)
def test_any_json_value_reaches_a_step_as_it_is(value: Any) -> None:
    result = same(same(value))
    assert run(result, backend="serial").output(result) == value


def test_the_examples_are_true() -> None:
    assert doctest.testmod(executor.front_end).failed == 0
