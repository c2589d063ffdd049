"""A golden trace for each source of edges, the order in which they are believed, and what contradicts them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from harness.analysis import summary
from harness.traces import TraceError
from harness.traces.edges.lineage import Lineage
from tests.unit.traces_by_hand import codes, edges_of, run_of, span

DECLARED, INFERRED, ASSUMED = "declared", "inferred", "assumed"
OBSERVED = (ASSUMED, "observed order")


# ---------------------------------------------------------------------- links and our own attributes


def test_links_are_declared_edges() -> None:
    run = run_of(
        span("run", 0, 40),
        span("a", 0, 10, "run"),
        span("b", 10, 20, "run"),
        span("c", 20, 30, "run", links=("a", "b")),
    )
    assert edges_of(run) == {("a", "c"): (DECLARED, "links"), ("b", "c"): (DECLARED, "links")}


def test_our_own_attributes_are_declared_edges_also_in_a_trace_of_others() -> None:
    run = run_of(
        span("handler", 0, 40),
        span("execute_tool x", 0, 10, "handler", key="1", values={"makespan.step.id": "a"}),
        span("execute_tool x", 10, 20, "handler", key="2", values={"makespan.step.id": "b"}),
        span(
            "execute_tool x", 20, 30, "handler", key="3",
            values={"makespan.step.id": "c", "makespan.step.depends_on": ["a"], "makespan.step.order_after": ["gone"]},
        ),
    )  # fmt: skip
    assert edges_of(run) == {("a", "c"): (DECLARED, "makespan")}
    assert codes(run) == {"unknown_dependency": 1}


def test_a_link_to_the_attempt_before_is_no_edge() -> None:
    link = {"spanId": "1", "attributes": [{"key": "makespan.link.type", "value": {"stringValue": "retry_of"}}]}
    run = run_of(
        {**span("a", 0, 10), "spanId": "1"}, {**span("b", 10, 20), "links": [link]}, span("c", 30, 40, links=("b",))
    )
    assert edges_of(run) == {("b", "c"): (DECLARED, "links")}


def test_links_to_what_is_not_there_are_counted() -> None:
    other = {**span("c", 20, 30)}
    other["links"] = [{"traceId": "ab" * 16, "spanId": "cd" * 8}]
    run = run_of(span("a", 0, 10), span("b", 10, 20, links=("gone", "gone too")), other)
    assert codes(run)["dangling_link"] == 2
    assert codes(run)["link_to_other_trace"] == 1


def test_a_cycle_of_links_is_cut_where_the_times_contradict_it() -> None:
    run = run_of(span("a", 0, 10, links=("c",)), span("b", 10, 20, links=("a",)), span("c", 20, 30, links=("b",)))
    assert edges_of(run) == {("a", "b"): (DECLARED, "links"), ("b", "c"): (DECLARED, "links")}
    assert codes(run)["contradicted_edge"] == 1


def test_a_link_to_a_span_that_still_ran_is_no_dependency() -> None:
    run = run_of(span("a", 0, 10), span("b", 5, 20, links=("a",)))
    assert edges_of(run) == {}
    assert codes(run)["contradicted_edge"] == 1


def test_a_link_to_its_own_parent_is_no_edge() -> None:
    run = run_of(span("x", 0, 50), span("y", 0, 60), span("a", 0, 10, "x", links=("x", "a")))
    assert edges_of(run) == {}


# ---------------------------------------------------------------------- OpenInference


def test_graph_node_parents_are_declared_edges() -> None:
    def node(name: str, parent: str | None = None) -> dict[str, Any]:
        return {"graph.node.id": name, **({} if parent is None else {"graph.node.parent_id": parent})}

    run = run_of(
        span("crew", 0, 60),
        span("a", 0, 10, "crew", values=node("A")),
        span("b", 10, 20, "crew", values=node("B", "A")),
        span("c", 20, 30, "crew", values=node("C", "A")),
    )
    assert edges_of(run) == {("a", "b"): (DECLARED, "graph.node"), ("a", "c"): (DECLARED, "graph.node")}


# ---------------------------------------------------------------------- a file

SERIAL = (span("run", 0, 40), span("a", 0, 10, "run"), span("b", 10, 20, "run"), span("c", 20, 30, "run"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("edges.txt", "# mine\na -> c\n\nb → c  # both\n"),
        ("edges.yaml", "c: [a, b]\n"),
        ("edges.json", '{"c": ["a", "b"]}'),
    ],
)
def test_a_file_of_edges_declares_them(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    run = run_of(*SERIAL, edges_file=tmp_path / name)
    assert edges_of(run) == {("a", "c"): (DECLARED, "edges file"), ("b", "c"): (DECLARED, "edges file")}


def test_a_name_that_recurs_means_those_since_the_last_time(tmp_path: Path) -> None:
    (tmp_path / "edges.txt").write_text("work -> reduce\nreduce -> work\n")
    spans = [span("run", 0, 100)]
    for turn in range(2):
        spans += [span("work", turn * 40, turn * 40 + 10 + n, "run", key=f"w{turn}{n}") for n in range(2)]
        spans.append(span("reduce", turn * 40 + 20, turn * 40 + 30, "run", key=f"r{turn}"))
    assert set(edges_of(run_of(*spans, edges_file=tmp_path / "edges.txt"))) == {
        ("work", "reduce"), ("work#2", "reduce"), ("reduce", "work#3"), ("reduce", "work#4"),
        ("work#3", "reduce#2"), ("work#4", "reduce#2"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("e.txt", "a -> cc", "did you mean"),
        ("e.txt", "a, c", "e.txt:1: is no edge"),
        ("e.txt", "a ->", "is no edge"),
        ("e.json", "[1]", "mapping"),
        ("e.json", '{"c": [1]}', "must list names"),
        ("e.yaml", "{", "e.yaml"),
    ],
)
def test_a_bad_file_of_edges_is_refused(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(TraceError, match=said):
        run_of(*SERIAL, edges_file=tmp_path / name)


def test_a_file_of_edges_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="cannot be read"):
        run_of(*SERIAL, edges_file=tmp_path / "none.txt")


def test_what_the_user_says_is_needed_wins_over_what_is_inferred(tmp_path: Path) -> None:
    (tmp_path / "edges.txt").write_text("a -> c\n")
    put_out, given = {"output.value": "cats are liquid"}, {"input.value": "cats are liquid"}
    run = run_of(
        span("run", 0, 60), span("a", 0, 10, "run"), span("b", 10, 20, "run", values=put_out),
        span("c", 20, 30, "run", values=given), edges_file=tmp_path / "edges.txt",
    )  # fmt: skip
    assert edges_of(run) == {("a", "c"): (DECLARED, "edges file"), ("a", "b"): OBSERVED}


@pytest.mark.parametrize(
    ("name", "text"), [("edges.txt", "b -/> c"), ("edges.yaml", 'c: ["-/> b"]'), ("edges.json", '{"c": ["-/> b"]}')]
)
def test_what_the_user_denies_is_no_edge_and_what_came_before_it_takes_its_place(
    tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    run = run_of(*SERIAL, edges_file=tmp_path / name)
    assert edges_of(run) == {("a", "b"): OBSERVED, ("a", "c"): OBSERVED}


def test_the_user_denies_what_the_trace_declares_and_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "edges.txt").write_text("a -/> b\n")
    run = run_of(
        span("run", 0, 60), span("a", 0, 10, "run"), span("b", 10, 20, "run", links=("a",)),
        edges_file=tmp_path / "edges.txt",
    )  # fmt: skip
    assert edges_of(run) == {}
    assert codes(run)["overruled_edge"] == 1


def test_names_that_many_bear_are_joined_in_proportion(tmp_path: Path) -> None:
    (tmp_path / "edges.txt").write_text("work -> reduce\nwork -/> other\n")
    spans = [span("run", 0, 100)]
    spans += [span("work", n / 200, n / 200 + 0.001, "run", key=f"w{n}") for n in range(2000)]
    spans += [span("reduce", 20 + n / 200, 20 + n / 200 + 0.001, "run", key=f"r{n}") for n in range(2000)]
    spans += [span("other", 40 + n / 200, 40 + n / 200 + 0.001, "run", key=f"o{n}") for n in range(2000)]
    assert len(run_of(*spans, edges_file=tmp_path / "edges.txt").edges) <= 6000 * 32


# ---------------------------------------------------------------------- data


def in_a_row(*given: dict[str, str], **more: Any) -> dict[tuple[str, str], tuple[str, str]]:
    """The edges of steps s0, s1, … that put out a text each, and were given this."""
    spans = [span("run", 0, 100, values={"input.value": json.dumps({"task": "plan a journey"})})]
    for place, members in enumerate(given):
        words = {"input.value": json.dumps({"task": "plan a journey", **members}), "output.value": finding(place)}
        spans.append(span(f"s{place}", place * 10, place * 10 + 9, "run", values={**words, **more}))
    return {pair: found for pair, found in edges_of(run_of(*spans)).items() if found[0] != ASSUMED}


def finding(place: int) -> str:
    return f"finding {place:04d} of the inquiry"


def test_a_state_that_is_handed_to_everybody_is_no_evidence_of_an_edge() -> None:
    assert in_a_row({}, {"s0": finding(0)}, {"s0": finding(0), "s1": finding(1)}) == {}


def test_where_something_is_left_out_what_is_given_was_chosen() -> None:
    assert in_a_row({}, {"s0": finding(0)}, {"s1": finding(1)}) == {
        ("s0", "s1"): (INFERRED, "data flow"), ("s1", "s2"): (INFERRED, "data flow"),
    }  # fmt: skip


def test_what_a_model_is_given_is_used_however_much_it_is() -> None:
    spans = [span("run", 0, 100, values={"input.value": "plan a journey"})]
    said: list[str] = []
    for place in range(3):
        asked = {f"llm.input_messages.{n}.message.content": text for n, text in enumerate(["plan a journey", *said])}
        words = {**asked, "llm.output_messages.0.message.content": finding(place)}
        spans.append(span(f"s{place}", place * 10, place * 10 + 9, "run", values=words))
        said.append(finding(place))
    found = edges_of(run_of(*spans))
    assert found["s0", "s1"] == found["s1", "s2"] == (INFERRED, "data flow")


def flowing(*, output: str, given: str, own: str = "", outside: str = "") -> dict[tuple[str, str], tuple[str, str]]:
    return edges_of(
        run_of(
            span("run", 0, 60, values={"input.value": outside}),
            span("a", 0, 10, "run", values={"input.value": own, "output.value": output}),
            span("between", 10, 20, "run"),
            span("b", 20, 30, "run", values={"input.value": given}),
        )
    )


@pytest.mark.parametrize(
    ("output", "given"),
    [
        ("cats are liquid", "Translate: cats are liquid!"),
        ('{"joke": "cats are liquid"}', "Translate: cats are liquid!"),
        ('{"joke": "cats are liquid"}', '{"messages": [{"role": "user", "content": "cats are liquid"}]}'),
        ("  cats are\n  liquid\n", "so:   cats are\n  liquid"),
    ],
)
def test_an_output_that_recurs_in_an_input_is_an_inferred_edge(output: str, given: str) -> None:
    assert flowing(output=output, given=given)[("a", "b")] == (INFERRED, "data flow")


@pytest.mark.parametrize(
    ("output", "given", "own", "outside"),
    [
        ("yes", "yes or no", "", ""),
        ("12345678", "1 2 3", "", ""),
        ("cats are liquid", "dogs are solid", "", ""),
        ("cats are liquid", "cats are liquid", "say: cats are liquid", ""),
        ("cats are liquid", "cats are liquid", "", "prove that cats are liquid"),
        ('{"cats are liquid": 1}', "cats are liquid", "", ""),
    ],
)
def test_what_was_short_or_known_before_proves_nothing(output: str, given: str, own: str, outside: str) -> None:
    found = flowing(output=output, given=given, own=own, outside=outside)
    assert INFERRED not in {label for label, _ in found.values()}


def test_what_flows_beside_is_still_only_assumed() -> None:
    found = flowing(output="cats are liquid", given="cats are liquid")
    assert found[("a", "between")] == OBSERVED
    assert found[("between", "b")] == OBSERVED


def test_data_that_is_given_before_it_is_put_out_does_not_flow() -> None:
    run = run_of(
        span("run", 0, 60), span("a", 0, 30, "run", values={"output.value": "cats are liquid"}),
        span("b", 20, 40, "run", values={"input.value": "cats are liquid"}),
    )  # fmt: skip
    assert edges_of(run) == {}


@pytest.mark.parametrize(
    ("produced", "consumed"),
    [
        ("gen_ai.output.messages", "gen_ai.input.messages"),
        ("traceloop.entity.output", "traceloop.entity.input"),
        ("gen_ai.completion.0.content", "gen_ai.prompt.1.content"),
        ("llm.output_messages.0.message.content", "llm.input_messages.3.message.content"),
        ("gen_ai.tool.call.result", "gen_ai.tool.call.arguments"),
    ],
)
def test_every_convention_of_contents_is_known(produced: str, consumed: str) -> None:
    run = run_of(
        span("run", 0, 60), span("a", 0, 10, "run", values={produced: "cats are liquid"}),
        span("b", 20, 40, "run", values={consumed: "about: cats are liquid"}),
    )  # fmt: skip
    assert edges_of(run) == {("a", "b"): (INFERRED, "data flow")}


# ---------------------------------------------------------------------- the observed order


def test_the_observed_order_is_assumed_and_names_only_those_just_before() -> None:
    run = run_of(
        span("run", 0, 60), span("a", 0, 10, "run"), span("b1", 10, 20, "run"), span("b2", 10, 30, "run"),
        span("c", 30, 40, "run"), span("d", 40, 50, "run"),
    )  # fmt: skip
    assert edges_of(run) == {
        ("a", "b1"): OBSERVED, ("a", "b2"): OBSERVED, ("b1", "c"): OBSERVED, ("b2", "c"): OBSERVED,
        ("c", "d"): OBSERVED,
    }  # fmt: skip


def test_exact_ties_are_one_after_the_other() -> None:
    run = run_of(span("run", 0, 60), span("a", 0, 10, "run"), span("b", 10, 20, "run"))
    assert edges_of(run) == {("a", "b"): OBSERVED}


def test_spans_of_no_length_stand_in_the_observed_order_too() -> None:
    run = run_of(
        span("run", 0, 60), span("a", 0, 10, "run"), span("mark", 10, 10, "run"), span("mark 2", 10, 10, "run"),
        span("b", 10, 20, "run"), span("alone", 30, 30, "run"), span("c", 40, 50, "run"),
    )  # fmt: skip
    assert edges_of(run) == {
        ("a", "mark"): OBSERVED, ("mark", "mark 2"): OBSERVED, ("mark 2", "b"): OBSERVED, ("b", "alone"): OBSERVED,
        ("alone", "c"): OBSERVED,
    }  # fmt: skip


def test_times_that_were_cut_to_microseconds_keep_their_order() -> None:
    run = run_of(span("run", 0, 60), span("a", 0, 10.0009, "run"), span("b", 10, 20, "run"), span("c", 30, 40, "run"))
    assert edges_of(run) == {("a", "b"): OBSERVED, ("b", "c"): OBSERVED}


def reduced(times: list[tuple[int, int]]) -> set[tuple[int, int]]:
    """The transitive reduction of the interval order, by looking at every triple."""
    steps = range(len(times))
    before = {(a, b) for a in steps for b in steps if a < b and times[a][1] <= times[b][0]}
    return {(a, b) for a, b in before if not any((a, c) in before and (c, b) in before for c in steps)}


def test_the_observed_order_is_the_transitive_reduction_of_the_interval_order() -> None:
    for seed in range(400):
        chance = random.Random(seed)
        begins = [chance.randint(0, 20) for _ in range(chance.randint(1, 12))]
        times = sorted((begin, begin + chance.choice([0, 0, 1, 3, 8])) for begin in begins)
        run = run_of(span("run", 0, 99), *[span(f"s{n:02d}", *pair, "run") for n, pair in enumerate(times)])
        order = [run.timeline.step_ids.index(f"s{n:02d}") for n in range(len(times))]
        if len(times) > 1:
            assert order == list(range(len(times)))
            assert {(one.before, one.after) for one in run.edges} == reduced(times), (seed, times)


def test_the_observed_path_is_as_long_as_the_run() -> None:
    run = run_of(*SERIAL)
    assert summary(run.timeline, foreign=True).critical_path_seconds == 0.030


def test_the_edges_of_many_side_by_side_stay_linear() -> None:
    stage = [span("run", 0, 10_000)]
    for turn in range(4):
        stage += [span(f"s{turn}-{n}", turn * 10, turn * 10 + 9 + n / 1000, "run") for n in range(500)]
    assert len(run_of(*stage).edges) <= 32 * 2000


def test_a_step_that_something_is_declared_of_is_given_no_assumptions() -> None:
    run = run_of(
        span("run", 0, 60), span("a", 0, 10, "run"), span("b", 10, 20, "run"), span("c", 20, 30, "run", links=("a",)),
        span("free", 30, 40, "run"),
    )  # fmt: skip
    assert edges_of(run) == {("a", "c"): (DECLARED, "links"), ("a", "b"): OBSERVED, ("c", "free"): OBSERVED}


# ---------------------------------------------------------------------- siblings


def slow_siblings(parents: list[int], one: int, other: int) -> tuple[int, int] | None:
    def line(member: int) -> list[int]:
        found = []
        while member >= 0:
            found.append(member)
            member = parents[member]
        return [-1, *found][:1] + found[::-1]

    first, second = line(one)[1:], line(other)[1:]
    for a, b in zip(first, second, strict=False):
        if a != b:
            return a, b
    return None


def test_siblings_are_found_as_by_climbing() -> None:
    for seed in range(300):
        chance = random.Random(seed)
        count = chance.randint(1, 25)
        reach = chance.choice([1, 3, 25])
        parents = [chance.randint(max(-1, n - reach), n - 1) for n in range(count)]
        lineage = Lineage(parents)
        for one in range(count):
            for other in range(count):
                assert lineage.siblings(one, other) == slow_siblings(parents, one, other), (seed, one, other)


def test_of_many_outputs_with_one_word_those_just_before_are_found() -> None:
    spans = [span("run", 0, 10_000)]
    for n in range(300):
        given = f"what number{n - 1:04d} is to some" if n else ""
        values = {"input.value": given, "output.value": f"what number{n:04d} is to some extraordinarily"}
        spans.append(span("turn", n * 10, n * 10 + 9, "run", key=str(n), values=values))
    assert {source for _, source in edges_of(run_of(*spans)).values()} == {"observed order"}
    for n in range(300):
        values = {"input.value": f"so: what number{n - 1:04d} is to some extraordinarily" if n else ""}
        values["output.value"] = f"what number{n:04d} is to some extraordinarily"
        spans[n + 1] = span("turn", n * 10, n * 10 + 9, "run", key=str(n), values=values)
    assert {source for _, source in edges_of(run_of(*spans)).values()} == {"data flow"}
