"""Metrics while runs go on: what a scrape sees, and that nothing of it holds up a run."""

from __future__ import annotations

import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from executor import Step, Workflow, run
from executor.engine.instruments import Instruments
from harness.result import Repetition, result_document, timeline_from_document
from harness.telemetry.metrics import live_metrics as metric_live
from harness.telemetry.metrics.live_metrics import LiveMetrics
from harness.telemetry.metrics.run_metrics import step_totals
from harness.telemetry.metrics.samples import Sample
from harness.telemetry.prometheus.endpoint import Endpoint
from harness.telemetry.prometheus.metrics_service import MetricService
from tests.unit.metric_documents import ran, workflow
from tests.unit.run_documents import document


def values(samples: list[Sample]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {(one.name, one.labels): one.value for one in samples}


def named(samples: list[Sample], name: str) -> float:
    (found,) = [one.value for one in samples if one.name == name]
    return found


def watched_run(live: LiveMetrics, flow: Workflow, **more: Any) -> Any:
    live.begin_cell("jokes", "threads", {})
    return ran(flow, instruments=[live], **more)


@pytest.fixture
def looking() -> Iterator[tuple[LiveMetrics, list[list[Sample]]]]:
    """Live metrics that are read without a pause."""
    live = LiveMetrics()
    seen: list[list[Sample]] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            seen.append(live.samples())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield live, seen
    finally:
        ended.set()
        thread.join()


def test_no_attempt_is_watched() -> None:
    instruments = Instruments([LiveMetrics()])
    assert not instruments.watches("attempt_started")
    assert not instruments.watches("attempt_finished")


def test_what_was_seen_at_the_end_is_what_the_record_says() -> None:
    live = LiveMetrics()
    flow = workflow()
    done = watched_run(live, flow)
    found = values(live.samples())
    repetition = Repetition(done.timeline, done.outputs, done.errors, steps={one.step_id: one for one in flow.steps})
    cell = result_document([repetition], executor="threads")
    labels = next(labels for name, labels in found if name == "makespan_busy_worker_seconds_total")
    for sample in step_totals(cell, timeline_from_document(cell)).samples(labels):
        assert found[sample.name, sample.labels] == pytest.approx(sample.value, abs=1e-9), sample
    assert found["makespan_runs_total", (*labels, ("result", "failed"))] == 1
    assert found["makespan_steps_running", labels] == 0
    assert found["makespan_resource_in_use", (*labels, ("resource", "llm"))] == 0


def test_a_counter_that_is_looked_at_all_the_time_only_grows(
    looking: tuple[LiveMetrics, list[list[Sample]]],
) -> None:
    live, seen = looking
    watched_run(live, workflow(40, seconds=0.003))
    watched_run(live, workflow(40, seconds=0.003))
    last = live.samples()
    before: dict[Any, float] = {}
    for samples in [*seen, last]:
        for sample in samples:
            if sample.family.type != "gauge":
                key = (sample.name, sample.labels)
                assert sample.value >= before.get(key, 0.0), key
                before[key] = sample.value
    running = {one.value for samples in seen for one in samples if one.name == "makespan_steps_running"}
    assert max(running) > 1
    assert named(last, "makespan_step_duration_seconds_count") == 2 * (1 + 40 + 2 + 1)


@pytest.mark.parametrize("backend", ["processes", "asyncio", "serial"])
def test_every_attempt_is_counted_once_on_every_executor(
    backend: str, looking: tuple[LiveMetrics, list[list[Sample]]]
) -> None:
    live, _ = looking
    flow = Workflow(workflow_id="many", steps=tuple(Step(step_id=f"s{number}", tool="noop") for number in range(300)))
    done = watched_run(live, flow, backend=backend, workers=2 if backend != "serial" else 1)
    assert named(live.samples(), "makespan_step_duration_seconds_count") == len(done.timeline.attempts) == 300


def test_a_look_at_a_large_run_adds_up_no_more_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metric_live, "MOST_ATTEMPTS_PER_LOOK", 3)
    seen: list[float] = []
    live = LiveMetrics()

    def look() -> None:
        seen.append(named(live.samples(), "makespan_step_duration_seconds_count"))

    steps = [Step(step_id=f"s{number}", tool="noop") for number in range(20)]
    above = [tuple(one.step_id for one in steps), ("look0",), ("look1",)]
    looks = [Step(step_id=f"look{place}", tool="look", depends_on=names) for place, names in enumerate(above)]
    live.begin_cell("jokes", "serial", {})
    run(Workflow(workflow_id="w", steps=(*steps, *looks)), backend="serial", tools={"look": look}, instruments=[live])
    assert [later - earlier for earlier, later in zip([0.0, *seen], seen, strict=False)] == [3, 3, 3]
    assert named(live.samples(), "makespan_step_duration_seconds_count") == 23


