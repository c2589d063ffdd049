"""Walks through one JSON document of any size and hands out its spans one by one.

Only the skeleton is walked here (wrappers, resources, scopes); each span is parsed whole by the standard library. So
memory is bounded by the largest span, and the speed is that of ``json.loads``.

Rules of this module:
- What spans share may stand after them in the file (Jaeger's processes do): a :class:`Shared` is filled until the end.
- A document that breaks off gives what it held until then, and :attr:`Scanner.broken` says where.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, BinaryIO, Final, NamedTuple

from harness.traces.formats.jaeger import processes_of
from harness.traces.formats.otlp import Origin
from harness.traces.formats.otlp_values import attributes_of

_CHUNK_BYTES: Final = 4 << 20
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_DECODE: Final = json.JSONDecoder(parse_float=Decimal).raw_decode
_OPENED: Final = frozenset(
    (
        "resourceSpans", "resource_spans", "batches", "scopeSpans", "scope_spans", "instrumentationLibrarySpans",
        "instrumentation_library_spans", "trace", "result", "data", "traces", "spans",
    )
)  # fmt: skip
_DEEPEST: Final = 64


class Shared:
    """What the spans of one mapping share: the mapping's own members, and those of the mappings around it."""

    __slots__ = ("_origin", "_processes", "around", "is_tempo", "members", "was_opened")

    def __init__(self, around: Shared | None) -> None:
        self.around = around
        self.members: dict[str, Any] = {}
        self.was_opened = False
        self.is_tempo: bool = around is not None and around.is_tempo
        self._origin: Origin | None = None
        self._processes: dict[str, Origin] | None = None

    def origin(self) -> Origin:
        """The resource and scope, once all is read."""
        if self._origin is None:
            resource = self._member("resource")
            scope = self._member("scope", "instrumentationLibrary", "instrumentation_library")
            name = scope.get("name") if isinstance(scope, dict) else None
            attributes = attributes_of(resource.get("attributes") if isinstance(resource, dict) else None)
            self._origin = Origin(attributes, name if isinstance(name, str) else "")
        return self._origin

    def processes(self) -> dict[str, Origin]:
        """Jaeger's processes, once all is read."""
        if self._processes is None:
            self._processes = processes_of({"processes": self._member("processes")})
        return self._processes

    def _member(self, *names: str) -> Any:
        at: Shared | None = self
        while at is not None:
            for name in names:
                if name in at.members:
                    return at.members[name]
            at = at.around
        return None


class _Frame(NamedTuple):
    """A list or mapping that is being walked through."""

    closing: str
    shared: Shared
    holds_spans: bool


class Found(NamedTuple):
    """A value, and what it shares. ``is_span``: it stands in a list of spans."""

    shared: Shared
    value: Any
    is_span: bool


class Scanner:
    """Walks through a stream. ``broken``: why and where it went wrong, or None."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._text = ""
        self._at = 0
        self._dropped = 0
        self._ended = False
        self.broken: str | None = None

    def values(self) -> Iterator[Found]:
        """Every span, and every mapping or other value in which there is nothing to open."""
        try:
            while self._peek():
                yield from self._document()
        except (ValueError, RecursionError) as error:
            self.broken = f"{str(error) or type(error).__name__} at character {self._dropped + self._at}"

    def _document(self) -> Iterator[Found]:
        stack: list[_Frame] = []
        after_value = False
        while True:
            sign = self._peek()
            if stack and sign == stack[-1].closing:
                self._at += 1
                frame = stack.pop()
                members = frame.shared.members
                if frame.closing == "}" and members and not frame.shared.was_opened:
                    yield Found(frame.shared, members, False)
                after_value = True
            elif after_value:
                if sign != ",":
                    raise ValueError("a comma or the end of a list or mapping is missing")
                self._at += 1
                after_value = False
            else:
                key = self._key() if stack and stack[-1].closing == "}" else None
                after_value = not self._open(self._peek(), key, stack)
                if after_value:
                    value = self._value()
                    if key is not None:
                        stack[-1].shared.members[key] = value
                    elif stack:
                        yield Found(stack[-1].shared, value, stack[-1].holds_spans)
                    else:
                        yield Found(Shared(None), value, False)
            if not stack:
                return

    def _key(self) -> str:
        key = self._value()
        if not isinstance(key, str) or self._peek() != ":":
            raise ValueError("a key and a colon are missing")
        self._at += 1
        return key

    def _open(self, sign: str, key: str | None, stack: list[_Frame]) -> bool:
        """Go into the list or mapping that begins here, if spans may be in it."""
        if sign not in ("[", "{") or len(stack) >= _DEEPEST:
            return False
        above = stack[-1] if stack else None
        if key is None:
            if above is not None and above.holds_spans:
                return False
        elif key not in _OPENED:
            return False
        around = None if above is None else above.shared
        if key is not None and around is not None:
            around.was_opened = True
            around.is_tempo |= key == "batches"
        if sign == "[":
            shared = Shared(None) if around is None else around
            stack.append(_Frame("]", shared, key == "spans"))
        else:
            stack.append(_Frame("}", Shared(around), False))
        self._at += 1
        return True

    def _peek(self) -> str:
        """The next sign that is no space; "" at the end."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr] # always matches
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _value(self) -> Any:
        """The value that begins here, whole."""
        self._peek()
        size = _CHUNK_BYTES
        while True:
            try:
                value, end = _DECODE(self._text, self._at)
            except ValueError:
                if not self._more(size):
                    raise ValueError("it breaks off, or is no JSON,") from None
                size *= 2
                continue
            if end == len(self._text) and self._more(size):
                continue  # a number may go on
            self._at = end
            return value

    def _more(self, size: int = _CHUNK_BYTES) -> bool:
        """Read on. False at the end."""
        if self._ended:
            return False
        chunk = self._stream.read(size)
        self._ended = not chunk
        self._dropped += self._at
        self._text = self._text[self._at :] + self._decoder.decode(chunk, final=self._ended)
        self._at = 0
        return bool(chunk)
