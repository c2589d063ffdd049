"""LangGraph's metadata: which node of the superstep before fired a trigger, and what that makes of the figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.traces import ForeignRun
from harness.traces.diagnosis.diagnosis import diagnose
from harness.traces.edges.framework_edges import _routed
from harness.traces.edges.kept_edges import edges_that_hold
from tests.unit.traces_by_hand import codes, edges_of, run_of, span, waits_of

DECLARED, INFERRED, ASSUMED = "declared", "inferred", "assumed"
OBSERVED = (ASSUMED, "observed order")


def langgraph(step: int, node: str, *triggers: str) -> dict[str, Any]:
    """What OpenInference writes of a node of LangGraph."""
    held = {
        "langgraph_step": step,
        "langgraph_node": node,
        "langgraph_triggers": list(triggers or [f"branch:to:{node}"]),
    }
    return {"metadata": json.dumps(held)}


def test_a_single_node_of_the_superstep_before_is_inferred_and_that_is_said() -> None:
    run = run_of(
        span("LangGraph", 0, 60),
        span("plan", 0, 10, "LangGraph", **langgraph(1, "plan")),
        span("one", 10, 20, "LangGraph", **langgraph(2, "one")),
        span("two", 10, 40, "LangGraph", **langgraph(2, "two")),
        span("both", 40, 50, "LangGraph", **langgraph(3, "both", "branch:to:both", "join:one+two:both")),
    )
    assert edges_of(run) == {
        ("plan", "one"): (INFERRED, "langgraph"),
        ("plan", "two"): (INFERRED, "langgraph"),
        ("one", "both"): (DECLARED, "langgraph"),
        ("two", "both"): (DECLARED, "langgraph"),
    }
    assert codes(run) == {"inferred_trigger": 2}


def test_of_several_nodes_before_each_is_assumed_where_nothing_tells_and_that_is_said() -> None:
    run = run_of(
        span("LangGraph", 0, 60),
        span("one", 0, 10, "LangGraph", **langgraph(1, "one")),
        span("two", 0, 40, "LangGraph", **langgraph(1, "two")),
        span("after one", 40, 50, "LangGraph", **langgraph(2, "after one")),
    )
    assert edges_of(run) == {
        ("one", "after one"): (ASSUMED, "langgraph"),
        ("two", "after one"): (ASSUMED, "langgraph"),
    }
    assert codes(run) == {"unnamed_trigger": 1}


@pytest.mark.parametrize("trigger", ["branch:one:condition:after one", "one", "join:one:after one"])
def test_a_trigger_that_names_its_node_shows_the_barrier(trigger: str) -> None:
    run = run_of(
        span("LangGraph", 0, 60),
        span("one", 0, 10, "LangGraph", **langgraph(1, "one")),
        span("two", 0, 40, "LangGraph", **langgraph(1, "two")),
        span("after one", 40, 50, "LangGraph", **langgraph(2, "after one", trigger)),
    )
    assert edges_of(run) == {("one", "after one"): (DECLARED, "langgraph")}
    assert waits_of(run, "after one") == [("barrier", 10, 40)]


def test_data_seen_to_flow_tells_which_node_a_trigger_was_from() -> None:
    state = '{"one": "the first answer, quite long", "two": "another answer altogether"}'
    run = run_of(
        span("LangGraph", 0, 60),
        span("one", 0, 10, "LangGraph", **langgraph(1, "one"), values={"output.value": "the first answer, quite long"}),
        span("two", 0, 40, "LangGraph", **langgraph(1, "two"), values={"output.value": "another answer altogether"}),
        span("after one", 40, 50, "LangGraph", **langgraph(2, "after one"), values={"input.value": state}),
        span(
            "chat", 41, 49, "after one",
            values={"llm.input_messages.0.message.content": "Use this: the first answer, quite long"},
        ),
    )  # fmt: skip
    assert edges_of(run) == {("one", "after one"): (INFERRED, "langgraph")}
    assert waits_of(run, "after one") == [("barrier", 10, 40)]


def test_the_state_that_langgraph_hands_to_every_node_does_not_tell_which_node_a_trigger_was_from() -> None:
    state = '{"one": "the first answer, quite long", "two": "another answer altogether"}'
    run = run_of(
        span("LangGraph", 0, 60),
        span("one", 0, 10, "LangGraph", **langgraph(1, "one"), values={"output.value": "the first answer, quite long"}),
        span("two", 0, 40, "LangGraph", **langgraph(1, "two"), values={"output.value": "another answer altogether"}),
        span("after", 40, 50, "LangGraph", **langgraph(2, "after"), values={"input.value": state}),
        span("prompt", 41, 42, "after", values={"input.value": state, "openinference.span.kind": "PROMPT"}),
    )  # fmt: skip
    assert edges_of(run) == {
        ("one", "after"): (ASSUMED, "langgraph"), ("two", "after"): (ASSUMED, "langgraph"),
    }  # fmt: skip


def test_the_user_settles_which_node_a_trigger_was_from_both_ways(tmp_path: Path) -> None:
    spans = [
        span("LangGraph", 0, 60), span("one", 0, 10, "LangGraph", **langgraph(1, "one")),
        span("two", 0, 40, "LangGraph", **langgraph(1, "two")),
        span("after", 40, 50, "LangGraph", **langgraph(2, "after")),
    ]  # fmt: skip
    (tmp_path / "needed.txt").write_text("one -> after\n")
    assert edges_of(run_of(*spans, edges_file=tmp_path / "needed.txt")) == {
        ("one", "after"): (DECLARED, "edges file")
    }  # fmt: skip
    (tmp_path / "denied.txt").write_text("two -/> after\n")
    assert edges_of(run_of(*spans, edges_file=tmp_path / "denied.txt")) == {("one", "after"): (INFERRED, "langgraph")}


def test_what_a_node_calls_is_no_node_though_it_bears_the_nodes_metadata() -> None:
    run = run_of(
        span("LangGraph", 0, 60),
        span("one", 0, 10, "LangGraph", **langgraph(1, "one")),
        span("chat", 1, 9, "one", **langgraph(1, "one")),
        span("two", 10, 20, "LangGraph", **langgraph(2, "two")),
        span("chat", 11, 19, "two", key="chat 2", **langgraph(2, "two")),
    )
    assert edges_of(run) == {("one", "two"): (INFERRED, "langgraph")}


def test_a_loop_of_langgraph_is_a_chain() -> None:
    run = run_of(
        span("LangGraph", 0, 60),
        *[
            span(name, n * 10, n * 10 + 10, "LangGraph", key=str(n), **langgraph(n + 1, name))
            for n, name in enumerate(["agent", "tools", "agent", "tools"])
        ],
    )
    assert set(edges_of(run)) == {("agent", "tools"), ("tools", "agent#2"), ("agent#2", "tools#2")}


def test_openllmetrys_flat_attributes_say_the_same() -> None:
    def flat(step: int, node: str) -> dict[str, Any]:
        before = "traceloop.association.properties.langgraph_"
        return {f"{before}step": step, f"{before}node": node, f"{before}triggers": f"['branch:to:{node}']"}

    run = run_of(
        span("LangGraph.workflow", 0, 60),
        span("one.task", 0, 10, "LangGraph.workflow", values=flat(1, "one")),
        span("two.task", 10, 20, "LangGraph.workflow", values=flat(2, "two")),
    )
    assert edges_of(run) == {("one.task", "two.task"): (INFERRED, "langgraph")}


@pytest.mark.parametrize(
    "metadata", ["{broken langgraph_step", '{"langgraph_step": "x"}', "[" * 50_000 + "langgraph_step", 7]
)
def test_metadata_that_makes_no_sense_is_no_metadata(metadata: Any) -> None:
    run = run_of(span("run", 0, 30), span("a", 0, 10, "run", metadata=metadata), span("b", 10, 20, "run"))
    assert edges_of(run) == {("a", "b"): OBSERVED}


# ---------------------------------------------------------------------- where a node said to go next


def fan_out(*more: dict[str, Any], after: str = "after", **outputs: Any) -> ForeignRun:
    """``one`` and ``two`` in one superstep, then ``after``. ``outputs``: what these two put out."""
    return run_of(
        span("LangGraph", 0, 60),
        span("one", 0, 10, "LangGraph", **langgraph(1, "one"), values=outputs.get("one", {})),
        span("two", 0, 40, "LangGraph", **langgraph(1, "two"), values=outputs.get("two", {})),
        span(after, 40, 50, "LangGraph", **langgraph(2, after)),
        *more,
    )


def router(value: str, *, node: str = "one", key: str = "output.value", name: str = "route") -> dict[str, Any]:
    return span(name, 8, 9, node, **langgraph(1, node), values={key: value})


@pytest.mark.parametrize(
    "value",
    [
        "after",
        '"after"',
        '["other", "after"]',
        "[\"Send(node='after', arg={'log': ['x']})\"]",
        '[{"node": "after", "arg": {}}]',
    ],
)
def test_a_routing_function_that_names_the_node_tells_who_sent_it(value: str) -> None:
    run = fan_out(router(value))
    assert edges_of(run) == {("one", "after"): (INFERRED, "langgraph")}
    assert codes(run) == {"inferred_trigger": 1}
    assert waits_of(run, "after") == [("barrier", 10, 40)]


def test_openllmetry_writes_the_route_into_an_attribute_of_its_own() -> None:
    run = fan_out(router('{"outputs": "after", "kwargs": {}}', key="traceloop.entity.output"))
    assert edges_of(run) == {("one", "after"): (INFERRED, "langgraph")}


@pytest.mark.parametrize(
    "output",
    [
        '{"graph": null, "update": {"log": ["x"]}, "resume": null, "goto": "after"}',
        '{"goto": ["after", "elsewhere"]}',
        '[{"goto": "after"}, {"goto": "elsewhere"}]',
        "Command(update={'log': ['x']}, goto='after')",
    ],
)
def test_a_command_that_goes_to_the_node_tells_who_sent_it(output: str) -> None:
    run = fan_out(one={"output.value": output})
    assert edges_of(run) == {("one", "after"): (INFERRED, "langgraph")}


def test_both_nodes_that_sent_it_are_inferred() -> None:
    run = fan_out(router("after"), router("after", node="two", name="route 2"))
    found = {pair: label for pair, (label, _) in edges_of(run).items() if pair[1] == "after"}
    assert found == {("one", "after"): INFERRED, ("two", "after"): INFERRED}


@pytest.mark.parametrize(
    "more",
    [
        router("elsewhere"),
        router("__end__"),
        router('{"state": "after"}'),
        router('{"goto'),
        router("[" * 60_000),
        span("chat", 8, 9, "one", values={"output.value": "after"}),  # no routing function: it is not the node's own
    ],
)
def test_what_names_another_node_or_none_settles_nothing(more: dict[str, Any]) -> None:
    run = fan_out(more)
    assert edges_of(run)["one", "after"] == edges_of(run)["two", "after"] == (ASSUMED, "langgraph")
    assert codes(run) == {"unnamed_trigger": 1}


def test_a_route_that_is_nested_without_end_names_nobody() -> None:
    route: Any = "after"
    for _ in range(3_000):
        route = {"goto": route}
    assert list(_routed(route)) == []


def test_a_route_to_a_node_of_a_later_superstep_is_not_taken_for_one_before_it() -> None:
    run = run_of(
        span("LangGraph", 0, 60),
        span("one", 0, 10, "LangGraph", **langgraph(1, "one")),
        router("after"),
        span("two", 10, 20, "LangGraph", **langgraph(2, "two")),
        span("three", 10, 40, "LangGraph", **langgraph(2, "three")),
        span("after", 40, 50, "LangGraph", **langgraph(3, "after")),
    )
    assert {pair for pair in edges_of(run) if pair[1] == "after"} == {("two", "after"), ("three", "after")}
    assert edges_of(run)["two", "after"] == (ASSUMED, "langgraph")


# ---------------------------------------------------------------------- supersteps, joins


def test_after_a_superstep_that_the_trace_lacks_even_a_single_node_is_assumed() -> None:
    run = run_of(
        span("LangGraph", 0, 60),
        span("one", 0, 10, "LangGraph", **langgraph(1, "one")),
        span("three", 20, 30, "LangGraph", **langgraph(3, "three")),
    )
    assert edges_of(run) == {("one", "three"): (ASSUMED, "langgraph")}
    assert codes(run) == {"unnamed_trigger": 1}


def test_a_join_of_which_a_source_never_ran_has_not_fired() -> None:
    run = run_of(
        span("LangGraph", 0, 60),
        span("one", 0, 10, "LangGraph", **langgraph(1, "one")),
        span("two", 0, 20, "LangGraph", **langgraph(1, "two")),
        router("after", node="two"),
        span("after", 20, 30, "LangGraph", **langgraph(2, "after", "branch:to:after", "join:one+three:after")),
    )
    assert edges_of(run) == {("two", "after"): (INFERRED, "langgraph")}


# ---------------------------------------------------------------------- what rests on it


def test_a_file_of_edges_settles_which_node_it_was(tmp_path: Path) -> None:
    (tmp_path / "edges.txt").write_text("one -> after\n", encoding="utf-8")
    spans = (
        span("LangGraph", 0, 60),
        span("one", 0, 10, "LangGraph", **langgraph(1, "one")),
        span("two", 0, 40, "LangGraph", **langgraph(1, "two")),
        span("after", 40, 50, "LangGraph", **langgraph(2, "after")),
    )
    run = run_of(*spans, edges_file=tmp_path / "edges.txt")
    assert edges_of(run) == {("one", "after"): (DECLARED, "edges file")}
    assert codes(run) == {}


def test_of_several_assumed_nodes_one_is_real_so_no_prediction_begins_before_the_first_of_them_ended() -> None:
    run = fan_out()
    names = run.timeline.step_ids
    assert [(names[edge.before], names[edge.after]) for edge in edges_that_hold(run)] == [("one", "after")]
    found = diagnose(run)
    unlimited = found.predictions.by_workers["unlimited"]
    # Of these 10 ms between the last node and the end of the graph belong to no node.
    assert unlimited.makespan_seconds == 0.06
    assert unlimited.without_assumed_seconds == 0.05


def test_no_advice_runs_a_node_beside_all_that_could_have_sent_it() -> None:
    found = diagnose(fan_out())
    advised = {tuple(found.name(step) for step in one.steps): one.assumed for one in (*found.together, *found.pairs)}
    assert advised == {("two", "after"): True}
    (barrier,) = found.barriers
    assert (found.name(barrier.slowest), barrier.certain, barrier.lost_seconds) == ("two", False, 0.03)
