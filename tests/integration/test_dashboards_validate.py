"""``makespan dashboards validate`` against a real Prometheus that holds real runs."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.dashboards.grafana.dashboard_files import dashboards_of
from harness.store.run_store import Store
from harness.telemetry.prometheus.textfile import write_textfile
from tests.integration.calling import called, folder, started
from tests.integration.dashboards_runs import JOBS, bench_folder, benched, pushed, stored
from tests.integration.prometheus_server import PrometheusServer, running_prometheus
from tests.integration.serving_files import serving

__all__ = ["bench_folder", "folder"]

# A real server, and a benchmark to fill it.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(bench_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """One that holds the benches."""
    with running_prometheus(tmp_path_factory.mktemp("prometheus")) as running:
        pushed(running.url, stored(bench_folder))
        yield running


@pytest.fixture
def by_hand(tmp_path: Path) -> Callable[[str, str, str], str]:
    """A copy of the dashboards, in one of which a text is replaced everywhere."""

    def edited(name: str, old: str, new: str) -> str:
        place = tmp_path / "by-hand"
        shutil.copytree(dashboards_of("own"), place, dirs_exist_ok=True)
        text = (place / name).read_text("utf-8")
        assert old in text
        (place / name).write_text(text.replace(old, new), "utf-8")
        return str(place)

    return edited


def validated(server: PrometheusServer, bench_folder: Path, *arguments: str) -> tuple[int, str]:
    done = called(
        "dashboards", "validate", "--url", server.url, "--store", str(bench_folder / "runs.sqlite"), *arguments
    )
    return done.exit_code, done.output


def test_every_panel_shows_the_numbers_of_the_stored_runs(server: PrometheusServer, bench_folder: Path) -> None:
    status, said = validated(server, bench_folder)
    assert status == 0, said
    assert "nothing is wrong" in said
    assert "note:" not in said


def test_the_shared_profile_holds_for_the_same_server(server: PrometheusServer, bench_folder: Path) -> None:
    status, said = validated(server, bench_folder, "--profile", "shared")
    assert status == 0, said


def test_a_metric_that_is_renamed_in_a_panel_exits_1(
    server: PrometheusServer, bench_folder: Path, by_hand: Callable[[str, str, str], str]
) -> None:
    edited = by_hand("trends.json", "makespan_run_lower_bound_seconds", "makespan_run_lowest_bound_seconds")
    status, said = validated(server, bench_folder, "--dashboards", edited)
    assert status == 1
    assert (
        "there is no metric makespan_run_lowest_bound_seconds: did you mean 'makespan_run_lower_bound_seconds'?" in said
    )
    assert "it would stay empty" in said


def test_a_panel_that_asks_for_another_number_than_it_says_exits_1(
    server: PrometheusServer, bench_folder: Path, by_hand: Callable[[str, str, str], str]
) -> None:
    makespan = "last_over_time(makespan_run_makespan_seconds{"
    edited = by_hand("one-run.json", makespan, f"2 * {makespan}")
    status, said = validated(server, bench_folder, "--dashboards", edited)
    assert status == 1
    assert "'How long did it take?'" in said
    assert "the JSON of the run says" in said


def test_a_panel_that_would_stay_empty_exits_1(
    server: PrometheusServer, bench_folder: Path, by_hand: Callable[[str, str, str], str]
) -> None:
    edited = by_hand("one-run.json", "sum by (reason) (last", 'sum by (reason) (none{x=\\"y\\"} * last')
    status, said = validated(server, bench_folder, "--dashboards", edited)
    assert status == 1
    assert "'Why were attempts repeated?'" in said
    assert "it would stay empty with scenario jobs" in said


def test_a_query_that_the_server_refuses_exits_1(
    server: PrometheusServer, bench_folder: Path, by_hand: Callable[[str, str, str], str]
) -> None:
    edited = by_hand("executors-compared.json", "count(last", "count without (last")
    status, said = validated(server, bench_folder, "--dashboards", edited)
    assert status == 1
    assert "it is no PromQL" in said
    assert "the server refuses its query" in said


def test_a_run_that_was_changed_after_it_was_sent_is_found(
    server: PrometheusServer, bench_folder: Path, tmp_path: Path
) -> None:
    documents = stored(bench_folder)
    documents[-1]["results"][1]["lost_seconds"]["running"] *= 1.001
    with Store.open(tmp_path / "changed.sqlite") as store:
        for document in documents:
            store.save(document)
    done = called("dashboards", "validate", "--url", server.url, "--store", str(tmp_path / "changed.sqlite"))
    assert done.exit_code == 1
    assert "'Where does the time go?'" in done.output


def test_a_single_run_after_a_benchmark_of_the_same_cell_is_shown_as_it_is(bench_folder: Path, tmp_path: Path) -> None:
    """It measures no speedup, has nothing to wait for, and is where the benchmark was."""
    shutil.copy(bench_folder / "runs.sqlite", tmp_path)
    (tmp_path / "jobs.yaml").write_text(JOBS.replace("capacity: 1", "capacity: 2"), encoding="utf-8")
    done = started(
        "run", str(tmp_path / "jobs.yaml"), "--executor", "threads", "--workers", "2", "--quiet", "--store",
        str(tmp_path / "runs.sqlite"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with running_prometheus(tmp_path / "prometheus") as own:
        pushed(own.url, stored(tmp_path))
        status, said = validated(own, tmp_path)
    assert status == 0, said


def test_runs_that_one_side_alone_holds_are_told_and_not_compared(
    server: PrometheusServer, bench_folder: Path, tmp_path: Path
) -> None:
    documents = stored(bench_folder)
    with Store.open(tmp_path / "part.sqlite") as store:
        store.save(documents[0])
        store.save(documents[0] | {"run_id": "never-sent"})
    done = called("dashboards", "validate", "--url", server.url, "--store", str(tmp_path / "part.sqlite"))
    assert done.exit_code == 0, done.output
    assert "1 stored runs are not on the server" in done.output
    assert "runs of 6 cells that are not in the store" in done.output


def test_a_server_that_holds_nothing_exits_1_and_says_what_to_do(bench_folder: Path, tmp_path: Path) -> None:
    with running_prometheus(tmp_path) as empty:
        status, said = validated(empty, bench_folder)
    assert status == 1
    assert "the server holds no run\n    fix: send the stored runs: `makespan dashboards push --all`" in said


def test_no_server_no_profile_and_no_folder_exit_2(folder: Path) -> None:
    done = called("dashboards", "validate", "--url", "http://user:secret@127.0.0.1:9")
    assert done.exit_code == 2
    assert "there is no Prometheus at http://***@127.0.0.1:9" in done.output
    assert "secret" not in done.output
    done = called("dashboards", "validate", "--profile", "owned")
    assert done.exit_code == 2
    assert "did you mean 'own'?" in done.output
    done = called("dashboards", "validate", "--dashboards", "nowhere")
    assert done.exit_code == 2
    assert "there is no folder 'nowhere'" in done.output


def test_what_is_no_prometheus_exits_2(folder: Path, bench_folder: Path) -> None:
    with serving(bench_folder) as url:
        done = called("dashboards", "validate", "--url", url)
    assert done.exit_code == 2
    assert "is no Prometheus" in done.output


def test_offline_no_server_is_asked(folder: Path, by_hand: Callable[[str, str, str], str]) -> None:
    done = called("dashboards", "validate", "--offline", "--url", "http://127.0.0.1:9")
    assert done.exit_code == 0, done.output
    assert "no server was asked: nothing is wrong" in done.output
    edited = by_hand("one-run.json", "How long did it take?", "Makespan")
    done = called("dashboards", "validate", "--offline", "--dashboards", edited)
    assert done.exit_code == 1
    assert "its title is no question" in done.output


def test_a_file_that_is_no_json_exits_1(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "broken.json").write_text("{", "utf-8")
    done = called("dashboards", "validate", "--offline", "--dashboards", str(tmp_path / "mine"))
    assert done.exit_code == 1
    assert "it cannot be read" in done.output


def test_a_shared_prometheus_with_default_flags_shows_a_text_file_on_every_panel(tmp_path: Path) -> None:
    documents: list[dict[str, Any]] = benched(tmp_path)
    (tmp_path / "served").mkdir()
    write_textfile(documents, tmp_path / "served" / "makespan.prom")
    with serving(tmp_path / "served") as url:
        config = json.dumps(
            {
                "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
                "scrape_configs": [
                    {
                        "job_name": "node", "metrics_path": "/makespan.prom",
                        "static_configs": [{"targets": [url.removeprefix("http://")]}],
                    }
                ],
            }
        )  # fmt: skip
        with running_prometheus(tmp_path / "prometheus", profile="shared", config=config) as server:
            until = time.monotonic() + 30
            while not server.query("makespan_run_makespan_seconds"):
                assert time.monotonic() < until, "the text file was not scraped"
                time.sleep(0.2)
            time.sleep(2)  # two scrapes more, so that a window of the shared profile holds several
            status, said = validated(server, tmp_path, "--profile", "shared")
    assert status == 0, said
