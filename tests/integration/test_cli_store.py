"""History, comparisons and reports as people call them: real runs, real files, and what may be wrong with them."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.result import DocumentError, timeline_from_document
from harness.store.run_store import Store, default_store_path
from tests.child_programs import Program
from tests.integration.calling import COMMAND, called, folder, started, the_result
from tests.integration.test_cli_terminal import SLEEPER, on_a_terminal, sleeping, wait_for
from tests.unit.run_documents import document, result

__all__ = ["folder"]

STEADY = [1.0, 1.01, 0.99, 1.005, 0.995, 1.002, 0.998, 1.001]
SLOWER = [1.3 * seconds for seconds in STEADY]


@pytest.fixture(autouse=True)
def own_store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))


def kept(*documents: dict[str, Any]) -> None:
    with Store.open() as store:
        for one in documents:
            store.save(one)


def nights(count: int, times: list[float] = STEADY) -> list[dict[str, Any]]:
    return [
        document(
            result([(1 + night % 3 / 1000) * seconds for seconds in times]), run_id=f"night-{night}",
            started_at=f"2026-01-{night + 1:02}T03:00:00.000+00:00",
        )
        for night in range(count)
    ]  # fmt: skip


def history(*arguments: str) -> list[dict[str, Any]]:
    done = called("history", "--json", "-", *arguments)
    assert done.exit_code == 0, done.output
    return list(json.loads(done.stdout)["runs"])


# ---------------------------------------------------------------------- run keeps


def test_a_run_is_kept_as_the_document_that_json_writes(folder: Path) -> None:
    assert called("run", "joke.yaml", "--json", "out.json").exit_code == 0
    the_result((folder / "out.json").read_text(encoding="utf-8"))
    with Store.open(read_only=True) as store:
        assert store.load("@last") == json.loads((folder / "out.json").read_text(encoding="utf-8"))
    (row,) = history()
    assert (row["scenario"], row["status"], row["cells"], row["repetitions"]) == ("joke", "finished", 1, 1)


def test_a_run_is_kept_where_option_or_configuration_say_or_not_at_all(folder: Path) -> None:
    assert called("run", "joke.yaml", "--no-store").exit_code == 0
    assert not default_store_path().exists()
    assert called("run", "joke.yaml", "-q", "--store", "mine.sqlite").exit_code == 0
    assert len(history("--store", "mine.sqlite")) == 1
    (folder / "config.yaml").write_text("store: {path: theirs.sqlite}\n", encoding="utf-8")
    assert called("run", "joke.yaml").exit_code == 0
    assert len(history()) == 1
    assert (folder / "theirs.sqlite").exists()
    assert not default_store_path().exists()


def test_an_interrupted_run_is_kept_as_far_as_it_came(folder: Path) -> None:
    (folder / "w.yaml").write_text(SLEEPER, encoding="utf-8")
    with Program([*COMMAND, "run", "w.yaml", "-q"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as run:
        assert wait_for(lambda: sleeping(run.pid))
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=60)
    assert run.returncode == 130
    (row,) = history()
    assert row["status"] == "interrupted"
    with Store.open(read_only=True) as store:
        (found,) = store.load("@last")["results"]
    assert [step["status"] for step in found["steps"]] == ["succeeded", "cancelled", "cancelled"]


@pytest.mark.parametrize("where", ["/proc/nothing/runs.sqlite", "joke.yaml"])
def test_a_history_that_cannot_be_used_costs_a_warning_and_not_the_run(
    where: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAKESPAN_STORE__PATH", where)
    done = called("run", "joke.yaml", "--json", "out.json")
    assert done.exit_code == 0
    assert "Summary of joke" in done.stdout
    assert "warning: the run is not in the history: the store" in done.stderr
    assert the_result((folder / "out.json").read_text(encoding="utf-8"))["steps"]
    assert (folder / "joke.yaml").read_text(encoding="utf-8").startswith("\nscenario: joke")


def test_a_store_that_was_named_and_cannot_be_used_is_refused_before_the_run(folder: Path) -> None:
    done = called("run", "joke.yaml", "--store", "joke.yaml/x", "--json", "out.json")
    assert done.exit_code == 2
    assert "joke.yaml/x" in done.stderr
    assert "--no-store" in done.stderr
    assert "Workflow Plan" not in done.stdout
    assert not (folder / "out.json").exists()


def test_a_full_disk_costs_neither_the_run_nor_what_was_kept_before(folder: Path) -> None:
    assert called("run", "joke.yaml").exit_code == 0
    command = " ".join(["ulimit -f 8;", *COMMAND, "run", "joke.yaml"])
    done = subprocess.run(["bash", "-c", command], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Summary of joke" in done.stdout
    assert "not in the history" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(history()) == 1


def test_a_run_that_could_not_be_kept_where_it_should_is_in_a_file(folder: Path) -> None:
    called("run", "joke.yaml", "--store", "s.sqlite")
    # Another program holds the store's lock for longer than any command waits: here, a limit that is reached at once.
    script = "import harness.store.tables as s, harness.store.store_errors as e; s.BUSY_SECONDS = 0.1"
    command = f"{script}; import sys; sys.argv = ['makespan', 'run', 'joke.yaml', '--store', 's.sqlite']"
    holder = sqlite3.connect("s.sqlite", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        done = subprocess.run(
            [COMMAND[0], "-c", f"{command}; from harness.cli import main; main()"],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
    finally:
        holder.execute("ROLLBACK")
        holder.close()
    assert done.returncode == 0, done.stderr
    assert "is busy" in done.stderr
    (file,) = folder.glob("makespan-*.json")
    assert f"the result is in '{file.name}' instead" in done.stderr
    the_result(file.read_text(encoding="utf-8"))


# ---------------------------------------------------------------------- run shows


def test_on_a_terminal_the_summary_draws_the_concurrency_and_says_where_the_run_is(folder: Path) -> None:
    code, text = on_a_terminal("run", "joke.yaml", "--no-progress")
    assert code == 0
    (line,) = [line for line in text.splitlines() if "over time" in line]
    assert "▄" in line or "█" in line
    assert "of 8 workers busy" in line
    assert "makespan report @last" in text
    _, text = on_a_terminal("run", "joke.yaml", "--no-progress", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    (line,) = [line for line in text.splitlines() if "over time" in line]
    assert line.isascii()
    assert "\\" not in line


def test_without_a_terminal_there_is_no_drawing(folder: Path) -> None:
    done = called("run", "joke.yaml", "--no-progress")
    assert "over time" not in done.stdout
    assert "Kept as" not in done.stdout


# ---------------------------------------------------------------------- history


def test_a_history_without_runs_says_so_and_makes_no_store(folder: Path) -> None:
    done = called("history")
    assert done.exit_code == 0
    assert done.stdout.startswith("No runs in ")
    assert not default_store_path().exists()


def test_runs_are_listed_newest_first_and_filtered(folder: Path) -> None:
    kept(
        *nights(3),
        document(result([1.0], backend="asyncio"), run_id="other", scenario="poems", started_at="2026-02-01T03:00:00Z"),
    )
    assert [row["run_id"] for row in history()] == ["other", "night-2", "night-1", "night-0"]
    assert [row["run_id"] for row in history("--scenario", "jokes", "--limit", "2")] == ["night-2", "night-1"]
    assert [row["run_id"] for row in history("--executor", "asyncio")] == ["other"]
    assert [row["run_id"] for row in history("-e", "threads", "--limit", "1")] == ["night-2"]
    assert [row["run_id"] for row in history("--since", "2026-01-02T03:00:00+00:00")] == ["other", "night-2", "night-1"]
    shown = called("history", "--limit", "2").stdout.splitlines()
    assert shown[0].split()[:3] == ["run", "started", "scenario"]
    assert [line.split()[0] for line in shown[1:3]] == ["other", "night-2"]
    assert "--limit" in shown[3]
    assert called("history", "--scenario", "none").stdout.startswith("No runs like that in ")


def test_runs_are_accepted_and_rejected_by_any_name_but_a_path(folder: Path) -> None:
    kept(*nights(3))
    done = called("history", "--accept", "@last", "--accept", "night-0", "--reject", "@last~1")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "run night-2 is accepted", "run night-0 is accepted", "run night-1 is rejected"
    ]  # fmt: skip
    assert [row["verdict"] for row in history()] == ["accepted", "rejected", "accepted"]
    assert called("history", "--accept", "night").exit_code == 2
    assert called("history", "--accept", "@first").exit_code == 2


def test_there_is_nothing_to_accept_where_nothing_was_kept(folder: Path) -> None:
    done = called("history", "--accept", "@last")
    assert done.exit_code == 2
    assert "nothing was kept there yet" in done.stderr
    assert not default_store_path().exists()


@pytest.mark.parametrize("words", ["yesterday", "7x", "", "2026-13-01", "999999w"])
def test_a_time_that_is_none_is_named(words: str, folder: Path) -> None:
    done = called("history", "--since", words)
    assert done.exit_code == 2
    assert "write it like 2026-03-01, 24h, 7d or 2w" in done.stderr


def test_how_long_ago_may_be_said(folder: Path) -> None:
    assert called("run", "joke.yaml", "-q").exit_code == 0
    kept(*nights(1))
    assert [row["scenario"] for row in history("--since", "1h")] == ["joke"]
    assert [row["scenario"] for row in history("--since", " 5000 w")] == ["jokes", "joke"]


# ---------------------------------------------------------------------- compare


def test_a_rerun_passes_and_a_slower_step_fails(folder: Path) -> None:
    first, second = nights(2)
    kept(first, second, document(result(SLOWER), run_id="slow"))
    done = called("compare", "@last~2", "@last~1", "--fail-if", "makespan +5%")
    assert done.exit_code == 0, done.output
    assert "met: makespan +5%" in done.stdout
    done = called("compare", "--fail-if", "makespan +5%", "--json", "c.json", "--markdown", "c.md")
    assert done.exit_code == 3
    assert "NOT MET: makespan +5%" in done.stdout
    assert "slower" in done.stdout
    assert "steps: fetch +" in done.stdout
    found = json.loads((folder / "c.json").read_text(encoding="utf-8"))
    assert [one["verdict"] for one in found["cells"]] == ["slower"]
    assert [one["met"] for one in found["limits"]] == [False]
    assert "**Not met**: `makespan +5%`" in (folder / "c.md").read_text(encoding="utf-8")


def test_a_comparison_without_a_limit_judges_nothing(folder: Path) -> None:
    kept(*nights(1), document(result(SLOWER), run_id="slow"))
    assert called("compare", "night-0", "slow").exit_code == 0


def test_runs_may_be_files_and_folders_and_no_store_is_needed(folder: Path) -> None:
    (folder / "artifacts").mkdir()
    for one in nights(2):
        (folder / "artifacts" / f"{one['run_id']}.json").write_text(json.dumps(one), encoding="utf-8")
    (folder / "slow.json").write_text(json.dumps(document(result(SLOWER), run_id="slow")), encoding="utf-8")
    done = called("compare", "artifacts", "slow.json", "--json", "-", "--fail-if", "makespan +5%")
    assert done.exit_code == 3
    assert json.loads(done.stdout)["before"]["run_id"] == "night-1"
    assert "NOT MET" in done.stderr
    assert not default_store_path().exists()


def test_different_scenarios_and_machines_are_compared_only_by_force(folder: Path) -> None:
    kept(
        document(result(STEADY), run_id="here"),
        document(result(STEADY), run_id="poems", scenario="poems"),
        document(result(STEADY), run_id="there", environment={"cores": 64}),
    )
    for other, words in (("poems", "different scenarios: 'jokes' against 'poems'"), ("there", "cores: 8 against 64")):
        done = called("compare", "here", other)
        assert done.exit_code == 2
        assert words in done.stderr
        assert "--force" in done.stderr
        done = called("compare", "here", other, "--force")
        assert done.exit_code == 0
        assert f"forced: the runs are {'of' if other == 'poems' else 'from'} different" in done.stdout


def test_a_run_is_judged_by_those_that_were_accepted_before_it(folder: Path) -> None:
    runs = nights(16)
    kept(*runs, document(result(SLOWER), run_id="slow", started_at="2026-02-01T03:00:00.000+00:00"))
    arguments = ("compare", "slow", "--against", "median(14)", "--fail-if", "makespan +5%")
    done = called(*arguments)
    assert done.exit_code == 0
    assert "not enough history" in done.stdout
    called("history", *(word for one in runs for word in ("--accept", one["run_id"])))
    done = called(*arguments)
    assert done.exit_code == 3, done.output
    assert "median of 14 accepted runs" in done.stdout
    assert called("compare", "night-15", *arguments[2:]).exit_code == 0
    # What came after a run is no history of it.
    assert "not enough history" in called("compare", "night-3", *arguments[2:]).stdout


def test_a_folder_of_artifacts_serves_as_history(folder: Path) -> None:
    (folder / "nights").mkdir()
    for one in nights(16):
        (folder / "nights" / f"{one['run_id']}.json").write_text(json.dumps(one), encoding="utf-8")
    slow = document(result(SLOWER), run_id="slow", started_at="2026-02-01T03:00:00.000+00:00")
    (folder / "slow.json").write_text(json.dumps(slow), encoding="utf-8")
    arguments = ("--against", "median(14)", "--history", "nights", "--fail-if", "makespan +5%")
    assert called("compare", "slow.json", *arguments).exit_code == 3
    assert called("compare", "nights/night-15.json", *arguments).exit_code == 0
    assert not default_store_path().exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("a", "b", "--fail-if", "makespam +5%"), "did you mean 'makespan'"),
        (("a", "b", "--fail-if", "makespan 5%"), "a sign is missing"),
        (("a", "--against", "mean(14)"), "is no baseline"),
        (("a", "b", "--against", "median(14)"), "give one run alone"),
        (("a", "b", "--history", "x"), "give --against, too"),
        (("a", "b", "--json", "-", "--markdown", "-"), "give one of them a file"),
        (("a", "b", "--json", "missing/x.json"), "there is no folder"),
        (("nothing", "b"), "there is no history of runs"),
        (("joke.yaml", "joke.yaml"), "is no JSON"),
        ((), "there is no history of runs"),
    ],
)
def test_a_comparison_that_makes_no_sense_says_why(arguments: tuple[str, ...], words: str, folder: Path) -> None:
    done = called("compare", *arguments)
    assert done.exit_code == 2
    assert words in done.stderr
    assert "Traceback" not in done.output


# ---------------------------------------------------------------------- report


def test_runs_become_one_page(folder: Path) -> None:
    assert called("run", "joke.yaml", "-q").exit_code == 0
    assert called("run", "joke.yaml", "-q", "-e", "asyncio").exit_code == 0
    done = called("report", "@last~1", "@last", "-o", "both.html")
    assert done.exit_code == 0
    assert done.stdout.startswith("both.html: 2 runs, 2 cells, ")
    text = (folder / "both.html").read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    for label in ("threads@8", "asyncio@8"):
        assert label in text


def test_a_run_becomes_what_other_programs_read(folder: Path) -> None:
    kept(*nights(1))
    assert called("report", "@last", "-f", "perfetto").exit_code == 0
    assert json.loads((folder / "report.json").read_text(encoding="utf-8"))["traceEvents"]
    assert called("report", "@last", "-f", "csv", "-o", "-").stdout.startswith("cell,step_id,attempt,")
    assert called("report", "@last", "-f", "csv", "--table", "cells", "-o", "-").stdout.startswith("cell,scenario,")
    assert called("report", "@last", "-f", "markdown", "-o", "-").stdout.startswith("## jokes\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("@last", "--format", "pdf"), "use html, perfetto, csv or markdown"),
        (("@last", "--format", "htm"), "did you mean 'html'"),
        (("@last", "@last~1", "--format", "csv"), "holds one run, and 2 are named"),
        (("@last", "--table", "cells"), "it is for --format csv"),
        (("@last", "--format", "csv", "--table", "rows"), "one of cells, steps, attempts"),
        (("@last", "-o", "missing/x.html"), "there is no folder"),
        (("@last", "-o", "."), "it is a folder"),
        (("nothing",), "no run is meant by 'nothing'"),
        (("joke.yaml",), "is no JSON"),
    ],
)
def test_a_report_that_cannot_be_written_says_why(arguments: tuple[str, ...], words: str, folder: Path) -> None:
    kept(*nights(2))
    done = called("report", *arguments)
    assert done.exit_code == 2
    assert words in done.stderr
    assert "Traceback" not in done.output
    assert not list(folder.glob("report*"))


def test_a_damaged_document_is_named_and_no_report_is_written(folder: Path) -> None:
    (broken,) = nights(1)
    del broken["results"][0]["steps"][0]["attempts"][0]["ready"]
    with pytest.raises(DocumentError):
        timeline_from_document(broken["results"][0])
    (folder / "broken.json").write_text(json.dumps(broken), encoding="utf-8")
    done = called("report", "broken.json")
    assert done.exit_code == 2
    assert "'broken.json'" in done.stderr
    assert "results[0].steps[0].attempts[0].ready is missing" in done.stderr
    assert not (folder / "report.html").exists()


# ---------------------------------------------------------------------- stores that cannot be used


@pytest.mark.parametrize("command", [("history",), ("compare", "@last~1", "@last"), ("report", "@last")])
def test_a_store_from_a_newer_makespan_is_refused_and_left_as_it_is(command: tuple[str, ...], folder: Path) -> None:
    kept(*nights(2))
    raw = sqlite3.connect(default_store_path())
    raw.execute("PRAGMA user_version = 99")
    raw.close()
    before = default_store_path().read_bytes()
    done = started(*command)
    assert done.returncode == 2
    assert "written by a newer makespan" in done.stderr
    assert "Traceback" not in done.stderr
    assert default_store_path().read_bytes() == before


@pytest.mark.parametrize("command", [("history",), ("compare", "@last~1", "@last"), ("report", "@last")])
def test_a_store_that_was_named_has_to_be_there(command: tuple[str, ...], folder: Path) -> None:
    for name, words in (("none.sqlite", "there is no store"), ("joke.yaml", "is no SQLite database")):
        done = called(*command, "--store", name)
        assert done.exit_code == 2
        assert words in done.stderr
    assert not (folder / "none.sqlite").exists()