def test_warm_up_and_simulated_runs_are_not_counted() -> None:
    live = LiveMetrics()
    live.begin_nothing()
    ran(workflow(2), instruments=[live])
    live.begin_cell("jokes", "virtual", {})
    ran(workflow(2), backend="virtual", instruments=[live])
    assert live.samples() == []


def test_ten_thousand_steps_have_as_many_samples_as_ten() -> None:
    def labels(steps: int) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
        live = LiveMetrics()
        made = tuple(Step(step_id=f"step-{number}", tool="noop", writes=("x",)) for number in range(steps))
        watched_run(live, Workflow(workflow_id="many", steps=made))
        return set(values(live.samples()))

    assert labels(10_000) == labels(10)


def test_the_numbers_of_the_result_are_shown_once_it_is_there() -> None:
    live = LiveMetrics()
    flow = workflow(2)
    done = watched_run(live, flow)
    cell = result_document([Repetition(done.timeline, done.outputs, done.errors)], executor="threads")
    live.publish(document(cell))
    samples = live.samples()
    assert named(samples, "makespan_run_makespan_seconds") == cell["makespan_seconds"]["median"]
    assert named(samples, "makespan_run_info") == 1
    quiet = LiveMetrics(run_info=False)
    quiet.publish(document(cell))
    assert not [one for one in quiet.samples() if one.name == "makespan_run_info"]


# ---------------------------------------------------------------------- the address


def read(url: str, accept: str = "") -> tuple[str, str]:
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept})) as answer:
        return answer.read().decode(), answer.headers["Content-Type"]


def test_the_address_answers_in_the_format_that_is_asked_for() -> None:
    live = LiveMetrics()
    watched_run(live, workflow(2))
    with Endpoint(0, live.samples) as endpoint:
        plain, plain_type = read(endpoint.url)
        openmetrics, open_type = read(endpoint.url, "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
        # An answer counts once it is wholly sent, which may be a moment after it is read.
        until = time.monotonic() + 30
        while endpoint.scrapes < 2:
            assert time.monotonic() < until
            time.sleep(0.01)
        with pytest.raises(urllib.error.HTTPError, match="404") as refused:
            read(endpoint.url.removesuffix("metrics"))
        refused.value.close()
    assert plain_type.startswith("text/plain")
    assert "# EOF" not in plain
    assert open_type.startswith("application/openmetrics-text")
    assert openmetrics.endswith("# EOF\n")
    names = {sample.name for family in text_string_to_metric_families(plain) for sample in family.samples}
    assert "makespan_step_duration_seconds_bucket" in names


def test_it_listens_on_loopback_alone() -> None:
    with Endpoint(0, list) as endpoint:
        assert endpoint.url == f"http://127.0.0.1:{endpoint.port}/metrics"
        with socket.socket() as other:
            # The same port is free on every other address.
            other.bind(("127.0.0.2", endpoint.port))


def test_it_lingers_until_it_is_read_once_more() -> None:
    with Endpoint(0, list) as endpoint:
        assert not endpoint.linger(0.05)
        reader = threading.Timer(0.1, read, [endpoint.url])
        reader.start()
        assert endpoint.linger(30.0)
        reader.join()


def test_a_port_in_use_is_a_warning_that_names_it() -> None:
    warnings: list[str] = []
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with MetricService(port, run_info=True, warn=warnings.append) as service:
            assert service.url is None
            service.publish(document())
            service.linger()
    (warning,) = warnings
    assert f"port {port} on 127.0.0.1" in warning
    assert "--metrics-port" in warning


def test_a_client_that_goes_away_harms_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with Endpoint(0, list) as endpoint:
        for text in (
            b"",
            b"GET /metrics HTTP/1.1\r\n",
            b"nonsense\r\n\r\n",
            b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        ):
            with socket.create_connection(("127.0.0.1", endpoint.port)) as client:
                client.sendall(text)
        assert read(endpoint.url)[0] == ""
    assert capfd.readouterr() == ("", "")
