"""Strict reading of YAML and JSON: what is accepted, what is refused, and the place that a refusal names."""

from __future__ import annotations

import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from executor.model.findings import Finding, WorkflowError
from harness.files import strict_yaml
from harness.files.json_places import JsonPlaces
from harness.files.plain_yaml import UnusualError, plain_mapping
from harness.files.strict_file import parse_document, parse_value, read_document
from harness.files.strict_json import replay_json
from harness.files.tree_builder import DEPTH_LIMIT, TreeBuilder

TWICE_EACH = "\n".join(
    f"{name}: &{name} [{', '.join(['*' + below] * 9)}]" for below, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def read(text: str, syntax: str = "yaml") -> object:
    return parse_document(text, source=f"file.{syntax}", format=syntax).data


def faults(text: str, syntax: str = "yaml") -> list[Finding]:
    with pytest.raises(WorkflowError) as caught:
        read(text, syntax)
    assert all(finding.file == f"file.{syntax}" for finding in caught.value.findings)
    return list(caught.value.findings)


def file_faults(path: Path) -> list[Finding]:
    with pytest.raises(WorkflowError) as caught:
        read_document(path)
    assert all(finding.file == str(path) for finding in caught.value.findings)
    return list(caught.value.findings)


@pytest.mark.parametrize("syntax", ["yaml", "json"])
def test_a_duplicate_key_names_both_lines(syntax: str) -> None:
    (fault,) = faults('{"a": {"x": 1,\n"y": 2,\n"x": 3}}', syntax)
    assert fault.code == "duplicate-key"
    assert fault.path == ("a", "x")
    assert fault.line == 3
    assert "line 1" in fault.message
    assert "line 3" in fault.message


def test_all_duplicate_keys_of_a_file_are_reported_at_once() -> None:
    found = faults("a: 1\nb:\n- {x: 1, x: 2}\na: 3\n")
    assert [(fault.path, fault.line) for fault in found] == [(("b", 0, "x"), 3), (("a",), 4)]


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system ['true']", "!mine x", "!!set {a}", "!!binary eA=="])
def test_a_tag_that_is_not_plain_data_is_refused(tag: str) -> None:
    (fault,) = faults(f"fine: 1\na: {tag}\n")
    assert (fault.code, fault.line) == ("unknown-tag", 2)


def test_tags_of_plain_data_are_honoured() -> None:
    data = read("a: !!str 5\nb: !!int '7'\nc: !!float 3\nd: !!bool 'true'\ne: !!null ''\nf: !!map {x: !!seq [1]}\n")
    assert data == {"a": "5", "b": 7, "c": 3.0, "d": True, "e": None, "f": {"x": [1]}}


def test_only_true_and_false_are_booleans() -> None:
    data = read("a: no\nb: NO\nc: on\nd: yes\ne: off\nf: true\ng: False\non: y\n")
    assert data == {"a": "no", "b": "NO", "c": "on", "d": "yes", "e": "off", "f": True, "g": False, "on": "y"}


def test_dates_times_and_padded_numbers_stay_text() -> None:
    data = read("a: 2024-01-01\nb: 1:30\nc: 007\nd: 1_000\ne: '5'\n")
    assert data == {"a": "2024-01-01", "b": "1:30", "c": "007", "d": "1_000", "e": "5"}


def test_numbers_are_read_as_numbers() -> None:
    assert read("a: 12\nb: -0.5\nc: 1.0e+3\nd: 0x1f\ne: +3\nf: .5\ng: 1.\n") == {
        "a": 12, "b": -0.5, "c": 1000.0, "d": 31, "e": 3, "f": 0.5, "g": 1.0,
    }  # fmt: skip


def test_what_yaml_versions_read_differently_stays_text() -> None:
    assert read("a: 12e5\nb: 0o17\nc: -.5\nd: 1.0e3\n") == {"a": "12e5", "b": "0o17", "c": "-.5", "d": "1.0e3"}


def test_json_integers_are_exact() -> None:
    assert read('{"a": 12345678901234567890123456789}', "json") == {"a": 12345678901234567890123456789}


@pytest.mark.parametrize(
    ("text", "syntax", "code"),
    [
        ("a: .nan", "yaml", "not-finite"),
        ("a: -.inf", "yaml", "not-finite"),
        ("a: 1.0e+999", "yaml", "not-finite"),
        (f"a: {'9' * 5000}", "yaml", "number-too-long"),
        ('{"a": NaN}', "json", "not-finite"),
        ('{"a": -Infinity}', "json", "not-finite"),
        ('{"a": 1e999}', "json", "not-finite"),
        (f'{{"a": {"9" * 5000}}}', "json", "number-too-long"),
        ('{"a": "\\ud800"}', "json", "not-text"),
        ('{"a": "\x07"}', "json", "json-syntax"),
        ("a: \x07", "yaml", "control-character"),
        ("1: a", "yaml", "non-string-key"),
        ("true: a", "yaml", "non-string-key"),
        ("? [a]\n: b", "yaml", "non-string-key"),
        ("a: *b", "yaml", "unknown-alias"),
        ("a: &a [*a]", "yaml", "recursive-alias"),
        ("a: 1\n---\nb: 2", "yaml", "several-documents"),
        ('{"a": 1} {"b": 2}', "json", "json-syntax"),
        ('{"a": 1,}', "json", "json-syntax"),
        ("a: [1", "yaml", "yaml-syntax"),
        ("a:\n\tb: 1", "yaml", "yaml-syntax"),
        ("", "yaml", "empty-file"),
        ("# nothing", "yaml", "empty-file"),
        (" \n", "json", "empty-file"),
        ("- a", "yaml", "not-a-mapping"),
        ("3", "json", "not-a-mapping"),
    ],
)
def test_what_is_not_plain_data_is_refused_by_name(text: str, syntax: str, code: str) -> None:
    found = faults(text, syntax)
    assert [fault.code for fault in found] == [code]
    assert all(fault.line is not None for fault in found)


@pytest.mark.parametrize(
    ("opening", "syntax"),
    [("[", "yaml"), ("[", "json"), ("{a: ", "yaml"), ('{"a":', "json"), ("- ", "yaml"), ("? ", "yaml")],
)
def test_a_hundred_thousand_nested_brackets_are_refused(opening: str, syntax: str) -> None:
    assert faults(opening * 100_000, syntax)[-1].code == "too-deep"


@pytest.mark.parametrize("text", ['"', "\\", '\\"', "[[", '"]', "{", '\\\\"[', "ü]"])
def test_nesting_is_counted_exactly_whatever_stands_in_texts(text: str) -> None:
    draw = random.Random(text)

    def nested(levels: int) -> Any:
        data: Any = [text, {}, []]
        for _ in range(levels - 2):
            data = [text, data, text] if draw.random() < 0.5 else {text: data, "b": text}
        return {"a": data, "b": [[], {text: []}]}

    assert read(json.dumps(nested(DEPTH_LIMIT - 1)), "json")
    assert faults(json.dumps(nested(DEPTH_LIMIT)), "json")[-1].code == "too-deep"


def test_deep_nesting_is_told_apart_from_brackets_inside_text() -> None:
    assert read(json.dumps({"a": "[" * 1000}), "json") == {"a": "[" * 1000}


def test_an_alias_bomb_is_refused() -> None:
    found = faults("a: &a [x, x, x, x, x, x, x, x, x]\n" + TWICE_EACH)
    assert [fault.code for fault in found] == ["alias-bomb"]


def test_a_modest_alias_and_a_merge_are_read() -> None:
    data = read("x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\nz: [*x, *x]\n")
    assert data == {"x": {"a": 1, "b": 2}, "y": {"a": 1, "b": 3}, "z": [{"a": 1, "b": 2}] * 2}


def test_a_tab_in_the_indentation_gets_a_fix_that_says_so() -> None:
    (fault,) = faults("a:\n\tb: 1")
    assert "tab" in fault.fix
    assert fault.line == 2


@pytest.mark.parametrize(
    ("text", "syntax"),
    [
        ("a: 1\nsteps:\n- step_id: x\n  args:\n    k: [1,\n     2]\n", "yaml"),
        ('{"a": "line\\nbreak",\n"steps":\n[{"step_id": "x",\n"args":\n{"k": [1,\n2]}}]}', "json"),
    ],
)
def test_the_line_of_every_part_is_known(text: str, syntax: str) -> None:
    document = parse_document(text, source="f", format=syntax)
    assert document.line_of(("a",)) == 1
    assert document.line_of(("steps",)) == 2
    assert document.line_of(("steps", 0)) == 3
    assert document.line_of(("steps", 0, "args", "k")) == 5
    assert document.line_of(("steps", 0, "args", "k", 1)) == 6


def test_the_line_of_what_is_absent_is_its_parents() -> None:
    document = parse_document("a: 1\nsteps:\n- {step_id: x}\n", source="f", format="yaml")
    assert document.line_of(("steps", 0, "tool")) == 3
    assert document.line_of(("steps", 7, "tool")) == 2


@pytest.mark.parametrize("text", ["a: 1", "# a comment\n\na: 1", "---\n# one\n{a: 1}"])
def test_the_line_of_the_whole_is_known_without_the_lines_of_its_parts(text: str) -> None:
    document = parse_document(text, source="f.yaml", format="yaml")
    first = document.line_of(())
    assert document.line_of(("a",)) == first == text.count("\n") + 1
    assert document.line_of(()) == first


def test_a_finding_with_a_file_keeps_it() -> None:
    document = parse_document("a: 1\nb: 2\n", source="f", format="yaml")
    own, other = Finding("error", "x", "y", path=("b",)), Finding("error", "x", "y", file="elsewhere")
    assert [(each.file, each.line) for each in document.place([own, other])] == [("f", 2), ("elsewhere", None)]


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_document(path).data == {"a": 1}


def test_a_file_that_is_not_utf8_names_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"a: 1\nb: caf\xe9\n")
    (fault,) = file_faults(path)
    assert (fault.code, fault.line) == ("not-utf8", 2)
    assert "0xe9 at position 11" in fault.message


