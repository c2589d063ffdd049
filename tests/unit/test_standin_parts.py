"""The pure parts of the stand-in: instances of schemas, labelled answers, limits and latencies."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from executor.model.workflow import ToolDeclaration
from harness.standin import answers, latency, with_stand_in
from harness.standin.declarations import needs_stand_in
from harness.standin.schema_instances import UnsupportedSchemaError, make_instance
from harness.standin.standin_limits import Limits, Refusal

TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["name", "children"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/node",
}
LINKED = {
    "type": "object",
    "properties": {"value": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
    "required": ["value", "next"],
}
SCHEMAS: list[Any] = [
    True,
    {},
    {"type": "string", "minLength": 200},
    {"type": "string", "maxLength": 5},
    {"type": "string", "format": "date-time"},
    {"type": "string", "enum": ["a", "b"]},
    {"const": {"a": 1}},
    {"type": ["string", "null"]},
    {"type": "integer", "minimum": 3, "maximum": 3},
    {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 5},
    {"type": "integer", "multipleOf": 7, "minimum": 100, "maximum": 110},
    {"type": "integer", "maximum": -5},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.001},
    {"type": "number", "minimum": 0, "maximum": 1},
    {"minimum": 5},
    {"type": "boolean"},
    {"type": "null"},
    {"type": "array", "items": {"type": "integer"}, "minItems": 5, "uniqueItems": True},
    {"type": "array", "items": {"type": "string"}, "maxItems": 1},
    {"type": "array", "items": {"type": "boolean"}, "uniqueItems": True},
    {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False},
    {"type": "object", "required": ["x"]},
    {"type": "object", "minProperties": 3, "additionalProperties": {"type": "integer"}},
    {"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}, "maxProperties": 1, "required": ["b"]},
    {"oneOf": [{"type": "null"}, {"type": "object", "properties": {"kind": {"const": "x"}}, "required": ["kind"]}]},
    {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "integer", "minimum": 3}}, "required": ["a"]},
            {"properties": {"a": {"maximum": 4}, "b": {"type": "string"}}, "required": ["b"]},
        ]
    },
    {
        "definitions": {"a/b": {"type": "integer"}},
        "type": "array",
        "minItems": 1,
        "items": {"$ref": "#/definitions/a~1b"},
    },
    TREE,
    LINKED,
    {"type": "object", "properties": {f"p{number}": {"$ref": "#"} for number in range(30)}},
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: json.dumps(schema)[:60])
def test_an_instance_is_valid_for_its_schema_and_the_same_every_time(schema: Any) -> None:
    for seed in ("1", "2", "3"):
        instance = make_instance(schema, seed=seed, topic="cats")
        jsonschema.Draft202012Validator(schema).validate(instance)
        assert make_instance(schema, seed=seed, topic="cats") == instance
        json.dumps(instance, allow_nan=False)


def nested_allof(depth: int) -> Any:
    schema: Any = {"type": "string"}
    for _ in range(depth):
        schema = {"allOf": [schema]}
    return schema


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (False, "nothing that could be valid"),
        ({"type": "string", "pattern": "^a"}, "'pattern'"),
        ({"type": "strnig"}, "unknown"),
        ({"enum": []}, "no value"),
        ({"$ref": "#/nowhere"}, "leads nowhere"),
        ({"$ref": "https://example.com/x"}, "leads out"),
        ({"$ref": "#"}, "circle"),
        ({"allOf": [{"$ref": "#"}]}, "without end"),
        ({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "without end"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "no number fits"),
        ({"type": "integer", "minimum": "x"}, "not a usable number"),
        ({"type": "integer", "minimum": float("nan")}, "not a usable number"),
        ({"type": "array", "minItems": 10**9}, "minItems"),
        ({"type": "array", "items": {"type": "boolean"}, "uniqueItems": True, "minItems": 3}, "distinct"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "longer"),
        ({"allOf": [{"type": "string"}, {"type": "integer"}]}, "cannot be combined"),
        ({"anyOf": []}, "no branch"),
        ({"type": "object", "properties": 3}, "wrong shape"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_met_is_refused_by_name(schema: Any, message: str) -> None:
    with pytest.raises(UnsupportedSchemaError, match=message):
        make_instance(schema, seed="1", topic="cats")


def test_a_schema_of_thousands_of_levels_is_refused() -> None:
    with pytest.raises(UnsupportedSchemaError, match="without end"):
        make_instance(nested_allof(5000), seed="1", topic="cats")


@pytest.mark.parametrize(
    ("prompt", "label", "words"),
    [
        ("Write a joke about black cats", "[stand-in] ", ["black cats"]),
        ("Translate to French: [stand-in] The cat sat.", "[stand-in français] ", ["The cat sat."]),
        ("Please translate the following text into Klingon:\nThe cat sat.", "[stand-in Klingon] ", ["The cat sat."]),
        ("Write five headlines about trains", "[stand-in] 1. ", ["\n5. ", "rains"]),
        ("Write 3 jokes about cats", "[stand-in] 1. ", ["\n3. "]),
        ("Summarize: One. Two. Three.", "[stand-in] In short: One. Two.", []),
        ("Write a LinkedIn post about steel", "[stand-in] ", ["steel"]),
        ("Write a tweet about steel", "[stand-in] ", ["#Steel"]),
        ("", "[stand-in] ", []),
        ("{topic} {0} %s {", "[stand-in] ", []),
    ],
)
def test_an_answer_is_labelled_and_about_what_was_asked(prompt: str, label: str, words: list[str]) -> None:
    text = answers.answer(1, "m", "", prompt)
    assert text.startswith(label)
    assert all(word in text for word in words)
    assert text.count("[stand-in") == 1
    assert answers.answer(1, "m", "", prompt) == text


def test_a_system_prompt_may_name_the_task() -> None:
    assert answers.answer(1, "m", "Translate to Spanish. Answer alone.", "The cat sat.").startswith(
        "[stand-in español]"
    )


def test_an_answer_depends_on_seed_model_and_messages() -> None:
    prompt = "Write an article about cats"
    texts = {answers.answer(seed, model, "", prompt) for seed in range(3) for model in ("a", "b")}
    assert len(texts) == 6


def test_pieces_of_a_text_are_the_text() -> None:
    for text in ("", " ", "one", " a  b\nc ", "x " * 100):
        for most in (1, 3, 12):
            pieces = answers.pieces_of(text, most)
            assert "".join(pieces) == text
            assert 1 <= len(pieces) <= most


def test_a_stated_duration_is_the_whole_duration() -> None:
    assert latency.stated_offsets(3.0, 4) == [0.75, 1.5, 2.25, 3.0]


def test_modelled_latency_is_seeded_rises_and_scales() -> None:
    offsets = latency.modelled_offsets("a", [3, 5, 1], 1.0)
    assert offsets == sorted(offsets)
    assert offsets[0] > 0
    assert offsets == latency.modelled_offsets("a", [3, 5, 1], 1.0)
    assert offsets != latency.modelled_offsets("b", [3, 5, 1], 1.0)
    assert latency.modelled_offsets("a", [3, 5, 1], 0.5) == pytest.approx([offset / 2 for offset in offsets])


def test_a_place_is_refused_until_another_is_given_back() -> None:
    limits = Limits(1, None)
    first = limits.admit(5, now=0.0, ends_at=2.0)
    assert isinstance(first, int)
    refusal = limits.admit(5, now=0.5, ends_at=2.5)
    assert isinstance(refusal, Refusal)
    assert refusal.retry_after_seconds == 1.5
    limits.leave(first)
    assert isinstance(limits.admit(5, now=0.6, ends_at=2.6), int)
    assert limits.most_at_once == 1


def test_the_wait_that_a_token_limit_asks_for_is_enough() -> None:
    limits = Limits(None, 600)
    assert isinstance(limits.admit(600, now=10.0, ends_at=10.0), int)
    refusal = limits.admit(100, now=10.0, ends_at=10.0)
    assert isinstance(refusal, Refusal)
    assert refusal.retry_after_seconds == pytest.approx(10.0)
    assert isinstance(limits.admit(100, now=10.0 + 9.9, ends_at=0.0), Refusal)
    assert isinstance(limits.admit(100, now=10.0 + 10.01, ends_at=0.0), int)
    never = limits.admit(601, now=1000.0, ends_at=0.0)
    assert isinstance(never, Refusal)
    assert never.retry_after_seconds is None


def test_only_model_tools_without_an_endpoint_are_pointed_at_the_stand_in() -> None:
    declared = {
        "open": ToolDeclaration.model_validate({"kind": "llm", "system": "x", "needs": {"llm": 1}}),
        "mine": ToolDeclaration.model_validate({"kind": "llm", "base_url": "http://mine/v1"}),
        "other": ToolDeclaration(kind="sleep"),
    }
    pointed = with_stand_in(declared, ["open", "llm"], "http://127.0.0.1:1/v1")
    assert pointed["open"].options == {"system": "x", "base_url": "http://127.0.0.1:1/v1", "stand_in": True}
    assert pointed["open"].needs == {"llm": 1}
    assert pointed["llm"].options["stand_in"] is True
    assert pointed["mine"] is declared["mine"]
    assert pointed["other"] is declared["other"]
    assert "llm" not in with_stand_in(declared, ["open"], "http://127.0.0.1:1/v1")
    assert needs_stand_in(declared, ["open"])
    assert needs_stand_in({}, ["llm"])
    assert not needs_stand_in(declared, ["mine", "other", "unknown"])
