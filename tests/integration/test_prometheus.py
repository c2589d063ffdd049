"""Runs in a real Prometheus: pushed, scraped, and read from a text file. What a query answers is what the JSON says."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial, partialmethod
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from harness.telemetry.metrics.live_metrics import LiveMetrics
from harness.telemetry.metrics.metric_table import FAMILIES
from harness.telemetry.prometheus.endpoint import Endpoint
from harness.telemetry.prometheus.exposition import text_of
from harness.telemetry.prometheus.prometheus_push import Prometheus, Pushed, push_runs
from harness.telemetry.prometheus.server_flags import prometheus_config
from tests.integration.calling import called, folder, started
from tests.integration.otlp_receiver import OtlpReceiver
from tests.integration.prometheus_server import (
    PrometheusServer,
    empty_prometheus,
    free_port,
    prometheus,
    require,
    running_prometheus,
)
from tests.unit.metric_documents import TRACE_ID, ran, run_document_of, workflow
from tests.unit.run_documents import document, result

__all__ = ["empty_prometheus", "folder", "prometheus"]

# Each asks a real server.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
CELL = ("executor", "workers", "policy", "variant")


def pushed(server: PrometheusServer, *documents: dict[str, Any]) -> list[Pushed | str]:
    with Prometheus(server.url, timeout_seconds=20) as target:
        return list(push_runs(documents, target))


def by_cell(found: Sequence[dict[str, Any]]) -> dict[tuple[str, ...], float]:
    return {tuple(one["metric"][name] for name in CELL): float(one["value"][1]) for one in found}


def at(moment: datetime, **more: Any) -> dict[str, Any]:
    """A short real run that began then."""
    return run_document_of(workflow(2), started_at=moment.isoformat(timespec="microseconds"), **more)


# ---------------------------------------------------------------------- done when


def test_a_pushed_benchmark_answers_with_the_values_of_its_json(folder: Path, prometheus: PrometheusServer) -> None:
    scenario = str(ROOT / "scenarios" / "joke_translations.yaml")
    benched = called("bench", scenario, "--repetitions", "3", "--json", "b.json", "--set", "scale=0.02", "-q")
    assert benched.exit_code in (0, 3), benched.output
    sent = called("dashboards", "push", "--all", "--url", prometheus.url)
    assert sent.exit_code == 0, sent.output
    assert "1 run sent" in sent.output
    results = json.loads((folder / "b.json").read_text())["results"]
    found = by_cell(prometheus.query('last_over_time(makespan_run_speedup_ratio{scenario="joke_translations"}[1h])'))
    assert found == {
        (one["executor"], str(one["workers"]), one["policy"], "scale=0.02"): one["speedup_ratio"]["median"]
        for one in results
    }
    assert len(found) == 9


def test_two_policies_and_two_values_are_four_series_equal_to_the_json(
    folder: Path, prometheus: PrometheusServer
) -> None:
    (folder / "four.yaml").write_text(
        """
scenario: four_series
inputs: {n: 2}
steps:
  - {step_id: first, tool: sleep, args: {seconds: 0.01}}
  - {step_id: second, tool: sleep, parallel_group: 1, args: {seconds: 0.02}}
  - {step_id: third, tool: sleep, args: {seconds: "{{ inputs.n * 0.01 }}"}, depends_on: [first]}