def test_a_utf16_file_is_called_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes("a: 1".encode("utf-16"))
    assert "UTF-16" in file_faults(path)[0].message


def test_a_directory_is_no_file_and_the_fix_names_one_in_it(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("a: 1")
    (fault,) = file_faults(tmp_path)
    assert fault.code == "is-a-directory"
    assert "plan.yaml" in fault.fix


def test_a_missing_file_suggests_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "translations.yaml").write_text("a: 1")
    (fault,) = file_faults(tmp_path / "translation.yaml")
    assert fault.code == "missing-file"
    assert "translations.yaml" in fault.fix


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "plan.yaml/inside"])
def test_a_name_that_cannot_be_a_file_is_a_finding(tmp_path: Path, name: str) -> None:
    (tmp_path / "plan.yaml").write_text("a: 1")
    assert len(file_faults(tmp_path / name)) == 1


def test_a_pipe_is_refused_rather_than_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe.yaml"
    os.mkfifo(path)
    assert file_faults(path)[0].code == "not-a-file"


def test_reading_leaves_the_recursion_limit_alone() -> None:
    limit = sys.getrecursionlimit()
    faults("[" * 100_000)
    assert sys.getrecursionlimit() == limit


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5), ("0.5", 0.5), ("1e3", 1000.0), ("-2", -2),
         ("true", True), ("null", None), ("no", "no"), ("cats: and dogs", "cats: and dogs"),
        ("[1, 2]", [1, 2]), ('{"a": 1}', {"a": 1}), ('"5"', "5"), ("[draft] cats", "[draft] cats"), ("007", "007"),
    ],
)  # fmt: skip
def test_a_value_from_the_command_line_is_json_or_a_word(text: str, value: object) -> None:
    read_back = parse_value(text)
    assert read_back == value
    assert type(read_back) is type(value)


