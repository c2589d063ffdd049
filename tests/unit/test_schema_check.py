"""Data is seen to be what a JSON Schema says, and the first fault is named with its place."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import jsonschema
import pytest

from harness.files.finite_json import read_finite_json
from harness.files.packaged import schema
from harness.files.schema_check import SchemaChecker, SchemaFault
from harness.result import DocumentError
from harness.result.document_check import check_document
from tests.integration.damaged_files import UNREADABLE, damaged_fields
from tests.unit.run_documents import document, result

WHOLE = document(result([1.0, 1.1], baselines=[2.0, 2.1]))


def opened(words: Any) -> Any:
    """The schema as readers take it: what it does not name may be there."""
    if isinstance(words, dict):
        return {name: opened(held) for name, held in words.items() if (name, held) != ("additionalProperties", False)}
    return [opened(held) for held in words] if isinstance(words, list) else words


def is_beyond_json(value: Any) -> bool:
    """Whether it holds what the checker refuses and JSON Schema knows nothing of: very large numbers, half signs."""
    text = json.dumps(value)
    return any(word in text for word in (*UNREADABLE, "1e+308", "1" + "0" * 30, "\\ud800"))


def test_the_checker_says_of_damaged_documents_what_jsonschema_says() -> None:
    root = schema("run")
    checker = SchemaChecker(root, root)
    oracle = jsonschema.Draft202012Validator(opened(root))
    checker.check(WHOLE)
    seen = {True: 0, False: 0}
    for damage, _, value in damaged_fields(WHOLE, Random(1)):
        if is_beyond_json(value) or damage.startswith(("started_at", "results.0.samples.0.started_at")):
            continue
        try:
            checker.check(value)
        except SchemaFault:
            is_right = False
        else:
            is_right = True
        assert oracle.is_valid(value) == is_right, damage
        seen[is_right] += 1
    assert min(seen.values()) > 300


def test_words_of_json_schema_that_are_not_known_are_refused_when_the_checker_is_made() -> None:
    with pytest.raises(NotImplementedError, match="multipleOf"):
        SchemaChecker({"type": "number", "multipleOf": 2}, {})


def test_a_seed_may_be_any_whole_number_and_a_count_may_not() -> None:
    checker = SchemaChecker({"type": "object", "properties": {"seed": {"type": "integer"}}}, {})
    checker.check({"seed": 2**100})
    with pytest.raises(SchemaFault, match=r"^workers has to be at most 1e\+15$"):
        SchemaChecker({"type": "object", "properties": {"workers": {"type": "integer", "minimum": 0}}}, {}).check(
            {"workers": 2**100}
        )


def test_no_value_is_in_a_message() -> None:
    with pytest.raises(DocumentError) as caught:
        check_document({**WHOLE, "environment": "secret-1"})
    assert "secret" not in str(caught.value)
    assert "environment has to be a mapping, and is text" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": NaN}', "NaN is no number of JSON"),
        ('{"a": -Infinity}', "-Infinity is no number of JSON"),
        ('{"a": 1e999}', "1e999 is too large a number"),
        ('{"a": 1' + "0" * 5000 + "}", "it holds a number of more than 4,300 digits"),
        ("[" * 100_000, "it is nested too deeply"),
        (b'{"a": "\xff"}', "byte 7 is no UTF-8"),
        ("{", "Expecting property name"),
    ],
)
def test_json_that_is_none_is_refused_in_plain_words(text: str | bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_finite_json(text)
