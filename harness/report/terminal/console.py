"""Text for people: one place through which everything goes that a command prints.

Rules of this module:
- What comes from files, steps and models is data: control characters are escaped, markup is not read.
- Colour and movement only on a terminal that can (``NO_COLOR`` and ``TERM=dumb`` are respected); else plain lines.
- A line is text and a style; the code that composes lines knows no stream.
- On a terminal a line that is too long goes on below, broken between words and under its own text. Elsewhere it stays
  whole, so that it can be searched.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from executor.model.findings import Finding, printable
from harness.plain_text import LOOKED_AT, aligned, one_line

_WIDTH_WITHOUT_TERMINAL: Final = 120
# A line whose text would have fewer columns than that goes on two columns behind its beginning.
_LEAST_TEXT_COLUMNS: Final = 24
_LIST_MARK: Final = re.compile(r" *(?:\d+\.|[-+]) (?=\S)")
_COLUMN_GAP: Final = re.compile(r"(  +)(?=\S)")
_WORD_GAP: Final = re.compile(r"( +)")
_FIRST_COLUMN: Final = re.compile(r" *\S(?:\S| (?! ))*  +(?=\S)")
STYLES: Final = {"error": "bold red", "warning": "yellow", "hint": "cyan"}


class Line(NamedTuple):
    """A line, and how it looks where looks are possible (a style of rich)."""

    text: str
    style: str = ""


def shown_value(value: Any, limit: int) -> str:
    """A step's output as one line: text as it is, all else as JSON as far as that goes."""
    if isinstance(value, str):
        return one_line(value, limit)
    pieces: list[str] = []
    length = 0
    try:
        for piece in json.JSONEncoder(ensure_ascii=False, default=_type_name).iterencode(value):
            pieces.append(piece)
            length += len(piece)
            if length > LOOKED_AT * limit:
                break
    except (ValueError, TypeError, RecursionError):
        return _type_name(value)
    return one_line("".join(pieces), limit)


def _type_name(value: Any) -> str:
    # Its repr is the step's own code, and may do anything.
    return f"<{type(value).__name__}>"


def finding_lines(findings: Iterable[Finding]) -> list[Line]:
    """Each finding with its place and its fix."""
    lines: list[Line] = []
    for finding in findings:
        first, *rest = str(finding).split("\n")
        lines.append(Line(printable(first), STYLES[finding.severity]))
        lines += [Line(printable(text)) for text in rest]
    return lines


def table_lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[Line]:
    """An indented table."""
    first, *others = aligned([head, *rows])
    return [Line(f"    {first}", "dim"), *(Line(f"    {row}") for row in others)]


def broken_line(text: str, width: int) -> list[str]:
    """The line in parts that fit into the columns, broken between words, and a row of a table between its columns: an
    address that is longer stays whole.
    """
    if cell_len(text) <= width:
        return [text]
    first, others = _hanging(text, width)
    rows = _parted(_COLUMN_GAP, text[:first], text[first:], width, others)
    # What is between two gaps may be too long as well.
    parts = [_parted(_WORD_GAP, row[: _indent(row)], row[_indent(row) :], width, others) for row in rows]
    return [part.rstrip() for row in parts for part in row]


def _parted(gap: re.Pattern[str], beginning: str, text: str, width: int, others: int) -> list[str]:
    """The beginning and the text in lines that end where gaps are; all but the first begin in column ``others``."""
    if cell_len(beginning + text) <= width:
        return [beginning + text]
    parts, columns = [beginning], cell_len(beginning)
    pieces = gap.split(text)
    # Words and what is between them, in turns.
    for between, word in zip(["", *pieces[1::2]], pieces[::2], strict=True):
        if between and columns + cell_len(between + word) > width:
            parts.append(" " * others + word)
            columns = others + cell_len(word)
        else:
            parts[-1] += between + word
            columns += cell_len(between + word)
    return parts


def _indent(text: str) -> int:
    return len(text) - len(text.lstrip(" "))


def _hanging(text: str, width: int) -> tuple[int, int]:
    """At which character the words of a line begin, and in which column they go on below: behind a list mark, or under
    the second column of a row; else two columns behind the beginning of the line.
    """
    indent = _indent(text)
    for pattern in (_LIST_MARK, _FIRST_COLUMN):
        found = pattern.match(text)
        if found is not None and width - cell_len(found[0]) >= _LEAST_TEXT_COLUMNS:
            return found.end(), cell_len(found[0])
    return indent, min(indent + 2, max(0, width - 1))


class Terminal:
    """Writes lines to a stream. ``is_live``: the stream is a terminal on which a line can be rewritten."""

    def __init__(self, stream: TextIO | None = None, *, environment: Mapping[str, str] | None = None) -> None:
        self.stream = sys.stdout if stream is None else stream
        environment = os.environ if environment is None else environment
        self.console: Console | None = None
        if self.stream.isatty() and environment.get("TERM", "dumb").lower() not in ("dumb", "unknown"):
            self.console = Console(file=self.stream, no_color=bool(environment.get("NO_COLOR")), soft_wrap=True)
        self.is_live = self.console is not None

    @property
    def width(self) -> int:
        """Characters in a line that are worth filling."""
        return _WIDTH_WITHOUT_TERMINAL if self.console is None else max(40, self.console.width)

    @property
    def ascii_only(self) -> bool:
        """Whether the stream cannot show what plots are drawn with."""
        try:
            "█▏".encode(self.stream.encoding or "ascii")
        except (UnicodeEncodeError, LookupError):
            return True
        return False

    def write(self, lines: Iterable[Line]) -> None:
        """Write lines, each whole."""
        console = self.console
        if console is None:
            self.stream.writelines(line.text + "\n" for line in lines)
            self.stream.flush()
            return
        for text, style in lines:
            for part in broken_line(text, console.width):
                console.print(Text(part, style=style), soft_wrap=True)

    def line(self, text: str = "", style: str = "") -> None:
        """Write one line."""
        self.write((Line(text, style),))
