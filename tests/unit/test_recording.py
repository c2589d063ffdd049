"""What a receiver takes, what it refuses by name, and the environment, signals and document of a recorded program."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import jsonschema
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from harness.compare import compare
from harness.recording import http_receiver
from harness.recording.child_environment import INSTRUMENT, PYTHON_START, child_environment, wants_grpc
from harness.recording.child_process import CommandError, run_child
from harness.recording.grpc_receiver import GrpcReceiver
from harness.recording.http_receiver import HttpReceiver, PortTakenError
from harness.recording.received_spans import ReceivedSpans
from harness.recording.recorded_document import recorded_document
from harness.result import run_schema
from harness.simulation import simulate, subject_of_document
from harness.testing.programs.playing import play
from harness.testing.programs.program import Program, Statement
from harness.testing.programs.span_emission import emitted, otlp_document
from harness.traces import ForeignRun, Trace, foreign_run, read_traces

MILLISECOND = 1_000_000
PROTOBUF, JSON = "application/x-protobuf", "application/json"


def trace(*milliseconds: int) -> Trace:
    steps = tuple(
        Statement(key, "work", f"step {key}", value * MILLISECOND) for key, value in enumerate(milliseconds, 1)
    )
    program = Program(Statement(0, "block", "agent", children=(*steps, Statement(99, "own", "", 5 * MILLISECOND))))
    return emitted(program, play(program))


def json_body(one: Trace) -> bytes:
    return json.dumps(otlp_document(one)).encode()


def protobuf_body(one: Trace) -> bytes:
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for span in one.spans:
        made = scope.spans.add()
        made.trace_id, made.span_id = bytes.fromhex(span.trace_id), bytes.fromhex(span.span_id)
        made.parent_span_id = bytes.fromhex(span.parent_id or "")
        made.name, made.start_time_unix_nano, made.end_time_unix_nano = span.name, span.start, span.end or 0
    return request.SerializeToString()


class Receiving:
    """A receiver on a free port, and requests to it."""

    def __init__(self, folder: Path) -> None:
        self.received = ReceivedSpans(folder)
        self.http = HttpReceiver(self.received)

    def post(self, body: bytes, kind: str = PROTOBUF, path: str = "/v1/traces", **headers: str) -> int:
        connection = HTTPConnection("127.0.0.1", self.http.port, timeout=10)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("POST", path, body, {"Content-Type": kind, **named})
        status = connection.getresponse().status
        connection.close()
        return status

    def raw(self, text: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.http.port), timeout=10) as connection:
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65_536), b""))

    def traces(self) -> list[Trace]:
        return list(read_traces(self.received.close()))


@pytest.fixture
def receiving(tmp_path: Path) -> Iterator[Receiving]:
    one = Receiving(tmp_path)
    with one.http:
        yield one
    one.received.close()


def names(one: Trace) -> list[str]:
    return sorted(span.name for span in one.spans)


@pytest.mark.parametrize("kind", [PROTOBUF, JSON])
@pytest.mark.parametrize("encoding", ["identity", "gzip", "deflate"])
def test_spans_come_as_protobuf_and_json_plain_and_compressed(receiving: Receiving, kind: str, encoding: str) -> None:
    sent = trace(10, 20)
    body = protobuf_body(sent) if kind == PROTOBUF else json_body(sent)
    packed = {"identity": bytes, "gzip": gzip.compress, "deflate": zlib.compress}[encoding](body)
    assert receiving.post(packed, kind, Content_Encoding=encoding) == 200
    (found,) = receiving.traces()
    assert names(found) == names(sent)
    assert receiving.received.faults() == []


def test_a_body_may_come_in_chunks(receiving: Receiving) -> None:
    body = json_body(trace(10))
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:]))
    head = (
        b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    assert receiving.raw(head + chunks + b"0\r\n\r\n").startswith(b"HTTP/1.1 200")
    assert receiving.received.spans == 2


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\nonly this", "1 requests broke off"),
        (
            b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n40\r\nonly this",
            "1 requests broke off",
        ),
        (
            b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n",
            "1 requests broke off",
        ),
    ],
)
def test_a_body_that_breaks_off_is_counted_and_nothing_of_it_is_kept(
    receiving: Receiving, sent: bytes, said: str
) -> None:
    receiving.raw(sent)
    receiving.received.wait_until_quiet(5)
    assert receiving.received.spans == 0
    assert said in receiving.received.faults()[0]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"\xff\xfe nothing", PROTOBUF, 400),
        (b'{"resourceSpans": [{', JSON, 400),
        (b'{"resourceSpans": {"scopeSpans": 3}}', JSON, 400),
        (b"[" * 100_000, JSON, 400),
        (b"spans", "text/plain", 415),
    ],
)
def test_what_is_no_otlp_is_refused_and_said(receiving: Receiving, body: bytes, kind: str, status: int) -> None:
    assert receiving.post(body, kind) == status
    assert "1 requests were no OTLP" in receiving.received.faults()[0]


def test_a_body_that_does_not_decompress_or_is_packed_in_an_unknown_way_is_refused(receiving: Receiving) -> None:
    packed = gzip.compress(json_body(trace(1)))
    assert receiving.post(packed[:-9], JSON, Content_Encoding="gzip") == 400
    assert receiving.post(b"not packed", JSON, Content_Encoding="gzip") == 400
    assert receiving.post(packed, JSON, Content_Encoding="br") == 400
    assert receiving.received.unreadable == 3


def test_a_body_that_is_too_large_is_refused_before_it_is_held(
    receiving: Receiving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_receiver, "LARGEST_BODY_BYTES", 1000)
    assert receiving.post(b" " * 1001, JSON) == 413
    assert receiving.post(gzip.compress(b" " * 5000), JSON, Content_Encoding="gzip") == 413
    assert "2 requests were too large" in receiving.received.faults()[0]


def test_a_page_in_a_browser_and_a_wrong_address_are_refused(receiving: Receiving) -> None:
    assert receiving.post(json_body(trace(1)), JSON, Origin="https://example.org") == 403
    assert receiving.post(json_body(trace(1)), JSON, path="/api/v2/spans") == 404
    assert receiving.received.spans == 0
    assert "2 requests were refused" in receiving.received.faults()[0]


def test_metrics_and_logs_are_answered_and_not_kept(receiving: Receiving) -> None:
    assert receiving.post(b"", PROTOBUF, path="/v1/metrics") == 200
    assert receiving.post(b"{}", JSON, path="/v1/logs") == 200
    assert (receiving.received.other_signals, receiving.received.spans) == (2, 0)
    assert receiving.received.faults() == []


def test_what_comes_twice_counts_once_and_what_comes_late_belongs_to_its_trace(receiving: Receiving) -> None:
    sent = trace(10, 20, 30)
    late = Trace(sent.trace_id, sent.spans[:1])
    for one in (Trace(sent.trace_id, sent.spans[1:]), sent, late):
        receiving.post(protobuf_body(one))
    (found,) = receiving.traces()
    run = foreign_run(found)
    assert len(run.timeline.step_ids) == 3
    assert any(finding.code == "duplicate_span" for finding in run.findings)


def test_two_programs_at_once_are_two_traces(receiving: Receiving) -> None:
    one, other = trace(10), trace(20)
    for span in other.spans:
        span.trace_id = "f" * 32
    senders = [threading.Thread(target=receiving.post, args=(protobuf_body(sent),)) for sent in (one, other)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert sorted(found.trace_id for found in receiving.traces()) == [one.trace_id, "f" * 32]


def test_a_port_that_is_taken_is_refused_by_its_number(receiving: Receiving, tmp_path: Path) -> None:
    with pytest.raises(PortTakenError, match=f"port {receiving.http.port} of 127.0.0.1 cannot be had"):
        HttpReceiver(ReceivedSpans(tmp_path), receiving.http.port)


def test_spans_come_over_grpc(tmp_path: Path) -> None:
    import grpc

    received = ReceivedSpans(tmp_path)
    with GrpcReceiver(received) as receiver, grpc.insecure_channel(f"127.0.0.1:{receiver.port}") as channel:
        send = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        assert send(protobuf_body(trace(10, 20))) == b""
        assert channel.unary_unary("/opentelemetry.proto.collector.logs.v1.LogsService/Export")(b"") == b""
        with pytest.raises(grpc.RpcError, match="no OTLP protobuf"):
            send(b"\xff\xff")
        with pytest.raises(PortTakenError):
            GrpcReceiver(ReceivedSpans(tmp_path), receiver.port)
    received.close()
    assert (received.spans, received.other_signals, received.unreadable) == (3, 1, 1)


# ------------------------------------------------------------------ the environment


def test_a_program_is_told_where_to_send_spans_and_nothing_else() -> None:
    found = child_environment(
        {"HOME": "/home/me", "NO_PROXY": "intern"}, "agent", "http://127.0.0.1:4", folder=Path("/")
    )
    assert found["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] == "http://127.0.0.1:4/v1/traces"
    assert found["OTEL_METRICS_EXPORTER"] == found["OTEL_LOGS_EXPORTER"] == "none"
    assert found["OTEL_SERVICE_NAME"] == "agent"
    assert found["HOME"] == "/home/me"
    assert found["NO_PROXY"] == "intern,127.0.0.1,localhost"
    assert found["PYTHONPATH"] == str(PYTHON_START)
    assert "NODE_OPTIONS" not in found


def test_what_a_person_has_set_stays_but_for_where_spans_go() -> None:
    own = {
        "OTEL_SERVICE_NAME": "mine", "OTEL_EXPORTER_OTLP_ENDPOINT": "https://far.away", "OTEL_SDK_DISABLED": "true",
        "OTEL_TRACES_SAMPLER": "always_off", "PYTHONPATH": "here", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
    }  # fmt: skip
    assert wants_grpc(own)
    found = child_environment(own, "agent", "http://127.0.0.1:4", "grpc", folder=Path("/"))
    assert found["OTEL_SERVICE_NAME"] == "mine"
    assert found["OTEL_TRACES_SAMPLER"] == "always_off"
    assert found["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] == found["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://127.0.0.1:4"
    assert found["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] == "grpc"
    assert found["PYTHONPATH"].endswith(f"{os.pathsep}here")
    assert "OTEL_SDK_DISABLED" not in found


def test_nodes_instrumentation_is_started_where_the_folder_has_it(tmp_path: Path) -> None:
    (tmp_path / "node_modules" / "@opentelemetry" / "auto-instrumentations-node").mkdir(parents=True)
    (tmp_path / "below").mkdir()
    found = child_environment({"NODE_OPTIONS": "--trace-gc"}, "x", "http://h", folder=tmp_path / "below")
    assert found["NODE_OPTIONS"] == "--trace-gc --require @opentelemetry/auto-instrumentations-node/register"


def started_python(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(PYTHON_START), INSTRUMENT: "0", **variables}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )  # fmt: skip


def test_a_sitecustomize_of_the_users_still_runs(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('mine ran')")
    done = started_python("print('program')", PYTHONPATH=f"{PYTHON_START}{os.pathsep}{tmp_path}")
    assert done.stdout.splitlines() == ["mine ran", "program"]


def test_a_sitecustomize_that_is_broken_stops_no_program(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("1 / 0")
    done = started_python("print('program')", PYTHONPATH=f"{PYTHON_START}{os.pathsep}{tmp_path}")
    assert (done.stdout, done.returncode) == ("program\n", 0)
    assert done.stderr == "sitecustomize: ZeroDivisionError: division by zero\n"


# ------------------------------------------------------------------ the program


@pytest.mark.parametrize(("code", "status"), [("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 137)])
def test_the_exit_status_is_the_programs(code: str, status: int) -> None:
    assert run_child([sys.executable, "-c", code], os.environ) == status


def test_a_program_that_cannot_be_started_is_named() -> None:
    with pytest.raises(CommandError, match="'no-such-program' cannot be started: No such file"):
        run_child(["no-such-program"], os.environ)


def test_a_signal_to_this_process_reaches_the_program(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    code = (
        "import pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))\n"
        f"pathlib.Path({str(ready)!r}).touch()\n"
        "time.sleep(30)"
    )

    def send() -> None:
        until = time.monotonic() + 20
        while not ready.exists() and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    sender = threading.Thread(target=send)
    sender.start()
    noted: list[int] = []
    status = run_child([sys.executable, "-c", code], os.environ, on_signal=lambda: noted.append(1))
    sender.join()
    assert (status, noted) == (9, [1])
    assert signal.getsignal(signal.SIGTERM) == before


# ------------------------------------------------------------------ the document


def runs(count: int, factor: int = 1) -> list[ForeignRun]:
    return [foreign_run(trace(100 * factor + number, 200 * factor)) for number in range(count)]


def test_the_document_is_that_of_a_run_and_holds_the_time_of_the_outermost_span() -> None:
    document = json.loads(json.dumps(recorded_document("agent.py", [("agent", runs(3))])))
    jsonschema.validate(document, run_schema(), cls=jsonschema.Draft202012Validator)
    (result,) = document["results"]
    assert (document["scenario"], result["scenario"], result["executor"]) == ("agent.py", "agent.py", "recorded")
    assert result["repetitions"] == 3
    assert result["makespan_seconds"]["median"] == pytest.approx(0.306)
    assert sum(result["lost_seconds"].values()) == pytest.approx(0.306)


def test_a_recorded_run_is_compared_and_simulated_as_any_other() -> None:
    before, after = (recorded_document("agent.py", [("agent", runs(8, factor))]) for factor in (1, 2))
    (cell,) = compare(before, after).cells
    assert cell.change is not None
    assert cell.change.ratio.median == pytest.approx(2, rel=0.05)
    assert cell.verdict == "slower"
    assert simulate(subject_of_document(before)).base_seconds == pytest.approx(0.3, rel=0.05)


def test_shapes_of_traces_are_cells_of_their_own() -> None:
    document = recorded_document("service", [("GET /a", runs(2)), ("GET /b", runs(1))])
    assert [one["scenario"] for one in document["results"]] == ["service: GET /a", "service: GET /b"]
