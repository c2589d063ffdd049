"""Sending metrics: what a server may do wrong, and the text file."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness.result import DocumentError
from harness.telemetry.prometheus.delivery import deliver_metrics
from harness.telemetry.prometheus.prometheus_push import Prometheus, Pushed, PushError, push_runs
from harness.telemetry.prometheus.textfile import TextfileError, write_textfile
from harness.telemetry.telemetry_settings import Prometheus as PrometheusSettings
from harness.telemetry.telemetry_settings import Telemetry
from tests.unit.metric_documents import STARTED_AT, run_document_of, workflow
from tests.unit.run_documents import document, result

Answer = Callable[[str], tuple[int, bytes]]


@contextmanager
def server(answer: Answer) -> Iterator[str]:
    """A server with given answers: path to status and body."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Who asked has left."""

    listener = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listener.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.server_address[1]}"
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()


def writes(status: int, body: bytes = b"") -> Answer:
    """Knows no question, as servers other than Prometheus, and answers writes so."""
    return lambda path: (status, body) if path.endswith("/write") else (404, b"")


def pushed(url: str, whole: dict[str, Any], timeout_seconds: float = 5.0) -> list[Pushed | str]:
    with Prometheus(url, timeout_seconds=timeout_seconds) as target:
        return list(push_runs([whole], target))


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    return run_document_of(workflow(2), started_at=datetime.now(UTC).isoformat(timespec="microseconds"))


def test_a_run_is_sent_and_counted(whole: dict[str, Any]) -> None:
    with server(writes(204)) as url:
        (found,) = pushed(url + "/", whole)
    assert isinstance(found, Pushed)
    assert found.series > 20
    assert found.samples > found.series


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (400, b"out of order sample", ["400 out of order sample", "out_of_order_time_window"]),
        (400, b"duplicate sample for timestamp", ["400 duplicate sample", "same millisecond"]),
        (401, b"who are you?", ["401 who are you?"]),
        (404, b"", ["--web.enable-remote-write-receiver", "--profile shared"]),
        (413, b"x" * 10_000, ["413 xxx"]),
    ],
)
def test_a_refusal_is_told_with_what_the_server_said(
    whole: dict[str, Any], status: int, body: bytes, words: list[str]
) -> None:
    with server(writes(status, body)) as url:
        (found,) = pushed(url, whole)
    assert isinstance(found, str)
    assert len(found) < 1000
    for word in words:
        assert word in found


def test_a_server_that_fails_once_is_asked_again(whole: dict[str, Any]) -> None:
    answers = itertools.chain([503, 429], itertools.repeat(204))
    with server(lambda path: (next(answers), b"") if path.endswith("/write") else (404, b"")) as url:
        assert isinstance(pushed(url, whole)[0], Pushed)


def test_a_server_that_goes_on_failing_is_told(whole: dict[str, Any]) -> None:
    with server(writes(500, b"disk full")) as url:
        (found,) = pushed(url, whole)
    assert "500 disk full" in str(found)


def test_a_slow_server_is_left(whole: dict[str, Any]) -> None:
    ended = threading.Event()
    with server(lambda _: (200, b"late") if ended.wait(20) else (200, b"")) as url:
        began = time.monotonic()
        with pytest.raises(PushError, match=r"did not answer within 0\.2 s.*timeout_seconds"):
            pushed(url, whole, timeout_seconds=0.2)
        assert time.monotonic() - began < 10
        ended.set()


def test_a_server_that_is_gone_in_the_middle_keeps_what_it_has(whole: dict[str, Any]) -> None:
    other = {**whole, "run_id": "second"}
    with ExitStack() as running, Prometheus(running.enter_context(server(writes(204)))) as target:
        answers = push_runs([whole, other], target)
        first = next(answers)
        assert isinstance(first, Pushed)
        running.close()
        with pytest.raises(PushError, match="there is no Prometheus at"):
            next(answers)


def test_nobody_there_is_told_and_secrets_in_the_address_are_not(whole: dict[str, Any]) -> None:
    with pytest.raises(PushError, match="there is no Prometheus at") as caught:
        pushed("http://me:hunter2@127.0.0.1:1", whole)
    assert "hunter2" not in str(caught.value)
    assert "makespan dashboards up" in str(caught.value)
    assert "--url" in str(caught.value)


@pytest.mark.parametrize("url", ["http://", "http://[", "http://host:port/"])
def test_an_address_that_is_none_is_told(whole: dict[str, Any], url: str) -> None:
    with pytest.raises(PushError):
        pushed(url, whole)


def test_a_document_that_is_not_whole_does_not_stop_the_others(whole: dict[str, Any]) -> None:
    broken = {**whole, "results": [{**whole["results"][0], "steps": [{}]}]}
    with server(writes(204)) as url, Prometheus(url) as target:
        found = list(push_runs([broken, whole], target))
    assert "cannot be sent" in str(found[0])
    assert isinstance(found[1], Pushed)


