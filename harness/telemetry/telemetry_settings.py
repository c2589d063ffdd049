"""The words of the configuration's section ``telemetry``: where traces and metrics go, and what is in them.

Rules of this module:
- Nothing is sent anywhere unless an address is here (or on the command line).
- Keys in headers are secrets: they stand in no message.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from executor.model.workflow import Name, SparseModel

# What Grafana Tempo takes of one trace, as it comes.
DEFAULT_MAX_TRACE_BYTES = 5_000_000
_USER = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def _web_address(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    return value


def shown(address: str) -> str:
    """An address as messages show it: without user and password."""
    return _USER.sub("***", address)


def _mapping(value: Any) -> Any:
    return {} if value is None else value


Profile = Literal["own", "shared"]
WebAddress = Annotated[str, AfterValidator(_web_address)]


class Prometheus(SparseModel):
    """Metrics. ``url``: the server that `dashboards push` (and, with ``push``, every run) writes to and that
    `dashboards validate` asks. ``profile``: `own`, a server started as documented, written to by remote write; or
    `shared`, another user's with its default flags, which reads the ``textfile`` or scrapes the ``metrics_port``.
    """

    url: WebAddress = "http://127.0.0.1:9090"
    profile: Profile = "own"
    push: bool = False
    metrics_port: int | None = Field(None, ge=0, le=65535)
    textfile: Name | None = None
    run_info: bool = True


class Telemetry(SparseModel):
    """Traces. ``mode``: `recorded` (made from the record after the measured part), `live` (as it happens) or `off`;
    without an ``endpoint`` nothing is sent. ``keep``: which repetitions of a bench are sent (``live`` sends all).
    ``timeout_seconds``: how long a receiver may take for a whole answer. ``max_trace_bytes``: a trace estimated larger
    is warned of. ``capture_content``: prompts and answers stand in spans.
    """

    mode: Literal["recorded", "live", "off"] = "recorded"
    endpoint: WebAddress | None = None
    protocol: Literal["http", "grpc"] = "http"
    headers: Annotated[dict[Name, SecretStr], BeforeValidator(_mapping)] = Field(default_factory=dict)
    timeout_seconds: float = Field(5.0, gt=0)
    keep: Literal["all", "median_and_slowest"] = "all"
    max_trace_bytes: int = Field(DEFAULT_MAX_TRACE_BYTES, gt=0)
    capture_content: bool = False
    prometheus: Annotated[Prometheus, BeforeValidator(_mapping)] = Field(default_factory=Prometheus)
