"""A real trace store (MLflow) on a free loopback port, with an empty data folder that goes with it.

It lives in an environment of its own, ``.venv-trace-store``, which ``make trace-store`` makes: nothing else needs its
packages.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import sqlite3
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.prometheus_server import free_port
from tests.missing import not_here

PROGRAM = Path(__file__).resolve().parents[2] / ".venv-trace-store" / "bin" / "mlflow"
STARTING_SECONDS = 120.0
STOPPING_SECONDS = 15.0
# Every store has this experiment; the receiver of spans wants the name of one.
EXPERIMENT = {"x-mlflow-experiment-id": "0"}


@dataclass(frozen=True)
class TraceStore:
    """A running store and what can be asked of it."""

    url: str
    folder: Path

    def settings(self, headers: Mapping[str, str] = EXPERIMENT) -> dict[str, str]:
        """The environment with which makespan sends its traces there."""
        return {"MAKESPAN_TELEMETRY__ENDPOINT": self.url, "MAKESPAN_TELEMETRY__HEADERS": json.dumps(headers)}

    def answer(self, trace_id: str) -> bytes:
        """The answer of the store's API about a trace, as it comes: spans as in OTLP."""
        return self._fetched(f"api/3.0/mlflow/traces/get?trace_id=tr-{trace_id}")

    def own_form(self, trace_id: str) -> bytes:
        """The trace as the store's pages load it: in a form of its own."""
        return self._fetched(f"ajax-api/3.0/mlflow/get-trace-artifact?request_id=tr-{trace_id}")

    def _fetched(self, path: str) -> bytes:
        with urllib.request.urlopen(f"{self.url}/{path}") as answer:
            return bytes(answer.read())

    def rows(self, trace_id: str) -> int:
        """How many spans of a trace are in the store's database."""
        with closing(sqlite3.connect(self.folder / "store.db")) as database:
            (count,) = database.execute("SELECT count(*) FROM spans WHERE trace_id = ?", (f"tr-{trace_id}",)).fetchone()
        return int(count)


def require_trace_store() -> str:
    """The path of the store's program, else the test is skipped; in CI and in ``make test-slow`` that is a failure."""
    if not PROGRAM.exists():
        not_here("the trace store", "make trace-store", must_be=bool(os.environ.get("REQUIRE_TRACE_STORE")))
    return str(PROGRAM)


@contextmanager
def running_trace_store(folder: Path) -> Iterator[TraceStore]:
    """Start one, wait until it answers, and stop it with all its processes at the end."""
    program = require_trace_store()
    port = free_port()
    log = folder / "store.log"
    command = [
        program, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder / 'store.db'}",
        "--default-artifact-root", str(folder / "artifacts"), "--no-serve-artifacts",
    ]  # fmt: skip
    # It must neither report its use to its makers nor start unneeded parts.
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **quiet}, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    try:
        store = TraceStore(f"http://127.0.0.1:{port}", folder)
        _wait_until_ready(store, process, log)
        yield store
    finally:
        _end_group(process)


def _wait_until_ready(store: TraceStore, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + STARTING_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{store.url}/health", timeout=5):
                return
        except (OSError, urllib.error.URLError):
            time.sleep(0.1)
    pytest.fail(f"the trace store did not start:\n{log.read_text(errors='replace')[-3000:]}")


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """The program starts its server as a process of its own: both are of the group that it leads."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOPPING_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def trace_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TraceStore]:
    """One store for all tests of a module: each looks only at its own trace."""
    with running_trace_store(tmp_path_factory.mktemp("trace-store")) as store:
        yield store


# ---------------------------------------------------------------------- its answers as plain data


def spans_in_store(answer: bytes) -> list[dict[str, Any]]:
    """The spans of an answer of the API as :func:`plain_span` gives them, without what the store adds of its own."""
    spans = [_as_otlp(span) for span in json.loads(answer)["trace"]["spans"]]
    return [plain_span(span) for span in spans]


def plain_span(span: Mapping[str, Any]) -> dict[str, Any]:
    """What a span of OTLP's JSON says, in a form that compares by value."""
    links = [(link["traceId"], link["spanId"], _plain_pairs(link.get("attributes", ()))) for link in _of(span, "links")]
    return {
        "trace": span["traceId"],
        "id": span["spanId"],
        "parent": span.get("parentSpanId") or None,
        "name": span["name"],
        "start": int(span["startTimeUnixNano"]),
        "end": int(span["endTimeUnixNano"]),
        "attributes": _plain_pairs(span["attributes"]),
        "links": sorted(links, key=repr),
        "failed": span.get("status", {}).get("code") in (2, "STATUS_CODE_ERROR"),
        "message": span.get("status", {}).get("message"),
    }


def _of(span: Mapping[str, Any], name: str) -> list[Any]:
    return list(span.get(name) or ())


def _as_otlp(value: Any) -> Any:
    """Protobuf's own JSON as OTLP's: names in camel case, ids in hex."""
    if isinstance(value, list):
        return [_as_otlp(one) for one in value]
    if not isinstance(value, dict):
        return value
    named = {}
    for name, held in value.items():
        first, *rest = name.split("_")
        camel = first + "".join(word.capitalize() for word in rest)
        is_id = camel in ("traceId", "spanId", "parentSpanId")
        named[camel] = base64.b64decode(held).hex() if is_id else _as_otlp(held)
    return named


def _plain_pairs(pairs: Any) -> dict[str, Any]:
    return {pair["key"]: _plain(pair["value"]) for pair in pairs if not pair["key"].startswith("mlflow.")}


def _plain(value: Mapping[str, Any]) -> Any:
    ((kind, held),) = value.items()
    if kind == "kvlistValue":
        return _plain_pairs(held["values"])
    if kind == "arrayValue":
        return [_plain(one) for one in held.get("values", ())]
    if kind == "intValue":
        return int(held)
    # The store takes text that is a mapping in JSON for that mapping.
    if kind == "stringValue" and held.startswith("{"):
        return json.loads(held)
    return held
