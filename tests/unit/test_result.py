"""The ``makespan.run/1`` document: what is in it, and that it keeps to its schema."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from jsonschema import Draft202012Validator

from executor.model.workflow import Resource
from executor.record.timeline import NANOSECONDS, Attempt, Interval, Timeline, Wait
from harness.result import (
    SCHEMA,
    DocumentError,
    Estimate,
    Repetition,
    result_document,
    results_of,
    run_document,
    run_schema,
    timeline_from_document,
)
from harness.result.result_writing import DEEPEST_OUTPUT


def attempt(index, step_id, ready, started, ended, number=1, **more):
    one = Attempt(index, step_id, number, ready, started, more.pop("by", None), more.pop("parent", None))
    one.started, one.ended, one.known, one.outcome = started, ended, ended, "succeeded"
    for name, value in more.items():
        setattr(one, name, value)
    return one


def example(stretch=1):
    """a → b, b retried and nested: everything that a document can say."""
    second = NANOSECONDS * stretch
    attempts = [
        attempt(0, "a", 0, 0, 2 * second, worker="thread-1", cpu_seconds=0.25, tokens_reserved=9, tokens_used=7),
        attempt(1, "b", 2 * second, 2 * second, 3 * second, by="a", outcome="failed"),
        attempt(
            1, "b", 3 * second, 5 * second, 9 * second, 2, waits=[Wait("backoff", 3 * second, 5 * second)],
            blocked=(Interval(6 * second, 8 * second),),
        ),
        attempt(4, "b/1", 6 * second, 6 * second, 8 * second, by="b", parent="b"),
    ]  # fmt: skip
    return Timeline(
        step_ids=["a", "b", "c", "d", "b/1"],
        data_parents=[(), (0,), (), (2,), ()],
        order_parents=[(), (), (0,), (), ()],
        statuses=["succeeded", "succeeded", "cancelled", "skipped", "succeeded"],
        attempts=attempts,
        workers=2,
        nested_in=[-1, -1, -1, -1, 1],
        needs=[{"llm": 1}, None, None, None, None],
        resources={"llm": Resource(capacity=2, rate_per_minute=600.0, tokens_per_minute=9000.0)},
        policy="barrier",
        backend="threads",
        startup_seconds=0.125,
    )


def document(result):
    return run_document(
        run_id="r1", scenario="joke", started_at="2025-01-02T03:04:05+00:00", environment={"cores": 2}, results=[result]
    )


def check(whole):
    """Through real JSON, against the schema."""
    Draft202012Validator(run_schema()).validate(json.loads(json.dumps(whole, allow_nan=False)))


def test_steps_that_are_encoded_at_once_are_the_steps():
    repetition = Repetition(example(), outputs={"a": {"text": "ä"}, "c": object()}, errors={"b": "no"})
    plain, encoded = (result_document([repetition], encoded_steps=wanted) for wanted in (False, True))
    assert {**encoded, "steps": list(encoded["steps"])} == plain
    assert encoded["steps"].texts == [json.dumps(step) for step in plain["steps"]]


def test_the_schema_is_a_schema_and_describes_every_field():
    schema = run_schema()
    Draft202012Validator.check_schema(schema)
    assert schema["properties"]["schema"]["const"] == SCHEMA
    for definition in schema["$defs"].values():
        for name, field in definition.get("properties", {}).items():
            assert "description" in field or "$ref" in field, name


def test_a_run_keeps_to_the_schema():
    result = result_document([Repetition(example(), {"a": {"joke": "…"}}, {"b": RuntimeError("too slow")})])
    check(document(result))
    assert result["executor"] == "threads"
    assert result["makespan_seconds"] == {"median": 9, "ci95": None}
    assert result["speedup_ratio"] is None
    assert result["speedup_verdict"] is None
    assert result["efficiency_ratio"] is None
    assert sum(result["lost_seconds"].values()) == 9
    a, b, c, d, child = result["steps"]
    assert (a["output"], a["error"], a["needs"]) == ({"joke": "…"}, None, {"llm": 1})
    assert (b["error"], b["depends_on"], len(b["attempts"])) == ("too slow", ["a"], 2)
    assert (c["order_after"], c["attempts"]) == (["a"], [])
    assert d["status"] == "skipped"
    assert child["nested_in"] == "b"
    assert b["attempts"][1]["blocked"] == [{"from": 6, "to": 8}]
    assert b["attempts"][1]["waits"] == [{"reason": "backoff", "from": 3, "to": 5}]
    assert [part["step_id"] for part in result["critical_path"]] == ["a", "b", "b/1", "b"]


def test_an_empty_run_keeps_to_the_schema():
    result = result_document([Repetition(Timeline([], [], [], [], [], 1, backend="serial"))])
    check(document(result))
    assert result["schedule_efficiency_ratio"] is None
    assert result["concurrency"] == {"mean": None, "max": 0, "seconds": {}}


def test_a_cell_of_a_benchmark_keeps_to_the_schema():
    repetitions = [Repetition(example(stretch), {}, {}, baseline_seconds=20.0) for stretch in (3, 1, 2, 4)]
    result = result_document(
        repetitions,
        parameters={"n": 4},
        makespan=Estimate(22.5, (9.0, 36.0)),
        speedup=Estimate(1.5, (1.2, 1.9)),
        speedup_verdict="faster",
    )
    check(document(result))
    assert result["efficiency_ratio"] == 0.75
    assert [sample["makespan_seconds"] for sample in result["samples"]] == [27, 9, 18, 36]
    assert result["samples"][0]["baseline_seconds"] == 20


def test_what_describes_one_run_comes_from_the_repetition_with_the_lower_median_makespan():
    result = result_document([Repetition(example(stretch)) for stretch in (3, 1, 2, 4)])
    assert result["makespan_seconds"]["median"] == 22.5
    assert result["steps"][0]["attempts"][0]["ended"] == 4
    assert sum(result["lost_seconds"].values()) == 18


def test_a_result_without_a_run_is_refused():
    with pytest.raises(ValueError, match="at least one repetition"):
        result_document([])


@pytest.mark.parametrize(
    ("output", "why"),
    [
        (float("nan"), "not JSON compliant"),
        ({"x": [1.0, float("inf")]}, "not JSON compliant"),
        ({1, 2}, "set"),
        (b"bytes", "bytes"),
        ({"half": "\ud83d"}, "surrogates not allowed"),
        ({(1, 2): 3}, "keys must be"),
        pytest.param(10**5000, "digits", id="huge"),
    ],
)
def test_an_output_that_json_cannot_hold_becomes_null_and_says_why(output, why):
    result = result_document([Repetition(example(), {"a": output, "b": "kept"})])
    a, b, *_ = result["steps"]
    assert a["output"] is None
    assert a["output_error"].startswith("the output cannot be stored as JSON: ")
    assert why in a["output_error"]
    assert b["output"] == "kept"
    assert "output_error" not in b
    check(document(result))


def nested(depth):
    value = "bottom"
    for _ in range(depth):
        value = [value]
    return value


def test_an_output_that_is_too_deep_or_holds_itself_becomes_null_and_says_why():
    circle = {}
    circle["self"] = circle
    outputs = {"a": nested(100_000), "b": circle, "b/1": nested(DEEPEST_OUTPUT)}
    a, b, _, _, child = result_document([Repetition(example(), outputs)])["steps"]
    assert "nested deeper than 200 levels" in a["output_error"]
    assert "nested deeper than 200 levels" in b["output_error"]
    assert child["output"] == outputs["b/1"]


def test_outputs_are_stored_as_json_gives_them_back():
    outputs = {"a": {"pair": (1, 2), 3: None}, "b": 0.1, "b/1": True}
    a, b, *_, child = result_document([Repetition(example(), outputs)])["steps"]
    assert a["output"] == {"pair": [1, 2], "3": None}
    assert (b["output"], child["output"]) == (0.1, True)


def test_the_timeline_comes_back_from_the_document():
    before = example()
    after = timeline_from_document(json.loads(json.dumps(result_document([Repetition(before)]))))
    for name in ("step_ids", "statuses", "workers", "policy", "backend", "startup_seconds", "nested_in", "needs"):
        assert getattr(after, name) == getattr(before, name)
    assert after.data_parents == before.data_parents
    assert after.order_parents == before.order_parents
    assert after.resources == before.resources
    assert [(one.step_id, one.attempt) for one in after.attempts] == [("a", 1), ("b", 1), ("b", 2), ("b/1", 1)]
    for one, other in zip(after.attempts, before.attempts, strict=True):
        for name in Attempt.__slots__:
            if name != "_waits":
                assert getattr(one, name) == getattr(other, name)
        assert tuple(one.waits) == tuple(other.waits)


@pytest.mark.parametrize("nanoseconds", [1, 86_399_999_999_999, 20 * 86_400 * NANOSECONDS + 123_456_789])
def test_a_nanosecond_is_not_lost_in_days(nanoseconds):
    timeline = example()
    last = timeline.attempts[-1]
    last.ended = last.known = last.ended + nanoseconds
    again = timeline_from_document(json.loads(json.dumps(result_document([Repetition(timeline)]))))
    assert again.makespan_nanoseconds == max(timeline.makespan_nanoseconds, last.ended)
    assert again.attempts[-1].known == last.known


def test_a_document_of_another_kind_is_refused_with_its_name():
    assert results_of(document(result_document([Repetition(example())])))[0]["policy"] == "barrier"
    with pytest.raises(DocumentError, match=r"no makespan.run/1 document: its 'schema' is 'makespan.run/9'"):
        results_of({"schema": "makespan.run/9"})
    with pytest.raises(DocumentError, match="'results' has to be a list"):
        results_of({"schema": SCHEMA})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"capacity": 1, "colour": "red"}, "resources.gpu.colour is unknown to this version of makespan"),
        ({"capacity": "many"}, "resources.gpu.capacity: Input should be a valid integer"),
    ],
)
def test_a_limit_that_cannot_be_read_is_named_in_one_line(words, said):
    with pytest.raises(DocumentError, match=re.escape(said)) as refused:
        timeline_from_document({**result_document([Repetition(example())]), "resources": {"gpu": words}})
    assert "\n" not in str(refused.value)
    assert "http" not in str(refused.value)


@pytest.mark.parametrize("missing", ["steps", "workers", "resources", "startup_seconds"])
def test_a_result_with_a_field_missing_is_refused_with_the_field(missing):
    result = result_document([Repetition(example())])
    del result[missing]
    with pytest.raises(DocumentError, match=missing):
        timeline_from_document(result)


def test_a_result_that_depends_on_no_step_of_its_own_is_refused():
    result = result_document([Repetition(example())])
    result["steps"][1]["depends_on"] = ["nobody"]
    with pytest.raises(DocumentError, match="'nobody' is missing or names no step"):
        timeline_from_document(result)
    with pytest.raises(DocumentError):
        timeline_from_document({**result, "steps": 3})


def test_cautions_and_foreign_traces_reach_the_document():
    timeline = replace(example(), attempts=[attempt(0, "a", 0, 0, 9), attempt(1, "b", 4, 4, 12)])
    (result,) = [result_document([Repetition(timeline, foreign=True)], executor="otlp")]
    assert result["executor"] == "otlp"
    assert "overlap in time" in result["cautions"][0]
    check(document(result))
