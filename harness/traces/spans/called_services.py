"""What a span calls that could be limited: a language model, a host, a database.

Sources: OpenTelemetry's semantic conventions (``gen_ai.*``, ``server.address``, ``url.full``, ``db.system.name`` and
the names that these had before), OpenInference (``openinference.span.kind``), OpenLLMetry (``llm.request.type``).

Rules of this module:
- A name says the kind and, of hosts and databases, which: ``llm``, ``http:api.example.com``, ``db:postgresql``.
- Only the span at the very end of a chain of calls is asked; the caller sees to that.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from harness.traces.trace_model import Span

MODEL: Final = "llm"
_MODEL_OPERATIONS: Final = frozenset({"chat", "text_completion", "generate_content", "embeddings", "completion"})
_HOST_NAMES: Final = ("server.address", "net.peer.name", "peer.service", "http.host")
_URL_NAMES: Final = ("url.full", "http.url")
_DATABASE_NAMES: Final = ("db.system.name", "db.system")
_LONGEST: Final = 60


def service_of(span: Span) -> str | None:
    """The service that a span calls, None where it calls none that one knows of."""
    attributes = span.attributes
    if not attributes:
        return None
    operation = attributes.get("gen_ai.operation.name")
    if operation in _MODEL_OPERATIONS or (operation is None and "gen_ai.request.model" in attributes):
        return MODEL
    if str(attributes.get("openinference.span.kind", "")).upper() in ("LLM", "EMBEDDING"):
        return MODEL
    if "llm.request.type" in attributes:
        return MODEL
    for name in _DATABASE_NAMES:
        if name in attributes:
            return f"db:{_short(attributes[name])}"
    if span.kind == "client":
        return _host(span)
    return None


def _host(span: Span) -> str | None:
    for name in _HOST_NAMES:
        if name in span.attributes:
            return f"http:{_short(span.attributes[name])}"
    for name in _URL_NAMES:
        try:
            host = urlsplit(str(span.attributes.get(name, ""))[:2000]).hostname
        except ValueError:
            host = None
        if host:
            return f"http:{_short(host)}"
    return None


def _short(value: object) -> str:
    text = "".join(sign for sign in str(value)[:_LONGEST] if sign.isprintable()).strip()
    return text or "unknown"