def test_a_run_without_results_is_sent_as_nothing() -> None:
    with server(writes(500)) as url:
        (found,) = pushed(url, document())
    assert isinstance(found, Pushed)
    assert found.samples == 0


def test_a_run_from_the_future_is_refused(whole: dict[str, Any]) -> None:
    later = (datetime.now(UTC) + timedelta(days=3)).isoformat(timespec="microseconds")
    with server(writes(204)) as url:
        (found,) = pushed(url, document(result([1.0]), started_at=later))
    assert "run run-1 ended 3 days from now: one of the clocks is wrong" in str(found)


# ---------------------------------------------------------------------- after a run


def settings(**words: Any) -> Telemetry:
    return Telemetry(timeout_seconds=1.0, prometheus=PrometheusSettings(**words))


def test_nothing_is_sent_unless_it_is_asked_for(whole: dict[str, Any]) -> None:
    assert deliver_metrics(whole, settings(url="http://127.0.0.1:1")) == []


def test_what_fails_after_a_run_is_a_sentence(whole: dict[str, Any], tmp_path: Path) -> None:
    (found,) = deliver_metrics(whole, settings(url="http://127.0.0.1:1", push=True))
    assert found.startswith("metrics were not sent: there is no Prometheus")
    (found,) = deliver_metrics(whole, settings(textfile=str(tmp_path / "no" / "m.prom")))
    assert found.startswith("metrics were not written: cannot write metrics")
    (found,) = deliver_metrics(whole, settings(push=True, profile="shared"))
    assert "telemetry.prometheus.textfile" in found


# ---------------------------------------------------------------------- the text file


def held(path: Path) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(path.read_text(encoding="utf-8"))
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


def test_a_run_that_is_written_again_changes_nothing(whole: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "makespan.prom"
    assert write_textfile([whole], path) == 1
    once = path.read_text(encoding="utf-8")
    assert write_textfile([whole, whole], path) == 1
    assert path.read_text(encoding="utf-8") == once


def test_counters_go_on_and_gauges_are_those_of_the_newest_run(tmp_path: Path) -> None:
    begin = datetime.fromisoformat(STARTED_AT)
    runs = [
        run_document_of(workflow(2), started_at=(begin + timedelta(days=day)).isoformat(), run_id=f"run-{day}")
        for day in range(3)
    ]
    path = tmp_path / "makespan.prom"
    write_textfile(runs[:2], path)
    write_textfile(runs[2:], path)
    found = held(path)
    counts = [value for (name, _), value in found.items() if name == "makespan_step_duration_seconds_count"]
    assert counts == [3 * len([one for step in runs[0]["results"][0]["steps"] for one in step["attempts"]])]
    assert sum(value for (name, _), value in found.items() if name == "makespan_runs_total") == 3
    infos = [dict(labels)["run_id"] for name, labels in found if name == "makespan_run_info"]
    assert infos == ["run-2"]
    # An older one comes late.
    before = path.read_text(encoding="utf-8")
    write_textfile(runs[:1], path)
    assert path.read_text(encoding="utf-8") == before


def test_other_cells_stay_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "makespan.prom"
    write_textfile([document(result([1.0], parameters={"n": 1}))], path)
    assert write_textfile([document(result([2.0], parameters={"n": 2}), run_id="run-2")], path) == 2
    variants = {dict(labels)["variant"] for name, labels in held(path) if name == "makespan_run_makespan_seconds"}
    assert variants == {"n=1", "n=2"}


@pytest.mark.parametrize(
    ("text", "words"),
    [("node_load1 0.5\n", "which makespan did not write"), ("this is {no text format\n", "holds no metrics")],
)
def test_a_file_of_somebody_else_is_left_alone(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "other.prom"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TextfileError, match=words):
        write_textfile([document(result([1.0]))], path)
    assert path.read_text(encoding="utf-8") == text


def test_a_name_that_no_collector_reads_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TextfileError, match=r"end in \.prom"):
        write_textfile([], tmp_path / "makespan.txt")


def test_a_document_that_is_not_whole_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "makespan.prom"
    write_textfile([document(result([1.0]))], path)
    before = path.read_text(encoding="utf-8")
    with pytest.raises(DocumentError):
        write_textfile([{**document(), "schema": "other"}], path)
    assert path.read_text(encoding="utf-8") == before
    assert {one.name for one in tmp_path.iterdir()} == {"makespan.prom", ".makespan.prom.lock"}


def test_a_document_that_is_not_whole_does_not_keep_the_others_out_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "makespan.prom"
    good = document(result([1.0]))
    broken = {**good, "run_id": "broken", "results": [{**good["results"][0], "samples": [{}]}]}
    messages: list[str] = []
    assert write_textfile([broken, good], path, skipped=messages.append) == 1
    assert [one.startswith("run broken cannot be written") for one in messages] == [True]


def test_two_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "makespan.prom"
    threads = [
        threading.Thread(
            target=write_textfile, args=([document(result([1.0], parameters={"n": number}), run_id=str(number))], path)
        )
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({labels for name, labels in held(path) if name == "makespan_run_makespan_seconds"}) == 8