""",
        encoding="utf-8",
    )
    benched = called(
        "bench", "four.yaml", "-e", "threads", "-w", "4", "-p", "dataflow,barrier", "--parameter", "n=2,3",
        "--repetitions", "3", "--json", "four.json", "--quiet",
    )  # fmt: skip
    assert benched.exit_code == 0, benched.output
    assert called("dashboards", "push", "@last", "--url", prometheus.url, "--quiet").output == ""
    results = [one for one in json.loads((folder / "four.json").read_text())["results"] if one["executor"] == "threads"]
    for metric, value in (
        ("makespan_run_makespan_seconds", lambda one: one["makespan_seconds"]["median"]),
        ("makespan_run_speedup_ratio", lambda one: one["speedup_ratio"]["median"]),
        ("makespan_run_lower_bound_seconds", lambda one: one["lower_bound_seconds"]),
        ("makespan_run_schedule_efficiency_ratio", lambda one: one["schedule_efficiency_ratio"]),
        ("makespan_steps_running", lambda one: float(one["concurrency"]["max"])),
    ):
        found = by_cell(prometheus.query(f'max_over_time({metric}{{scenario="four_series",executor="threads"}}[1h])'))
        expected = {("threads", "4", one["policy"], f"n={one['parameters']['n']}"): value(one) for one in results}
        assert found == expected, metric
        assert len(found) == 4
    lost = prometheus.query('last_over_time(makespan_run_lost_seconds{scenario="four_series",executor="threads"}[1h])')
    shown = {(one["metric"]["policy"], one["metric"]["variant"], one["metric"]["cause"]): float(one["value"][1])
            for one in lost if float(one["value"][1])}  # fmt: skip
    assert shown == {
        (one["policy"], f"n={one['parameters']['n']}", cause): seconds
        for one in results for cause, seconds in one["lost_seconds"].items()
    }  # fmt: skip


def test_the_curve_of_a_run_lies_where_it_ran_and_ends_with_it(prometheus: PrometheusServer) -> None:
    begin = datetime.now(UTC) - timedelta(days=3)
    whole = document(
        result([4.0]), scenario="curve", started_at=begin.isoformat(), run_id="curve", environment={"machine": "m"}
    )
    assert isinstance(pushed(prometheus, whole)[0], Pushed)
    seconds = begin.timestamp()
    (curve,) = prometheus.query_range('makespan_steps_running{scenario="curve"}', seconds - 5, seconds + 10, 0.5)
    places = {float(when) - seconds: float(value) for when, value in curve["values"]}
    # It is 1 while it runs, and there is nothing after it: no value reaches into what comes later.
    assert {value for when, value in places.items() if when < 3.9} == {1.0}
    assert min(places) >= -0.001
    assert max(places) < 4.6
    totals = prometheus.query(
        'last_over_time(makespan_step_duration_seconds_count{scenario="curve"}[1h])', at=seconds + 9
    )
    assert [one["value"][1] for one in totals] == ["1"]


# ---------------------------------------------------------------------- any order, any number of times


BEGIN = datetime.now(UTC) - timedelta(days=40)


@pytest.fixture(scope="module")
def nights() -> list[dict[str, Any]]:
    return [at(BEGIN + timedelta(days=7 * night), run_id=f"night-{night}") for night in range(4)]


@pytest.fixture(scope="module")
def in_order(nights: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with running_prometheus(tmp_path_factory.mktemp("in-order")) as server:
        pushed(server, *nights)
        return server.everything()


@settings(
    max_examples=6, deadline=None, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(order=st.permutations(range(4)), again=st.lists(st.integers(0, 3), max_size=3))
def test_runs_in_any_order_and_more_than_once_leave_the_same_samples(
    nights: list[dict[str, Any]],
    in_order: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
    order: list[int],
    again: list[int],
) -> None:
    with running_prometheus(tmp_path_factory.mktemp("any-order")) as server:
        for number in [*order, *again]:
            assert isinstance(pushed(server, nights[number])[0], Pushed)
        assert server.everything() == in_order
        # What a query sees includes where series end.
        when = BEGIN.timestamp() + 7 * 86_400
        (running,) = server.query_range("sum(makespan_steps_running)", when - 10, when + 10, 0.25)
        assert 0 < len(running["values"]) < 12


def test_a_run_that_is_two_years_younger_does_not_push_the_older_out(empty_prometheus: PrometheusServer) -> None:
    now = datetime.now(UTC)
    young, old = at(now, run_id="young"), at(now - timedelta(days=700), run_id="old")
    assert all(isinstance(one, Pushed) for one in pushed(empty_prometheus, young, old))
    infos = empty_prometheus.query("last_over_time(makespan_run_info[2y])")
    assert {one["metric"]["run_id"] for one in infos} == {"young", "old"}


# ---------------------------------------------------------------------- from a bucket to its trace


def test_exemplars_lead_from_a_bucket_to_the_trace(empty_prometheus: PrometheusServer) -> None:
    now = datetime.now(UTC)
    pushed(empty_prometheus, at(now))
    found = empty_prometheus.exemplars(
        "makespan_step_duration_seconds_bucket", now.timestamp() - 60, now.timestamp() + 60
    )
    assert {one["labels"]["trace_id"] for series in found for one in series["exemplars"]} == {TRACE_ID}


def test_of_an_older_run_the_server_keeps_no_exemplars_and_run_info_leads_to_its_trace(
    empty_prometheus: PrometheusServer,
) -> None:
    now = datetime.now(UTC)
    pushed(empty_prometheus, at(now, run_id="young"))
    pushed(empty_prometheus, at(now - timedelta(days=1), run_id="old", trace_id="f" * 32))
    seconds = now.timestamp() - 86_400
    buckets = "makespan_step_duration_seconds_bucket"
    # The same buckets have newer ones: Prometheus drops what is older (its log alone says so).
    kept = {
        one["labels"]["trace_id"]
        for series in empty_prometheus.exemplars(buckets, seconds - 60, seconds + 60) for one in series["exemplars"]
    }  # fmt: skip
    newer = empty_prometheus.exemplars(buckets, now.timestamp() - 60, now.timestamp() + 60)
    assert newer
    assert kept <= {"f" * 32}
    infos = empty_prometheus.query("last_over_time(makespan_run_info[2d])")
    assert {(one["metric"]["run_id"], one["metric"]["trace_id"]) for one in infos} == {
        ("young", TRACE_ID), ("old", "f" * 32),
    }  # fmt: skip


# ---------------------------------------------------------------------- servers that do not take it


def test_a_server_without_the_flag_is_told_by_the_flag_and_the_other_profile(folder: Path, tmp_path: Path) -> None:
    Path("run.json").write_text(json.dumps(document(result([1.0]))), encoding="utf-8")
    with running_prometheus(tmp_path / "p", profile="shared") as server:
        refused = started("dashboards", "push", "run.json", "--url", server.url)
    assert refused.returncode == 2
    assert "--web.enable-remote-write-receiver" in refused.stderr
    assert "--profile shared" in refused.stderr
    assert refused.stdout == ""


def test_a_run_older_than_what_is_kept_is_an_error_that_says_how_old(tmp_path: Path) -> None:
    old, young = at(datetime.now(UTC) - timedelta(days=100), run_id="old"), at(datetime.now(UTC), run_id="young")
    with running_prometheus(tmp_path, arguments=["--storage.tsdb.retention.time=15d"]) as server:
        found = pushed(server, old, young)
    assert "run old ended 100 days ago" in str(found[0])
    assert "it keeps 15 days" in str(found[0])
    assert "--storage.tsdb.retention.time=2y" in str(found[0])
    assert isinstance(found[1], Pushed)


def test_a_server_that_takes_only_what_is_newer_is_told_by_its_setting(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    with running_prometheus(tmp_path, config="global: {}\n") as server:
        found = pushed(server, at(now), at(now - timedelta(days=3), run_id="older"))
    assert isinstance(found[0], Pushed)
    assert "out_of_order_time_window" in str(found[1])


def test_pushing_after_a_run_sends_it_and_a_failure_leaves_the_exit_status(
    folder: Path, prometheus: PrometheusServer
) -> None:
    (folder / "quick.yaml").write_text("scenario: quick\nsteps: [{step_id: a, tool: noop}]\n", encoding="utf-8")
    words = f"telemetry: {{prometheus: {{push: true, url: '{prometheus.url}'}}}}\n"
    (folder / "config.yaml").write_text(words, encoding="utf-8")
    assert called("run", "quick.yaml", "-q").output == ""
    assert called("bench", "quick.yaml", "-e", "threads", "-n", "2", "-q").output == ""
    query = 'sum by (result) (last_over_time(makespan_runs_total{scenario="quick",executor="threads"}[1h]))'
    results = {one["metric"]["result"]: one["value"][1] for one in prometheus.query(query)}
    assert results == {"succeeded": "2", "failed": "0", "interrupted": "0"}
    infos = prometheus.query('last_over_time(makespan_run_info{scenario="quick",executor="threads"}[1h])')
    assert len({one["metric"]["run_id"] for one in infos}) == 2
    (folder / "config.yaml").write_text(words.replace(prometheus.url, "http://127.0.0.1:1"), encoding="utf-8")
    for command in (["run", "quick.yaml"], ["bench", "quick.yaml", "-e", "threads", "-n", "1"]):
        failed = started(*command, "-q")
        assert failed.returncode == 0
        assert failed.stderr.startswith("warning: metrics were not sent: there is no Prometheus at http://127.0.0.1:1")


# ---------------------------------------------------------------------- scraped


@pytest.fixture
def patient_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a command waits for a last look as long as a busy machine may take for it."""
    monkeypatch.setattr(Endpoint, "linger", partialmethod(Endpoint.linger, 60.0))


