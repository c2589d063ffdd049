"""Traces of any origin as data: spans as they were read, and the run that they tell of.

A reader (``harness.traces.formats.otlp``, ``jaeger``, …) makes :class:`Span`; :func:`harness.traces.foreign_run` makes
a :class:`ForeignRun`, which every later conclusion reads.

Rules of this module:
- Data only: no file is read and nothing is concluded here.
- Absolute times are integer nanoseconds since 1970 and never pass through a float. In a :class:`ForeignRun` they are
  nanoseconds since ``origin``, the beginning of the earliest span.
- What is wrong with a trace never stops its reading: it is a :class:`TraceFinding`, which says the effect.
- Text is kept as it is in the trace: control codes too. The code that shows it escapes it
  (``harness.plain_text.one_line``). Step ids alone are made printable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from executor.record.timeline import Timeline

StatusCode = Literal["unset", "ok", "error"]
EdgeLabel = Literal["declared", "inferred", "assumed"]
SpanKind = Literal["unspecified", "internal", "server", "client", "producer", "consumer"]

DECLARED: Final = "declared"
INFERRED: Final = "inferred"
ASSUMED: Final = "assumed"
# A link's attribute, and its value where the span only followed the other (OpenTracing's two kinds of reference).
REFERENCE_TYPE: Final = "opentracing.ref_type"
FOLLOWS_FROM: Final = "FOLLOWS_FROM"


class TraceError(ValueError):
    """A file that cannot be read as traces; the message says what it is, where, and what to do."""


class Link(NamedTuple):
    """A span link: the other span, and what is said of the relation."""

    trace_id: str
    span_id: str
    attributes: Mapping[str, Any] = {}


class Event(NamedTuple):
    """Something that happened at one instant (nanoseconds since 1970) of a span."""

    name: str
    time: int
    attributes: Mapping[str, Any] = {}


class Span:
    """One span as the file has it. Ids are lower-case hex where the file has hex or base64, else its own text.

    ``parent_id`` is None for a root. ``end`` is None where the file has none. ``resource`` holds the attributes of
    the process that made the span (shared between its spans), ``service`` its ``service.name`` or "".
    """

    __slots__ = (
        "attributes", "end", "events", "kind", "links", "name", "parent_id", "resource", "scope", "service", "span_id",
        "start", "status", "status_message", "trace_id",
    )  # fmt: skip

    def __init__(
        self,
        trace_id: str,
        span_id: str,
        parent_id: str | None,
        name: str,
        start: int,
        end: int | None,
        kind: SpanKind = "unspecified",
        status: StatusCode = "unset",
        status_message: str = "",
        service: str = "",
        scope: str = "",
        attributes: dict[str, Any] | None = None,
        links: tuple[Link, ...] = (),
        events: tuple[Event, ...] = (),
        resource: Mapping[str, Any] | None = None,
    ) -> None:
        self.trace_id = trace_id
        self.span_id = span_id
        self.parent_id = parent_id
        self.name = name
        self.start = start
        self.end = end
        self.kind = kind
        self.status = status
        self.status_message = status_message
        self.service = service
        self.scope = scope
        self.attributes: dict[str, Any] = {} if attributes is None else attributes
        self.links = links
        self.events = events
        self.resource: Mapping[str, Any] = {} if resource is None else resource

    def __repr__(self) -> str:
        return f"<Span {self.name!r} {self.span_id} of {self.parent_id} [{self.start}, {self.end}]>"


@dataclass(frozen=True, slots=True)
class TraceFinding:
    """Something about a trace that a reader of the analysis must know.

    ``code`` is stable (``missing_parent``, ``dangling_link``, ``clock_skew``, …), ``message`` says what was found,
    ``effect`` what was done about it and what that means for the figures, ``count`` how often it was found.
    """

    code: str
    message: str
    effect: str
    count: int = 1

    def __str__(self) -> str:
        return f"{self.message}: {self.effect}"


@dataclass(slots=True)
class Trace:
    """The spans of one trace id, in the order of the file. ``source`` names the file (and line, where lines count);
    ``format`` is one of ``otlp-json``, ``otlp-protobuf``, ``jaeger``, ``tempo``, ``sdk-console``, ``zipkin``, …
    """

    trace_id: str
    spans: list[Span] = field(default_factory=list)
    source: str = ""
    format: str = ""
    findings: list[TraceFinding] = field(default_factory=list)


class Edge(NamedTuple):
    """Step ``after`` needs step ``before`` (indices into the timeline's steps).

    ``label``: *declared* by the maker of the trace (span links, ``depends_on``, LangGraph's triggers, ``--edges``);
    *inferred* from data seen to flow or from the framework's own order; *assumed* from the observed order alone.
    ``source`` names where it comes from: ``links``, ``makespan``, ``langgraph``, ``graph.node``, ``edges file``,
    ``data flow``, ``observed order``.
    """

    before: int
    after: int
    label: EdgeLabel
    source: str


@dataclass(slots=True)
class ForeignRun:
    """A trace as a run. Lists are indexed by step, as the timeline's are.

    ``timeline``: every span that does work is a step; a retry of the same call is a further attempt of it. A span
    with children is a step that is blocked while they run (``nested_in``). ``data_parents`` hold *all* of
    ``edges``, the assumed ones too, so that its critical path is the one observed; to ask "what if", leave out the
    edges whose label is ``assumed``. Step ids are unique: a name that recurs carries ``#2``, ``#3``, …

    ``spans[i]``: the span of each attempt. ``names[i]``: what to show. ``waiting[i]``: the span only waits (it covers
    the work of others, polls or sleeps; the reason, else None): advise nothing for it. ``envelopes``: spans that hold
    the whole run and are no step. ``delays``: by step, how many nanoseconds after all that it needs it began, while
    others ran, for no reason that the trace shows. ``begun_in``: by step, the one beside it in which it began and which
    it outlasts. ``from_makespan``: the trace is our own, and the timeline exact.
    """

    timeline: Timeline
    spans: Sequence[Sequence[Span]]
    names: Sequence[str]
    edges: Sequence[Edge]
    findings: Sequence[TraceFinding]
    origin: int
    from_makespan: bool
    waiting: Sequence[str | None] = ()
    envelopes: Sequence[Span] = ()
    delays: Mapping[int, int] = field(default_factory=dict)
    begun_in: Mapping[int, int] = field(default_factory=dict)
    trace_id: str = ""
    source: str = ""
    workflow: str = ""

    @property
    def tail_nanoseconds(self) -> int:
        """From the last end of a step to the end of the outermost span, which is no step: its time before, between and
        after the steps is the run's all the same, and a gap. Of our own traces the steps are all there is.
        """
        if self.from_makespan or not self.envelopes:
            return 0
        end = max((span.end for span in self.envelopes if span.end is not None), default=self.origin)
        return max(0, end - self.origin - self.timeline.makespan_nanoseconds)
