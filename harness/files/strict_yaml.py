"""YAML, read strictly: PyYAML's event stream goes into a :class:`TreeBuilder`, one event at a time.

Rules of this module:
- No object is ever made from a tag: the tags of plain data are known, every other one is an error.
- One document a file. Nesting and aliases are limited as the events come, so that a hostile file costs no time.
- What most files hold is read by :mod:`harness.files.plain_yaml`. A file with anything else in it (a tag, an anchor, a
  fault) is read again from its beginning.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import Any, Final, cast

import yaml

from executor.model.findings import WorkflowError
from harness.files.plain_yaml import LOADER, UnusualError, plain_mapping
from harness.files.tree_builder import ScalarError, TreeBuilder, finite, integer, plain_scalar

_PREFIX: Final = "tag:yaml.org,2002:"
_NOT_ALLOWED = re.compile("[^\x09\x0a\x0d\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAGS_FIX: Final = "remove the tag: files hold plain data only"


def read_yaml(text: str, builder: TreeBuilder) -> None:
    """Push the nodes of ``text`` into ``builder``.

    Raises:
        WorkflowError: the text is not YAML, or goes on after its first document.

    """
    bad = _NOT_ALLOWED.search(text)
    if bad is not None:
        line = text.count("\n", 0, bad.start()) + 1
        raise builder.stop(
            "control-character", f"the character U+{ord(bad.group()):04X} may not stand in a YAML file", line,
            'remove it, or write it as an escape inside double quotes ("\\x07")',
        )  # fmt: skip
    if not builder.keep_places:
        with contextlib.suppress(UnusualError, yaml.YAMLError, ScalarError):
            builder.take(*plain_mapping(text))
            return
    try:
        _push_events(text, builder)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(text, error, builder) from None
    except yaml.YAMLError as error:
        raise builder.stop("yaml-syntax", f"not YAML: {_one_line(str(error))}", 1) from None


def _push_events(text: str, builder: TreeBuilder) -> None:
    documents = 0
    event: Any  # the stubs let every event lack its mark, and an alias its name; the parsers set both
    for event in yaml.parse(text, Loader=LOADER):
        kind = type(event)
        if kind is yaml.ScalarEvent:
            _push_scalar(event, event.start_mark.line + 1, builder)
        elif kind is yaml.MappingStartEvent:
            line = event.start_mark.line + 1
            _check_collection_tag(event.tag, "map", line, builder)
            builder.open({}, line, event.anchor)
        elif kind is yaml.SequenceStartEvent:
            line = event.start_mark.line + 1
            _check_collection_tag(event.tag, "seq", line, builder)
            builder.open([], line, event.anchor)
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            builder.close()
        elif kind is yaml.AliasEvent:
            builder.alias(cast("str", event.anchor), event.start_mark.line + 1)
        elif kind is yaml.DocumentStartEvent:
            documents += 1
            if documents > 1:
                fix = "put each document into a file of its own"
                raise builder.stop(
                    "several-documents", "the file holds more than one document", event.start_mark.line + 1, fix
                )


def _push_scalar(event: yaml.ScalarEvent, line: int, builder: TreeBuilder) -> None:
    plain_text = event.value if event.implicit[0] else None
    try:
        value = plain_scalar(plain_text) if plain_text is not None and event.tag is None else _scalar_value(event)
    except ScalarError as error:
        builder.fault(error.code, str(error), line, _TAGS_FIX if error.code == "unknown-tag" else "")
        value = event.value
    builder.scalar(value, line, anchor=event.anchor, plain_text=plain_text)


def _as_written(text: str) -> Any:
    return text


def _expect(*types: type) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        value = plain_scalar(text)
        if type(value) not in types:
            raise ScalarError("bad-tag", f"{text[:40]!r} is not what its tag says")
        return value

    return convert


def _integer(text: str) -> int:
    value = plain_scalar(text)
    return value if type(value) is int else integer(text)


_CONVERTERS: Final[dict[str, Callable[[str], Any]]] = {
    f"{_PREFIX}str": _as_written,
    f"{_PREFIX}int": _expect(int),
    f"{_PREFIX}float": lambda text: finite(str(_expect(int, float)(text))),
    f"{_PREFIX}bool": _expect(bool),
    f"{_PREFIX}null": _expect(type(None)),
}


def _scalar_value(event: yaml.ScalarEvent) -> Any:
    tag = event.tag
    if tag is None or tag == "!":
        return plain_scalar(event.value) if event.implicit[0] else event.value
    converter = _CONVERTERS.get(tag)
    if converter is None:
        raise ScalarError("unknown-tag", f"the tag {_shown_tag(tag)} is not allowed")
    return converter(event.value)


def _check_collection_tag(tag: str | None, own: str, line: int, builder: TreeBuilder) -> None:
    if tag is not None and tag not in {"!", f"{_PREFIX}{own}"}:
        builder.fault("unknown-tag", f"the tag {_shown_tag(tag)} is not allowed", line, _TAGS_FIX)


def _shown_tag(tag: str) -> str:
    return f"!!{tag.removeprefix(_PREFIX)}"[:80] if tag.startswith(_PREFIX) else tag[:80]


def _syntax_error(text: str, error: yaml.MarkedYAMLError, builder: TreeBuilder) -> WorkflowError:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark is not None else 1
    column = mark.column + 1 if mark is not None else 1
    said = ", ".join(_one_line(part) for part in (error.context, error.problem) if part)
    lines = text.splitlines()
    here = lines[line - 1] if line <= len(lines) else ""
    fix = "check the indentation, colons and quotes around this line"
    if "\t" in here[: len(here) - len(here.lstrip())] or here[column - 1 : column] == "\t":
        fix = "a tab is here: YAML indents with spaces"
    return builder.stop("yaml-syntax", f"not YAML, column {column}: {said}", line, fix)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]