# A step that ends once the server has seen two that run and two that are ready.
UNTIL_SEEN = """
import json, sys, time, urllib.parse, urllib.request
most = "max_over_time(makespan_steps_{}[1h]) == 2"
query = urllib.parse.quote(f"{most.format('running')} and {most.format('ready')}")
until = time.monotonic() + 60
while time.monotonic() < until:
    with urllib.request.urlopen(f"{sys.argv[1]}/api/v1/query?query={query}") as answer:
        if json.load(answer)["data"]["result"]:
            sys.exit()
    time.sleep(0.1)
sys.exit("they were not seen")
"""


@pytest.mark.usefixtures("patient_end")
def test_a_run_that_is_scraped_every_second_is_seen_to_its_end(folder: Path, tmp_path: Path) -> None:
    port = free_port()
    (folder / "until_seen.py").write_text(UNTIL_SEEN, encoding="utf-8")
    with running_prometheus(tmp_path / "p", config=prometheus_config(scrape_port=port)) as server:
        # A server that has just started takes some seconds to look at its targets.
        until = time.monotonic() + 60
        while not server.query("up"):
            assert time.monotonic() < until
            time.sleep(0.1)
        argv = json.dumps([sys.executable, "until_seen.py", server.url])
        (folder / "scraped.yaml").write_text(
            f"scenario: scraped\nsteps: [{{step_id: s, copies: 4, tool: command, args: {{argv: {argv}}}}}]\n", "utf-8"
        )
        ran_ = called(
            "run", "scraped.yaml", "-w", "2", "--metrics-port", str(port), "--json", "s.json", "--no-store",
            "--no-progress", "--trace-file", "t.jsonl",
        )  # fmt: skip
        assert ran_.exit_code == 0, ran_.output
        assert f"Metrics: http://127.0.0.1:{port}/metrics" in ran_.stderr
        assert "warning" not in ran_.stderr
        (cell,) = json.loads((folder / "s.json").read_text())["results"]
        values = {
            name: [one["value"][1] for one in server.query(f"max_over_time({name}[1h])")]
            for name in (
                "makespan_steps_running", "makespan_steps_ready", "makespan_run_makespan_seconds",
                "makespan_step_duration_seconds_count", "makespan_workers",
            )
        }  # fmt: skip
        assert values == {
            "makespan_steps_running": ["2"],
            "makespan_steps_ready": ["2"],
            "makespan_run_makespan_seconds": [str(cell["makespan_seconds"]["median"])],
            "makespan_step_duration_seconds_count": ["4"],
            "makespan_workers": ["2"],
        }
        now = time.time()
        exemplars = server.exemplars("makespan_step_duration_seconds_bucket", now - 3600, now + 60)
        assert {one["labels"]["trace_id"] for series in exemplars for one in series["exemplars"]} == {cell["trace_id"]}