@pytest.mark.parametrize("text", ["1e999", "[NaN]", '{"a": 1, "a": 2}', "[" * 1000])
def test_a_value_that_data_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(WorkflowError):
        parse_value(text)


@pytest.mark.parametrize(("syntax", "text"), [("yaml", "\na: [1]"), ("json", '\n{"a": [1]}')])
def test_a_document_that_let_go_of_its_data_knows_no_place(syntax: str, text: str) -> None:
    document = parse_document(text, source=f"file.{syntax}", format=syntax)
    assert document.line_of(("a", 0)) == 2
    document.forget()
    assert (document.data, document.line_of(("a", 0))) == ({}, 1)


# The short way through YAML


PLAIN_WORDS = ["a", "b", "c", "tool", "null", "~", "true", "no", "007", "-2.5", "'it''s'", '"\\u00e9\\n"', "ä", "1:30"]
WORDS = [
    *PLAIN_WORDS,
    *("0x1f", "1.0e+3", ".inf", "<<", "2024-01-01", "*here", "&here", "&here x", "!!str", "!mine", "[a,b]", "{a: 1}"),
    *("[", "{", "'", '"', "|", ">-", "#", ":", "-", "?", "%", "@", "9" * 5000, '"\\ud800"', "a: b"),
]


def odd_yaml(draw: random.Random, depth: int = 0) -> list[str]:
    """Lines of a mapping or a list, in which most is plain and anything may come."""
    lines = []
    listed = draw.random() < 0.4
    for place in range(draw.randrange(1, 5)):
        # Where several words are drawn, some are wrong together.
        word = " ".join(
            draw.choice(PLAIN_WORDS if draw.random() < 0.9 else WORDS) for _ in range(draw.choice([1, 1, 1, 2]))
        )
        key = draw.choice(WORDS) if draw.random() < 0.05 else f"k{draw.randrange(3) if draw.random() < 0.1 else place}"
        inner = odd_yaml(draw, depth + 1) if depth < 3 and draw.random() < 0.5 else None
        head = "-" if listed else f"{key}:"
        if inner is None:
            lines.append(f"{head} {word}")
        else:
            lines += [f"{head} {word}" if draw.random() < 0.03 else head, *(f"  {line}" for line in inner)]
    return lines


