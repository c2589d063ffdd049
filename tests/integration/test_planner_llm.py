"""Plans by a model: what it may write, how faults go back to it, and steps that start before the plan is whole."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from executor.engine.engine import Engine
from executor.engine.instruments import Instrument
from executor.feed import Arrivals
from executor.model.findings import WorkflowError
from harness.config import Config, LanguageModel, load_config
from harness.execution import Execution, execute
from harness.planner import LivePlan, Planned, plan_task
from harness.planner.accepting import PLAN_STEPS_LIMIT
from harness.standin import StandIn
from harness.standin.chat_request import ChatRequest

TASK = "write a joke and translate it"


def step(name: str, *parents: str, tool: str = "content_generator", **more: Any) -> dict[str, Any]:
    prompt = " ".join(["do", name, *("{{ steps." + parent + ".output }}" for parent in parents)])
    return {"step_id": name, "description": f"Do {name}", "tool": tool, "prompt": prompt,
            "depends_on": list(parents), **more}  # fmt: skip


def written(*steps: dict[str, Any]) -> str:
    return json.dumps({"steps": steps})


class Script:
    """Answers in order, the last one again and again; keeps what was asked."""

    def __init__(self, answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[ChatRequest] = []

    def __call__(self, request: ChatRequest) -> str | None:
        if request.response_format is None:
            return None  # a step of the plan, not the planner
        self.asked.append(request)
        return self.answers[min(len(self.asked), len(self.answers)) - 1]


@contextmanager
def model_that_says(*answers: str, scale: float = 0.0) -> Iterator[tuple[Config, Script]]:
    script = Script(answers)
    with StandIn(script=script, scale=scale) as standin:
        llm = LanguageModel(base_url=standin.base_url, model="planner-model")
        yield load_config().model_copy(update={"llm": llm}), script


def planned_by(*answers: str) -> tuple[Planned, Script]:
    with model_that_says(*answers) as (config, script):
        return plan_task(TASK, config=config, planner="llm"), script


def refused(*answers: str) -> tuple[list[str], str, Script]:
    """Codes and text of the refusal."""
    with model_that_says(*answers) as (config, script), pytest.raises(WorkflowError) as caught:
        plan_task(TASK, config=config, planner="llm")
    return [finding.code for finding in caught.value.findings], str(caught.value), script


# ---------------------------------------------------------------------- what a model may write


def test_a_plan_is_taken_as_written_and_groups_are_made_of_its_levels() -> None:
    planned, script = planned_by(written(step("a"), step("b", "a"), step("c", "a")))
    assert [(one.step_id, one.depends_on, one.parallel_group) for one in planned.steps] == [
        ("a", (), None),
        ("b", ("a",), 1),
        ("c", ("a",), 1),
    ]
    assert planned.findings == ()
    (request,) = script.asked
    assert request.response_format is not None
    assert request.response_format["type"] == "json_schema"
    assert TASK in request.prompt
    assert "nmt_translator" in request.system


def test_a_dependency_that_stands_only_in_the_prompt_is_found() -> None:
    planned, _ = planned_by(written(step("a"), {**step("b", "a"), "depends_on": []}))
    assert planned.steps[1].depends_on == ("a",)


def test_steps_may_come_before_those_that_they_depend_on() -> None:
    planned, script = planned_by(written(step("b", "a"), step("a")))
    assert [one.step_id for one in planned.steps] == ["a", "b"]
    assert len(script.asked) == 1


@pytest.mark.parametrize("around", ["```json\n{}\n```", "Sure! Here is the plan:\n{}", "{}\nI hope this helps {{:}}"])
def test_what_models_write_around_their_json_is_passed_over(around: str) -> None:
    planned, script = planned_by(around.replace("{}", written(step("a", description='a "{" brace')), 1))
    assert [one.step_id for one in planned.steps] == ["a"]
    assert len(script.asked) == 1


# ---------------------------------------------------------------------- faults go back


FAULTS: dict[str, tuple[str, str]] = {
    "broken JSON": ('{"steps": [{"step_id": "a", "tool" ', "JSON"),
    "a plan that breaks off": (written(step("a"))[:-1], "breaks off"),
    "no JSON at all": ("I cannot do that.", "no JSON object"),
    "no steps": ('{"steps": []}', "no steps"),
    "another shape": ('{"plan": ["write", "translate"]}', "no steps"),
    "a step that is no object": ('{"steps": ["write a joke"]}', "is no object"),
    "a cycle": (written(step("a", "b"), step("b", "a")), "wait for each other"),
    "a step that waits for itself": (written(step("a", "a")), "a"),
    "an unknown dependency": (written(step("b", "nobody")), "nobody"),
    "two steps of one name": (written(step("a"), step("a")), "two steps 'a'"),
    "an unknown tool": (written(step("a", tool="make_coffee")), "make_coffee"),
    "a program": (written(step("a", tool="command", args={"argv": ["rm", "-rf", "/"]})), "no tool 'command'"),
    "a function of this machine": (written(step("a", tool="os:system")), "no tool 'os:system'"),
    "a broken template": (written(step("a", prompt="{{ steps.")), "template"),
    "a field of the wrong type": (written({**step("a"), "depends_on": "b"}), "depends_on"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_to_the_model_which_may_repair_it(fault: str) -> None:
    answer, words = FAULTS[fault]
    planned, script = planned_by(answer, written(step("good")))
    assert [one.step_id for one in planned.steps] == ["good"]
    assert len(script.asked) == 2
    assert words in script.asked[1].prompt
    assert script.asked[1].messages[:2] == script.asked[0].messages


@pytest.mark.parametrize("fault", FAULTS)
def test_three_faulty_answers_are_a_clear_failure(fault: str) -> None:
    answer, words = FAULTS[fault]
    codes, text, script = refused(answer)
    assert codes[0] == "no-plan"
    assert "--planner rules" in text
    assert words in text
    assert len(script.asked) == 3


def test_a_plan_of_ten_thousand_steps_is_not_taken() -> None:
    codes, text, script = refused(written(*(step(f"s{number}") for number in range(10_000))))
    assert codes[0] == "no-plan"
    assert f"more than {PLAN_STEPS_LIMIT} steps" in text
    assert len(script.asked) == 3


def test_an_endpoint_that_is_not_there_is_named() -> None:
    llm = LanguageModel(base_url="http://127.0.0.1:9/v1", model="m", api_key=SecretStr("sk-secret-key"))
    config = load_config().model_copy(update={"llm": llm})
    with pytest.raises(WorkflowError) as caught:
        plan_task(TASK, config=config, planner="llm")
    assert [finding.code for finding in caught.value.findings] == ["no-answer"]
    assert "http://127.0.0.1:9/v1/chat/completions" in str(caught.value)
    assert "sk-secret-key" not in str(caught.value)


def test_without_an_endpoint_the_stand_in_plans_and_says_so() -> None:
    planned = plan_task("write a joke and translate to french and spanish", config=load_config(), planner="llm")
    assert [one.description for one in planned.steps] == ["Write a joke", "Translate to French", "Translate to Spanish"]
    assert [finding.code for finding in planned.findings] == ["stand-in-plans"]


# ---------------------------------------------------------------------- while it is written


def run_live(*answers: str) -> tuple[Execution, LivePlan, Script]:
    with model_that_says(*answers) as (config, script), LivePlan(TASK, config) as live:
        execution = execute(live.loaded, llm=config.llm, feed=live)
        live.finish()
        return execution, live, script


class Begun(Instrument):
    """Signals when the run's clock goes."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def run_started(self, engine: Engine) -> None:
        self.event.set()