def test_a_port_in_use_is_a_warning_and_the_run_goes_on(folder: Path) -> None:
    (folder / "quick.yaml").write_text("scenario: quick\nsteps: [{step_id: a, tool: noop}]\n", encoding="utf-8")
    with serving(folder) as url:
        port = url.rpartition(":")[2]
        ran = started("run", "quick.yaml", "-q", "--no-store", "--metrics-port", port)
    assert ran.returncode == 0
    assert ran.stderr.startswith(f"warning: metrics are not served: port {port} on 127.0.0.1")


# ---------------------------------------------------------------------- the profile `shared`


@contextmanager
def serving(path: Path) -> Iterator[str]:
    """The files of a folder, as the node exporter would show a text file of its own."""

    class Handler(SimpleHTTPRequestHandler):
        extensions_map = {".prom": "text/plain; version=0.0.4"}  # noqa: RUF012 - as in the base class

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(path)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_shared_server_reads_the_text_file_and_finds_the_trace_of_a_run(folder: Path, tmp_path: Path) -> None:
    whole = at(datetime.now(UTC) - timedelta(days=300), run_id="long-ago")
    (folder / "run.json").write_text(json.dumps(whole), encoding="utf-8")
    target = folder / "served" / "makespan.prom"
    target.parent.mkdir()
    written = called("dashboards", "push", "run.json", "--profile", "shared", "--textfile", str(target))
    assert written.exit_code == 0, written.output
    assert "1 cell" in written.output
    checked = subprocess.run(
        [require("promtool"), "check", "metrics"], input=target.read_bytes(), capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
    with serving(target.parent) as url:
        config = (
            "scrape_configs: [{job_name: node, metrics_path: /makespan.prom, scrape_interval: 1s, static_configs: "
            f"[{{targets: ['{url.removeprefix('http://')}']}}]}}]\n"
        )
        with running_prometheus(tmp_path / "p", profile="shared", config=config) as server:
            until = time.monotonic() + 60
            while not (found := server.query("makespan_run_makespan_seconds")):
                assert time.monotonic() < until
                time.sleep(0.1)
            (info,) = server.query("makespan_run_info")
    (cell,) = whole["results"]
    assert [one["value"][1] for one in found] == [str(cell["makespan_seconds"]["median"])]
    assert (info["metric"]["run_id"], info["metric"]["trace_id"]) == ("long-ago", TRACE_ID)


def test_promtool_finds_nothing_wrong_with_what_is_served(folder: Path) -> None:
    live = LiveMetrics()
    live.begin_cell("jokes", "threads", {"topic": 'a "quoted" one'})
    ran(workflow(4), instruments=[live])
    live.publish(document(result([1.0], baselines=[2.0])))
    text = text_of(live.samples())
    assert text.count("# TYPE") == len(FAMILIES)
    checked = subprocess.run(
        [require("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_command_says_what_is_missing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "nothing-was-kept"))
    (folder / "r.json").write_text(json.dumps(document(result([1.0]))), encoding="utf-8")
    for arguments, words in (
        ([], "name the runs to send"),
        (["--all"], "there are no runs"),
        (["@last", "--all"], "name none beside it"),
        (["--all", "--profile", "owns"], "did you mean 'own'"),
        (["--all", "--textfile", "x.prom"], "--textfile is for --profile shared"),
        (["--all", "--store", "nowhere.sqlite"], "nowhere.sqlite"),
        (["r.json", "--profile", "shared"], "name it with --textfile FILE"),
    ):
        refused = called("dashboards", "push", *arguments)
        assert refused.exit_code == 2, arguments
        assert words in refused.stderr, arguments


def test_traces_are_sent_too_even_where_there_is_no_prometheus(folder: Path) -> None:
    whole = at(datetime.now(UTC))
    (folder / "run.json").write_text(json.dumps(whole), encoding="utf-8")
    with OtlpReceiver() as receiver:
        (folder / "config.yaml").write_text(f"telemetry: {{endpoint: '{receiver.endpoint}'}}\n", encoding="utf-8")
        refused = called("dashboards", "push", "run.json", "--url", "http://127.0.0.1:1", "--quiet")
        spans = receiver.received.spans
    assert refused.exit_code == 2
    assert {span.trace_id.hex() for span in spans} == {TRACE_ID}
    assert refused.stdout == ""


@pytest.mark.parametrize("command", ["run", "bench"])
def test_spans_that_were_lost_are_counted(folder: Path, prometheus: PrometheusServer, command: str) -> None:
    name = f"lost_{command}"
    (folder / "lost.yaml").write_text(f"scenario: {name}\nsteps: [{{step_id: a, tool: noop}}]\n", encoding="utf-8")
    (folder / "config.yaml").write_text(
        "telemetry: {endpoint: 'http://127.0.0.1:1', timeout_seconds: 1, "
        f"prometheus: {{push: true, url: '{prometheus.url}'}}}}\n",
        encoding="utf-8",
    )
    ran_ = called(
        command, "lost.yaml", *(["-n", "1", "-e", "threads"] if command == "bench" else []), "--no-store", "-q"
    )
    assert ran_.exit_code == 0, ran_.output
    (lost,) = prometheus.query(f'sum(last_over_time(makespan_telemetry_lost_total{{scenario="{name}"}}[1h]))')
    assert int(lost["value"][1]) >= 2


@pytest.mark.usefixtures("patient_end")
def test_a_benchmark_that_is_scraped_counts_its_repetitions_and_ends_with_the_numbers_of_its_json(
    folder: Path,
) -> None:
    (folder / "quick.yaml").write_text(
        "scenario: quick\nsteps: [{step_id: a, tool: sleep, args: {seconds: 0.02}}]\n", encoding="utf-8"
    )
    port = free_port()
    seen: list[str] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.05):
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                seen.append(answer.read().decode())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        ran_ = called(
            "bench", "quick.yaml", "-e", "threads", "-w", "2", "-n", "3", "--metrics-port", str(port),
            "--json", "q.json", "--no-store", "-q",
        )  # fmt: skip
    finally:
        ended.set()
        thread.join()
    assert (ran_.exit_code, ran_.stderr) == (0, "")
    last = {
        (one.name, one.labels["executor"], one.labels.get("result")): one.value
        for family in text_string_to_metric_families(seen[-1])
        for one in family.samples
    }
    for executor in ("serial", "threads"):
        (cell,) = [one for one in json.loads((folder / "q.json").read_text())["results"] if one["executor"] == executor]
        assert last["makespan_runs_total", executor, "succeeded"] == 3
        assert last["makespan_step_duration_seconds_count", executor, None] == 3
        assert last["makespan_run_speedup_ratio", executor, None] == cell["speedup_ratio"]["median"]
