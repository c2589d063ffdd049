"""What a plan promises: worked examples of critical path, lower bound and workers."""

from __future__ import annotations

import pytest

from executor.dependencies import Graph, plan
from executor.model.workflow import Resource, Step, Workflow
from harness.report.terminal.plan_text import outlook_lines, plan_lines
from harness.scenario.forecast import forecast


def graph_of(*steps: Step, **resources: Resource) -> Graph:
    found = plan(Workflow(steps=steps), resources=resources)
    assert found.graph is not None, found.findings
    return found.graph


def step(step_id: str, seconds: float | None, *depends_on: str, **words: object) -> Step:
    return Step.model_validate(
        {"step_id": step_id, "tool": "noop", "expected_seconds": seconds, "depends_on": list(depends_on), **words}
    )


JOKE = (step("joke", 5.0), step("french", 3.0, "joke"), step("spanish", 3.0, "joke"))


def test_the_joke_takes_8_seconds_on_two_workers_and_11_on_one() -> None:
    two = forecast(graph_of(*JOKE), workers=2)
    assert (two.critical_path_amount, two.work_amount, two.lower_bound_amount) == (8.0, 11.0, 8.0)
    assert two.critical_path == [0, 1]
    assert two.sufficient_workers == 2
    one = forecast(graph_of(*JOKE), workers=1)
    assert one.lower_bound_amount == 11.0
    assert one.largest_term == "work on 1 worker"


def test_scale_multiplies_every_duration() -> None:
    assert forecast(graph_of(*JOKE), workers=2, scale=0.1).lower_bound_amount == pytest.approx(0.8)


def test_steps_that_meet_do_not_count_as_running_at_once() -> None:
    chain = [step("s0", 0.1), *(step(f"s{number}", 0.1, f"s{number - 1}") for number in range(1, 30))]
    assert forecast(graph_of(*chain), workers=8).sufficient_workers == 1


def test_a_capacity_can_set_the_lower_bound() -> None:
    steps = [step(f"call{number}", 2.0, needs={"llm": 1}) for number in range(6)]
    llm = Resource(capacity=2)
    found = forecast(graph_of(*steps, llm=llm), workers=8, resources={"llm": llm})
    assert found.lower_bound_amount == 6.0
    assert found.largest_term == "capacity of llm"


def test_a_rate_can_set_the_lower_bound() -> None:
    steps = [step(f"call{number}", 0.1, needs={"llm": 1}) for number in range(6)]
    llm = Resource(rate_per_minute=60, burst=2)
    found = forecast(graph_of(*steps, llm=llm), workers=8, resources={"llm": llm})
    assert found.lower_bound_amount == 4.0
    assert found.largest_term == "rate of llm"


def test_steps_that_share_a_state_are_one_after_the_other_on_the_critical_path() -> None:
    steps = [step(f"write{number}", 1.0, writes=["file"]) for number in range(3)]
    found = forecast(graph_of(*steps), workers=8)
    assert found.critical_path_amount == 3.0
    assert found.sufficient_workers == 1


def test_without_any_expected_seconds_everything_is_in_steps() -> None:
    graph = graph_of(step("a", None), step("b", None, "a"), step("c", None))
    found = forecast(graph, workers=2)
    assert not found.in_seconds
    assert found.critical_path_amount == 2
    shown = "\n".join(line.text for line in outlook_lines(graph, found))
    assert "2 steps" in shown


def test_steps_without_expected_seconds_are_counted_and_named_as_zero() -> None:
    found = forecast(graph_of(step("a", 1.0), step("b", None, "a")), workers=2)
    assert found.steps_unstated == 1
    assert found.critical_path_amount == 1.0


def test_a_chain_of_100_000_steps_is_no_trouble() -> None:
    count = 100_000
    chain = [step("s0", 1.0), *(step(f"s{number}", 1.0, f"s{number - 1}") for number in range(1, count))]
    graph = graph_of(*chain)
    found = forecast(graph, workers=8)
    assert found.critical_path_amount == count
    assert len(list(outlook_lines(graph, found))) < 40


def test_the_plan_is_shown_in_the_words_of_the_seed() -> None:
    workflow = Workflow(
        steps=(
            Step(step_id="joke", description="Write a joke", tool="noop"),
            Step(step_id="french", description="Translate to French", tool="noop", prompt="Translate\nto French"),
        )
    )
    assert [line.text for line in plan_lines(workflow)] == [
        "Workflow Plan (2 steps):",
        "  1. Write a joke",
        "  2. Translate to French",
        "     Node task: Translate to French",
    ]


def test_a_step_without_a_description_is_shown_by_its_id() -> None:
    assert "  1. joke" in [line.text for line in plan_lines(Workflow(steps=(Step(step_id="joke"),)))]


def test_known_inputs_are_filled_into_a_plan() -> None:
    prompt = "{{ inputs.count }} jokes about {{ inputs.topic }} for {{ inputs.reader }}, {{ inputs.topic | upper }}"
    workflow = Workflow(
        inputs={"topic": "cats", "count": 3, "reader": None}, steps=(Step(step_id="joke", tool="llm", prompt=prompt),)
    )
    task = [line.text for line in plan_lines(workflow)][-1]
    assert task == "     Node task: 3 jokes about cats for {{ inputs.reader }}, {{ inputs.topic | upper }}"


def test_a_plan_of_100_steps_is_elided() -> None:
    workflow = Workflow(steps=tuple(Step(step_id=f"s{number}") for number in range(100)))
    assert [line.text for line in plan_lines(workflow)][-1].startswith("  … and 70 more")


def test_a_long_plan_can_be_cut_and_says_so() -> None:
    workflow = Workflow(steps=tuple(Step(step_id=f"s{number}") for number in range(100)))
    lines = [line.text for line in plan_lines(workflow, steps_shown=3)]
    assert lines[0] == "Workflow Plan (100 steps):"
    assert lines[-1] == "  … and 97 more (all of them: makespan plan … --json FILE)"
    assert len(lines) == 5