@pytest.mark.parametrize("seed", range(8))
def test_what_is_read_the_short_way_is_what_the_whole_of_yaml_reads(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(seed)
    texts = ["\n".join(odd_yaml(draw)) for _ in range(100)]
    texts += [
        "---\na: 1\n...\n",
        "a: 1\n---\nb: 2\n",
        "# nothing\n",
        "\n\n# first\na: [b, {c: d}]\n",
        "[" * 200,
        "x",
        "- 1",
    ]

    def outcome(text: str) -> tuple[Any, int | None, list[Finding]]:
        try:
            document = parse_document(text, source="file.yaml", format="yaml")
        except WorkflowError as error:
            return None, None, error.findings
        return repr(document.data), document.line_of(()), []

    short = [outcome(text) for text in texts]
    read = [text for text, (data, _, _) in zip(texts, short, strict=True) if data is not None]

    def unusual(_text: str) -> None:
        raise UnusualError

    assert sum(bool(plain_mapping(text)) for text in read if not set("&*!<") & set(text)) > 10
    monkeypatch.setattr(strict_yaml, "plain_mapping", unusual)
    assert [outcome(text) for text in texts] == short


# Lines of JSON, found without building the tree


@pytest.mark.parametrize("seed", range(40))
def test_the_lines_of_json_are_those_that_a_whole_reading_notes(seed: int) -> None:
    draw = random.Random(seed)

    def value(depth: int) -> Any:
        kind = draw.randrange(7 if depth else 4)
        if kind < 4:
            return draw.choice([1, -2.5e3, 'a \\ " [ { \n', None, True, "", []])
        size = draw.randrange(4)
        return (
            [value(depth - 1) for _ in range(size)]
            if kind == 4
            else {draw.choice('ab"]}') * (1 + place): value(depth - 1) for place in range(size)}
        )

    text = "\n" + json.dumps({"top": value(4), "more": [value(3), value(3)]}, indent=draw.choice([None, 0, 1]))
    builder = TreeBuilder(keep_places=True)
    replay_json(text, builder)
    places = JsonPlaces(text)
    paths: list[tuple[str | int, ...]] = [()]
    for path in paths:
        here = builder.root
        for part in path:
            here = here[part]
        paths += (
            [(*path, part) for part in (here if isinstance(here, dict) else range(len(here or ())))]
            if isinstance(here, dict | list)
            else []
        )
    draw.shuffle(paths)
    for path in paths:
        assert places.line_of(path) == builder.root_place.line_of(path), path
        assert places.line_of((*path, "absent", 3)) == builder.root_place.line_of((*path, "absent", 3))