@pytest.mark.parametrize("executor", ["serial", "threads", "asyncio", "processes"])
def test_a_plan_runs_while_it_is_written(executor: str) -> None:
    steps = [step("s1"), step("s2", "s1"), step("s3", "s1"), step("s4", "s2", "s3")]
    begun = Begun()
    with model_that_says(written(*steps)) as (config, _), LivePlan(TASK, config) as live:

        def late(arrivals: Arrivals) -> None:
            assert begun.event.wait(30)
            time.sleep(0.05)  # of the run's own time, in which no step is there
            live(arrivals)

        execution = execute(live.loaded, executor=executor, llm=config.llm, feed=late, instruments=[begun])
        live.finish()
    assert execution.run.ok
    assert set(execution.run.statuses) == {"s1", "s2", "s3", "s4"}
    assert live.loaded.graph.data_parents == [(), (0,), (0,), (1, 2)]
    assert [one.parallel_group for one in live.loaded.workflow.steps] == [None, 1, 1, None]
    lost = execution.result()["lost_seconds"]
    assert "arrival" in lost
    assert sum(lost.values()) == pytest.approx(execution.run.timeline.makespan_seconds, abs=1e-8)


def test_a_repair_goes_on_behind_the_steps_that_run_already() -> None:
    broken = written(step("a"), step("b", "nobody"))
    execution, _, script = run_live(broken, written(step("b", "a")))
    assert execution.run.statuses == {"a": "succeeded", "b": "succeeded"}
    assert "The steps a are accepted and run already" in script.asked[1].prompt


def test_a_plan_that_fails_half_way_keeps_what_was_finished_and_says_so() -> None:
    execution, live, script = run_live(written(step("a"), step("b", "nobody")), written(step("b", "nobody")))
    assert execution.run.statuses["a"] in ("succeeded", "cancelled")
    assert live.writing.error is not None
    assert live.writing.error.findings[0].code == "no-plan"
    assert len(script.asked) == 3


def test_a_plan_without_end_is_cut_off_though_its_first_steps_run() -> None:
    execution, live, script = run_live(written(*(step(f"s{number}") for number in range(10_000))))
    assert live.writing.error is not None
    assert f"more than {PLAN_STEPS_LIMIT} steps" in str(live.writing.error)
    assert len(execution.run.statuses) == PLAN_STEPS_LIMIT
    assert len(script.asked) == 1


def test_a_plan_of_which_no_step_is_accepted_has_nothing_to_show() -> None:
    with model_that_says("no") as (config, _), LivePlan(TASK, config) as live:
        execute(live.loaded, llm=config.llm, feed=live)
        with pytest.raises(WorkflowError, match="no plan"):
            live.finish()


def test_an_interrupted_run_does_not_wait_for_the_rest_of_the_plan() -> None:
    steps = [step(f"s{number}") for number in range(40)]
    # At this scale the plan alone would take minutes.
    with model_that_says(written(*steps), scale=20.0) as (config, _), LivePlan(TASK, config) as live:

        def feed(arrivals: Arrivals) -> None:
            threading.Timer(0.5, arrivals.cancel).start()
            live(arrivals)

        begin = time.monotonic()
        execution = execute(live.loaded, llm=config.llm, feed=feed)
        assert time.monotonic() - begin < 20
        assert "succeeded" not in execution.run.statuses.values()
