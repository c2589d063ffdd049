"""Builds plain data from a stream of nodes, and says what is wrong with it.

YAML and JSON readers push what they see (open, close, scalar, alias); this module keeps the rules that both share.

Rules of this module:
- Data is what JSON can say: mappings with text keys, lists, text, finite numbers, true, false, null.
- No recursion: the stack of open containers is a list, and its depth is limited.
- Faults are collected as findings with path and line; only what makes going on senseless stops the reading.
- An unquoted word is what YAML 1.1 and YAML 1.2 agree on, else text: a plain ``no`` does not turn Norway into False,
  nor ``12e5`` a commit into a number. So only ``true`` and ``false`` are booleans; ``yes``, ``on``, dates, ``1:30``,
  ``007``, ``0o17`` and ``1e3`` are text (``1.0e+3`` is a number).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any, Final

from executor.model.findings import Finding, Path, WorkflowError

DEPTH_LIMIT: Final = 100
# Nodes that aliases may add to what the file itself spells out.
ALIAS_NODE_LIMIT: Final = 200_000

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"(?:[-+]?(?:0|[1-9][0-9]*)\.[0-9]*|\.[0-9]+)(?:[eE][-+][0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS: Final[dict[str, bool | None]] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_NUMBERS_BEGIN: Final = frozenset("+-.0123456789")
SURROGATE: Final = re.compile("[\ud800-\udfff]")

_NO_KEY: Final = object()
_DROPPED: Final = object()
_MERGE: Final = object()


class ScalarError(ValueError):
    """A scalar that data cannot hold. ``code`` is the finding's short name."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def plain_scalar(text: str) -> Any:
    """What an unquoted word means: a number, true, false, null, or itself.

    Raises:
        ScalarError: a number that is not finite or too long.

    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBERS_BEGIN:
        return text
    if _INTEGER.fullmatch(text):
        return integer(text)
    if _HEXADECIMAL.fullmatch(text):
        return int(text, 16)
    if _FLOAT.fullmatch(text):
        return finite(text)
    if _NOT_FINITE.fullmatch(text):
        raise ScalarError("not-finite", f"{text} is not a finite number")
    return text


def integer(text: str) -> int:
    """An integer, exactly. Raises :class:`ScalarError` when it is too long to convert."""
    try:
        return int(text)
    except ValueError:
        raise ScalarError("number-too-long", f"a number of {len(text):,} digits is too long") from None


def finite(text: str) -> float:
    """A finite float. Raises :class:`ScalarError` when it overflows."""
    value = float(text)
    if not math.isfinite(value):
        raise ScalarError("not-finite", f"{text[:40]} is not a finite number: it is too large")
    return value


@dataclass(slots=True)
class Place:
    """Where a node is: its line (from 1), and the places of what it holds."""

    line: int
    children: dict[str, Place] | list[Place] | None = None

    def line_of(self, path: Path) -> int:
        """The line of the node at ``path``, or of the deepest ancestor that exists."""
        here = self
        for part in path:
            children = here.children
            child: Place | None = None
            if isinstance(children, dict) and isinstance(part, str):
                child = children.get(part)
            elif isinstance(children, list) and isinstance(part, int) and 0 <= part < len(children):
                child = children[part]
            if child is None:
                break
            here = child
        return here.line


@dataclass(slots=True)
class _Frame:
    container: dict[str, Any] | list[Any]
    place: Place
    anchor: str | None
    as_key: bool
    weight: int = 1
    key: Any = _NO_KEY
    key_line: int = 0
    key_lines: dict[str, int] = field(default_factory=dict)
    merged: list[tuple[dict[str, Any], Place]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Anchored:
    value: Any
    place: Place
    weight: int


# Where lines are not kept.
_NOWHERE: Final = Place(1)


class TreeBuilder:
    """Takes nodes in document order; afterwards ``root``, ``root_place`` and ``findings`` hold the result.

    With ``keep_places`` every node's line is kept, which costs about as much memory as the data.
    """

    def __init__(self, *, keep_places: bool = False) -> None:
        self.root: Any = None
        self.root_place = Place(1)
        self.findings: list[Finding] = []
        self.keep_places = keep_places
        self._stack: list[_Frame] = []
        self._anchors: dict[str, _Anchored | None] = {}
        self._alias_nodes = 0

    def take(self, mapping: dict[str, Any], line: int) -> None:
        """A whole mapping without faults, of which no place but its own is kept."""
        self.root, self.root_place = mapping, Place(line)

    def open(self, container: dict[str, Any] | list[Any], line: int, anchor: str | None = None) -> None:
        """A mapping ({}) or list ([]) begins."""
        if len(self._stack) >= DEPTH_LIMIT:
            message = f"nested more than {DEPTH_LIMIT} levels deep"
            self.findings.append(Finding("error", "too-deep", message, fix="flatten the file", line=line))
            raise WorkflowError(self.findings)
        as_key = self._expects_key()
        if as_key:
            self.fault("non-string-key", "a list or mapping cannot be a key", line, "keys are text")
        if anchor is not None:
            self._anchors[anchor] = None
        children: dict[str, Place] | list[Place] | None = None
        if self.keep_places:
            children = {} if isinstance(container, dict) else []
        self._stack.append(_Frame(container, Place(line, children), anchor, as_key))

    def close(self) -> None:
        """The innermost mapping or list ends."""
        frame = self._stack.pop()
        for mapping, place in frame.merged:
            _merge(frame, mapping, place)
        if frame.anchor is not None:
            self._anchors[frame.anchor] = _Anchored(frame.container, frame.place, frame.weight)
        if frame.as_key:
            self._stack[-1].key = _DROPPED
        else:
            self._attach(frame.container, frame.place, frame.weight)

    def scalar(self, value: Any, line: int, *, anchor: str | None = None, plain_text: str | None = None) -> None:
        """A value or a key. ``plain_text`` is how an unquoted one was spelled."""
        if isinstance(value, str) and not value.isascii() and SURROGATE.search(value):
            message = "text holds half of a surrogate pair, which no encoding can store"
            self.fault("not-text", message, line, "write the character itself, or both halves")
            value = SURROGATE.sub("\ufffd", value)
        if anchor is not None:
            self._anchors[anchor] = _Anchored(value, Place(line), 1)
        if self._expects_key():
            self._key(value, line, plain_text)
        elif self.keep_places or not self._stack:
            self._attach(value, Place(line), 1)
        else:
            self._attach(value, _NOWHERE, 1)

    def alias(self, name: str, line: int) -> None:
        """``*name``: what was anchored, again. Its nodes count against a budget."""
        if name not in self._anchors:
            raise self.stop("unknown-alias", f"*{name} refers to an anchor that is not defined above", line)
        anchored = self._anchors[name]
        if anchored is None:
            raise self.stop("recursive-alias", f"*{name} is inside of what it refers to", line, "write it out")
        self._alias_nodes += anchored.weight
        if self._alias_nodes > ALIAS_NODE_LIMIT:
            message = f"aliases expand to more than {ALIAS_NODE_LIMIT:,} nodes"
            raise self.stop("alias-bomb", message, line, "write the repeated parts out, or use fewer aliases")
        if self._expects_key():
            self._key(anchored.value, line, None)
        else:
            self._attach(anchored.value, Place(line, anchored.place.children), anchored.weight)

    def fault(self, code: str, message: str, line: int, fix: str = "") -> None:
        """Note an error and go on."""
        self.findings.append(Finding("error", code, message, fix=fix, path=self._path(), line=line))

    def stop(self, code: str, message: str, line: int, fix: str = "") -> WorkflowError:
        """Note an error that nothing can be read after; the caller raises what this returns."""
        self.fault(code, message, line, fix)
        return WorkflowError(self.findings)

    def _expects_key(self) -> bool:
        if not self._stack:
            return False
        frame = self._stack[-1]
        return frame.key is _NO_KEY and isinstance(frame.container, dict)

    def _key(self, value: Any, line: int, plain_text: str | None) -> None:
        frame = self._stack[-1]
        frame.key_line = line
        if plain_text == "<<":
            frame.key = _MERGE
            return
        if not isinstance(value, str):
            shown = plain_text if plain_text is not None else str(value)
            self.fault("non-string-key", f"the key {shown or 'null'} is not text", line, f'quote it: "{shown}"')
            frame.key = _DROPPED
            return
        first = frame.key_lines.get(value)
        if first is not None:
            message = f"the key {value!r} is there twice: on line {first} and on line {line}"
            path = (*self._path(), value)
            self.findings.append(
                Finding("error", "duplicate-key", message, fix="keep one of them", path=path, line=line)
            )
        frame.key_lines[value] = line
        frame.key = value

    def _attach(self, value: Any, place: Place, weight: int) -> None:
        if not self._stack:
            self.root, self.root_place = value, place
            return
        frame = self._stack[-1]
        frame.weight += weight
        if isinstance(frame.container, list):
            frame.container.append(value)
            if isinstance(frame.place.children, list):
                frame.place.children.append(place)
            return
        key, frame.key = frame.key, _NO_KEY
        if key is _MERGE:
            self._note_merge(frame, value, place)
        elif key is not _DROPPED:
            frame.container[key] = value
            if isinstance(frame.place.children, dict):
                frame.place.children[key] = Place(frame.key_line, place.children)

    def _note_merge(self, frame: _Frame, value: Any, place: Place) -> None:
        values = value if isinstance(value, list) else [value]
        places = place.children if isinstance(place.children, list) else [place] * len(values)
        for each, where in zip(values, places, strict=True):
            if isinstance(each, dict):
                frame.merged.append((each, where))
            else:
                self.fault("bad-merge", "<< takes a mapping, or a list of mappings", frame.key_line)

    def _path(self) -> Path:
        path: list[str | int] = []
        for frame in self._stack:
            if isinstance(frame.container, list):
                path.append(len(frame.container))
            elif isinstance(frame.key, str):
                path.append(frame.key)
        # The innermost list is where the next item would go; for a fault in an item that is right.
        return tuple(path)


def _merge(frame: _Frame, mapping: dict[str, Any], place: Place) -> None:
    """YAML 1.1's merge key: what the mapping itself says wins, then the first merged one."""
    container = frame.container
    if not isinstance(container, dict):
        return
    for key, value in mapping.items():
        if key in container:
            continue
        container[key] = value
        if isinstance(frame.place.children, dict) and isinstance(place.children, dict):
            frame.place.children[key] = place.children[key]
