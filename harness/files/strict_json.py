"""JSON, read strictly: no duplicate keys, no NaN or Infinity, no half characters.

Rules of this module:
- The standard library's parser reads every file. Only when something is wrong, or when a line is asked for, is the
  text walked once more by :func:`replay_json`, token by token: lines cost nothing until they are needed.
- Nesting is counted before the parser, which recurses, sees the text.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from harness.files.tree_builder import DEPTH_LIMIT, ScalarError, TreeBuilder, finite, integer

_BRACKETS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|([\[{])|([\]}])', re.DOTALL)
_TOKENS = re.compile(
    r'"(?P<text>[^"\\]*(?:\\.[^"\\]*)*)"|(?P<open>[\[{])|(?P<close>[\]}])|(?P<word>[-+.\w]+)|(?P<newline>\n)', re.DOTALL
)
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_ONE_KIND: Final = bytes.maketrans(b"{}", b"[]")
_WORDS: Final = {"true": True, "false": False, "null": None}


def read_json(text: str, source_check: TreeBuilder) -> Any:
    """The data in ``text``; faults go into ``source_check``.

    Raises:
        WorkflowError: the text is not JSON, or nested too deep.

    """
    _check_depth(text, source_check)
    suspect = _Suspect()
    try:
        data = json.loads(
            text,
            object_pairs_hook=suspect.pairs,
            parse_int=suspect.integer,
            parse_float=suspect.finite,
            parse_constant=suspect.constant,
        )
    except json.JSONDecodeError as error:
        message = f"not JSON, column {error.colno}: {error.msg}"
        raise source_check.stop("json-syntax", message, error.lineno, _syntax_fix(text, error)) from None
    if suspect.found or _SURROGATE_ESCAPE.search(text):
        replay_json(text, source_check)
    return data


def replay_json(text: str, builder: TreeBuilder) -> None:
    """Push the nodes of ``text``, which is known to be JSON, into ``builder``, with their lines."""
    line = 1
    for token in _TOKENS.finditer(text):
        kind = token.lastgroup
        if kind == "newline":
            line += 1
        elif kind == "open":
            builder.open({} if token.group() == "{" else [], line)
        elif kind == "close":
            builder.close()
        elif kind == "text":
            builder.scalar(json.loads(token.group()), line)
        else:
            builder.scalar(_word(token.group(), line, builder), line)


def _word(text: str, line: int, builder: TreeBuilder) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if text.endswith(("NaN", "Infinity")):
        builder.fault("not-finite", f"{text} is not a finite number, and not JSON", line, "numbers are finite")
        return None
    try:
        return integer(text) if text.lstrip("-").isdigit() else finite(text)
    except ScalarError as error:
        builder.fault(error.code, str(error), line, "write a smaller number, or quote it")
        return None


class _Suspect:
    """Hooks of the parser that notice what needs a closer look."""

    def __init__(self) -> None:
        self.found = False

    def pairs(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        data = dict(pairs)
        self.found |= len(data) != len(pairs)
        return data

    def integer(self, text: str) -> int | None:
        try:
            return integer(text)
        except ScalarError:
            self.found = True
            return None

    def finite(self, text: str) -> float | None:
        try:
            return finite(text)
        except ScalarError:
            self.found = True
            return None

    def constant(self, _text: str) -> None:
        self.found = True


def _check_depth(text: str, builder: TreeBuilder) -> None:
    if text.count("[") + text.count("{") <= DEPTH_LIMIT or _is_flat(text):
        return
    depth = 0
    for match in _BRACKETS.finditer(text):
        if match.group(1):
            depth += 1
            if depth > DEPTH_LIMIT:
                line = text.count("\n", 0, match.start()) + 1
                raise builder.stop("too-deep", f"nested more than {DEPTH_LIMIT} levels deep", line, "flatten the file")
        elif match.group(2):
            depth -= 1


def _is_flat(text: str) -> bool:
    """Whether it is certain that the brackets nest at most as deep as they may: a file of 100 MB is not walked."""
    unescaped = text.encode("utf-8", "surrogatepass").replace(b"\\\\", b"").replace(b'\\"', b"")
    # What stands between strings is every other piece.
    brackets = b"".join(unescaped.split(b'"')[::2]).translate(_ONE_KIND, _NO_BRACKETS)
    for _ in range(DEPTH_LIMIT):
        if not brackets:
            break
        # The innermost ones: one level less.
        brackets = brackets.replace(b"[]", b"")
    return not brackets


def _syntax_fix(text: str, error: json.JSONDecodeError) -> str:
    here = text[error.pos : error.pos + 2]
    before = text[: error.pos].rstrip()[-1:]
    if before == "," and here[:1] in {"]", "}"}:
        return "remove the comma before the closing bracket"
    if here in {"//", "/*"} or here[:1] == "#":
        return "JSON has no comments: remove it, or name the file .yaml"
    if here[:1] == "'":
        return "JSON quotes with double quotes"
    if error.msg.startswith("Invalid control character"):
        return "write it as an escape: \\n, \\t or \\u00XX"
    if error.msg.startswith("Extra data"):
        return "the file goes on after its end: keep one document"
    return "check commas, colons and quotes around this place"
