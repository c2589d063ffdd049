"""Groups more spans into traces than should be held in memory: through temporary files, a share of the traces in each.

Rules of this module:
- The files have no name and are gone with the process, also when it is killed.
- What spans share is known only when all is read: each span carries a number, and gets its resource on the way back.
- Memory is bounded by the spans of one share, not by the input.
"""

from __future__ import annotations

import pickle
import tempfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, Final

from harness.traces.formats.otlp import Defects, Origin
from harness.traces.spans.trace_model import Event, Link, Span, Trace

SHARES: Final = 64
_BATCH: Final = 512
# Values that are longer than this are cut where the input is large.
LONGEST_VALUE: Final = 16_384

OriginOf = Callable[[], Origin]


class Spill:
    """Takes spans, gives traces."""

    def __init__(self, defects: Defects) -> None:
        self._defects = defects
        self._files: list[IO[bytes] | None] = [None] * SHARES
        self._waiting: list[list[Any]] = [[] for _ in range(SHARES)]
        self._origins: list[OriginOf] = []
        self._numbers: dict[tuple[int, str], int] = {}
        self._sources: list[tuple[str, str]] = []
        self.spans = 0

    def source(self, source: str, kind: str) -> int:
        """A number for where spans come from."""
        if not self._sources or self._sources[-1] != (source, kind):
            self._sources.append((source, kind))
        return len(self._sources) - 1

    def origin(self, key: tuple[int, str], of: OriginOf) -> int:
        """A number for what spans share. ``key`` names it by the identity of something that ``of`` keeps alive."""
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._origins)
            self._origins.append(of)
        return number

    def add_as_it_is(self, span: Span, source: int) -> None:
        """Put a span away whose resource is known."""
        number = self._numbers.get((id(span.resource), span.scope))
        if number is None:
            origin = Origin(span.resource, span.scope)
            number = self.origin((id(span.resource), span.scope), lambda: origin)
        self.add(span, number, source)

    def add(self, span: Span, origin: int, source: int) -> None:
        """Put a span away."""
        share = zlib.crc32(span.trace_id.encode("utf-8", "replace")) % SHARES
        waiting = self._waiting[share]
        waiting.append(
            (
                (span.trace_id, span.span_id, span.parent_id, span.name, span.start, span.end, span.kind,
                 span.status, span.status_message[:LONGEST_VALUE]),
                self._short(span.attributes),
                [(link.trace_id, link.span_id, link.attributes) for link in span.links],
                [(event.name, event.time, self._short(event.attributes)) for event in span.events],
                origin, source,
            )
        )  # fmt: skip
        self.spans += 1
        if len(waiting) >= _BATCH:
            self._write(share)

    def _short(self, attributes: Any) -> Any:
        for key, value in attributes.items():
            if type(value) is str and len(value) > LONGEST_VALUE:
                attributes[key] = value[:LONGEST_VALUE]
                self._defects.note("cut_value")
        return attributes

    def _write(self, share: int) -> None:
        file = self._files[share]
        if file is None:
            file = self._files[share] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in traces()
        pickle.dump(self._waiting[share], file, protocol=pickle.HIGHEST_PROTOCOL)
        self._waiting[share] = []

    def traces(self) -> Iterator[Trace]:
        """The traces, share by share. To be asked once, when all spans are in."""
        try:
            for share in range(SHARES):
                yield from self._traces_of(share)
        finally:
            for file in self._files:
                if file is not None:
                    file.close()

    def _traces_of(self, share: int) -> Iterator[Trace]:
        traces: dict[str, Trace] = {}
        file = self._files[share]
        if file is not None:
            file.seek(0)
            while True:
                try:
                    batch = pickle.load(file)  # noqa: S301 - our own nameless file
                except EOFError:
                    break
                self._take(batch, traces)
        self._take(self._waiting[share], traces)
        self._waiting[share] = []
        while traces:
            yield traces.pop(next(iter(traces)))

    def _take(self, batch: list[Any], traces: dict[str, Trace]) -> None:
        words: tuple[str, str, str | None, str, int, int | None, Any, Any, str]
        for words, attributes, links, events, number, where in batch:
            origin = self._origins[number]()
            trace = traces.get(words[0])
            if trace is None:
                source, kind = self._sources[where]
                trace = traces[words[0]] = Trace(words[0], source=source, format=kind)
            trace.spans.append(
                Span(
                    *words,
                    origin.service,
                    origin.scope or str(attributes.get("otel.scope.name", "")),
                    attributes,
                    tuple(Link(*link) for link in links),
                    tuple(Event(*event) for event in events),
                    origin.resource,
                )
            )
