"""The store: what is kept, what a reference means, and what happens when things go wrong. Real files and processes."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from harness.result import run_schema
from harness.result.cell_key import Cell, cell_of
from harness.statistics import interval
from harness.store.run_references import load_all, load_reference, stored_run
from harness.store.run_store import Store, default_store_path
from harness.store.store_errors import StoreError
from tests.unit.run_documents import ENVIRONMENT, document, result

ROOT = Path(__file__).resolve().parents[2]
REVISION = ENVIRONMENT["revision"]


def head(run_id, **more):
    whole = document(run_id=run_id, **more)
    del whole["results"]
    return whole


def parts(times, **more):
    """(cell, sample, result of this repetition alone) for each time."""
    singles = [result([seconds], **more) for seconds in times]
    return [(cell_of(one, "jokes"), one["samples"][0], one) for one in singles]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "runs.sqlite"


@pytest.fixture
def store(path):
    with Store.open(path) as opened:
        yield opened


def test_a_run_comes_back_as_it_was_kept(store):
    whole = document(result([1.0, 1.1, 1.2]), result([2.0], workers=1))
    store.save(whole)
    assert store.load("run-1") == whole


def test_only_the_user_may_read_the_store(store, path):
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_the_store_lies_in_the_users_data_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_store_path() == tmp_path / "makespan" / "runs.sqlite"
    with Store.open() as opened:
        assert opened.path.is_file()


def test_results_are_there_as_soon_as_they_come(store, path):
    run_id = store.begin_run(head("abc"))
    for number, (cell, sample, single) in enumerate(parts([1.0, 3.0, 2.0]), start=1):
        store.add_sample(run_id, cell, number, sample, single)
        with Store.open(path, read_only=True) as other:
            assert len(other.load("abc")["results"][0]["samples"]) == number


def test_an_unfinished_run_is_a_whole_document(store):
    run_id = store.begin_run(head("abc"))
    times, baselines = [1.0, 3.0, 2.0, 4.0], [2.0, 6.0, 4.0, 8.0]
    for number, seconds in enumerate(times, start=1):
        single = result([seconds], baselines=[baselines[number - 1]])
        store.add_sample(run_id, cell_of(single, "jokes"), number, single["samples"][0], single)
        serial = result([baselines[number - 1]], workers=1, backend="serial")
        store.add_sample(run_id, cell_of(serial, "jokes"), number, serial["samples"][0], serial)
    found = store.load("@last")
    Draft202012Validator(run_schema()).validate(found)
    threads, serial = found["results"]
    assert [sample["makespan_seconds"] for sample in threads["samples"]] == times
    assert threads["repetitions"] == 4
    assert threads["makespan_seconds"] == {"median": 2.5, "ci95": list(interval(times).ci95)}
    assert threads["speedup_ratio"] == {"median": 2.0, "ci95": [2.0, 2.0]}
    assert threads["speedup_verdict"] == "faster"
    assert threads["efficiency_ratio"] == 0.5
    assert threads["work_seconds"] == 2.0  # of the repetition with the lower median makespan
    assert serial["speedup_ratio"] is None
    (row,) = store.history()
    assert (row.status, row.cells, row.repetitions) == ("unfinished", 2, 8)


def test_a_repetition_without_its_whole_result_still_counts(store):
    store.begin_run(head("abc"))
    for number, (cell, sample, single) in enumerate(parts([1.0, 3.0, 2.0]), start=1):
        store.add_sample("abc", cell, number, sample, single if number == 1 else None)
    (found,) = store.load("abc")["results"]
    assert found["repetitions"] == 3
    assert found["makespan_seconds"]["median"] == 2.0
    assert found["work_seconds"] == 1.0


def test_the_whole_document_takes_the_place_of_single_repetitions(store, path):
    store.begin_run(head("abc"))
    ((cell, sample, single),) = parts([1.0])
    store.add_sample("abc", cell, 1, sample, single)
    whole = document(result([1.0]), run_id="abc")
    store.finish_run("abc", whole)
    assert store.load("abc") == whole
    assert store.history()[0].status == "finished"
    with sqlite3.connect(path) as raw:
        assert raw.execute("SELECT COUNT(*) FROM samples").fetchone() == (0,)
    raw.close()


def test_a_benchmark_that_goes_on_has_its_repetitions_and_each_may_be_stored_again(store):
    words = {"request": {"seed": 7}}
    store.begin_run(head("abc"), words)
    ((cell, sample, single),) = parts([1.0])
    store.add_sample("abc", cell, 1, {**sample, "baseline_seconds": None}, single, {"cell": 0})
    store.finish_run("abc", document(result([1.0])), status="interrupted")
    found = store.bench("@last")
    assert (found.run_id, found.status, found.started_as) == ("abc", "interrupted", words)
    assert [one.record for one in store.repetitions("abc")] == [{"cell": 0}]
    store.resume_run("abc")
    store.add_sample("abc", cell, 1, {**sample, "baseline_seconds": 3.0}, None, {"cell": 1}, again=True)
    ((kept),) = store.repetitions("abc")
    assert (kept.sample["baseline_seconds"], kept.record) == (3.0, {"cell": 1})
    # The whole result of the first time is still there.
    assert store.load("abc")["results"][0]["steps"]
    assert [(row.status, row.repetitions) for row in store.history()] == [("unfinished", 1)]
    store.finish_run("abc", document(result([1.0])))
    assert store.repetitions("abc") == []


@pytest.mark.parametrize(("reference", "words"), [("@last~1", "no benchmark is meant"), ("ab", "is the beginning of")])
def test_a_benchmark_that_is_not_there_or_that_several_are_is_told(store, reference, words):
    store.begin_run(head("abc"), {})
    store.begin_run(head("abd"))
    with pytest.raises(StoreError, match=words):
        store.bench(reference)
    with pytest.raises(StoreError, match="no benchmark, or an older one"):
        store.bench("abd")


def test_an_interrupted_run_says_so(store):
    store.begin_run(head("abc"))
    store.finish_run("abc", document(result([1.0]), run_id="abc"), status="interrupted")
    assert store.history()[0].status == "interrupted"


def test_what_does_not_fit_is_refused_and_changes_nothing(store):
    store.begin_run(head("abc"))
    ((cell, sample, single),) = parts([1.0])
    store.add_sample("abc", cell, 1, sample, single)
    with pytest.raises(StoreError, match="stored already"):
        store.add_sample("abc", cell, 1, sample, single)
    with pytest.raises(StoreError, match="has a run 'abc' already"):
        store.begin_run(head("abc"))
    with pytest.raises(StoreError, match="no run 'xyz'"):
        store.add_sample("xyz", cell, 1, sample)
    with pytest.raises(StoreError, match="no run 'xyz'"):
        store.finish_run("xyz", document(result([1.0])))
    assert store.history()[0].repetitions == 1


def test_a_run_without_an_id_is_given_one(store):
    bare = head("abc")
    del bare["run_id"]
    run_id = store.begin_run(bare)
    assert len(run_id) == 32


def test_secrets_are_not_kept(store, path):
    environment = {
        "api_key": "hunter2-one",
        "proxy": "http://me:hunter2-two@proxy:3128/",
        "nested": {"password": "hunter2-three"},
    }
    one = result([1.0], parameters={"access-token": "hunter2-four", "n": 4})
    store.begin_run(head("abc", environment=environment))
    store.add_sample("abc", cell_of(one, "jokes"), 1, one["samples"][0], one)
    whole = document(one, run_id="abc", environment=environment)
    unfinished = store.load("abc")
    store.finish_run("abc", whole)
    for found in (unfinished, store.load("abc")):
        assert "hunter2" not in json.dumps(found)
        assert found["results"][0]["parameters"] == {"access-token": "***", "n": 4}
        assert found["environment"]["proxy"] == "http://***@proxy:3128/"
    assert "hunter2" in json.dumps(whole)
    for file in path.parent.iterdir():
        assert b"hunter2" not in file.read_bytes()


# What a reference means


@pytest.fixture
def filled(store):
    for number, run_id in enumerate(("aaaa1111", "aaab2222", "bbbb3333")):
        revision = REVISION if number < 2 else "fedcba98" * 5
        store.save(document(result([1.0 + number]), run_id=run_id, environment={"revision": revision}))
    return store


@pytest.mark.parametrize(
    ("reference", "run_id"),
    [
        ("@last", "bbbb3333"),
        ("@last~1", "aaab2222"),
        ("@last~2", "aaaa1111"),
        ("aaaa1111", "aaaa1111"),
        ("aaaa", "aaaa1111"),
        ("b", "bbbb3333"),
        (REVISION, "aaab2222"),
        (REVISION[:7], "aaab2222"),
        ("FEDCBA", "bbbb3333"),
    ],
)
def test_a_reference_means_one_run(filled, reference, run_id):
    assert filled.load(reference)["run_id"] == run_id


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("aaa", "beginning of aaab2222, aaaa1111"),
        ("@last~3", "there is no @last~3: .* 3 runs"),
        ("@first", "write @last"),
        ("@last~x", "write @last"),
        ("nothing-of-that-name", "no run is meant by"),
        ("", "no run is meant by"),
        ("012", "no run is meant by"),
        ("missing.json", "cannot read 'missing.json'"),
        ("--upload-pack=x", "no run is meant by"),
    ],
)
def test_a_reference_that_means_nothing_or_several_is_told(filled, reference, message):
    with pytest.raises(StoreError, match=message):
        filled.load(reference)


def test_a_revision_beginning_that_two_share_is_told(store):
    for number in range(2):
        store.save(document(result([1.0]), run_id=f"run-{number}", environment={"revision": f"0123{number}" * 8}))
    with pytest.raises(StoreError, match="several revisions"):
        store.load("0123")


def test_a_name_that_git_knows_is_a_revision(store, tmp_path, monkeypatch):
    repository = tmp_path / "repository"
    repository.mkdir()
    identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@localhost", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q", "-b", "trunk"], [*identity, "commit", "-q", "--allow-empty", "-m", "one"]):
        subprocess.run(["git", *command], cwd=repository, check=True)
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=repository, check=True, capture_output=True, text=True
    ).stdout.strip()
    store.save(document(result([1.0]), environment={"revision": commit}))
    monkeypatch.chdir(repository)
    assert store.load("trunk")["run_id"] == store.load("HEAD")["run_id"] == "run-1"


def test_a_run_without_results_is_not_the_last_one(filled):
    filled.begin_run(head("cccc"))
    assert filled.load("@last")["run_id"] == "bbbb3333"
    with pytest.raises(StoreError, match="before its first repetition"):
        filled.load("cccc")


def test_a_file_and_a_folder_of_documents_are_references(tmp_path, filled):
    for number, name in enumerate(("two", "one")):
        whole = document(result([1.0]), run_id=name, started_at=f"2026-01-0{2 - number}T00:00:00+00:00")
        (tmp_path / f"{name}.json").write_text(json.dumps(whole))
    (tmp_path / "other.json").write_text('{"of": "somebody else"}')
    assert filled.load(str(tmp_path / "one.json"))["run_id"] == "one"
    assert filled.load(str(tmp_path))["run_id"] == "two"
    assert [one["run_id"] for one in load_all(str(tmp_path))] == ["one", "two"]
    assert load_reference(str(tmp_path / "one.json"))["run_id"] == "one"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "not an object"),
        ('{"schema": "makespan.run/2"}', "makespan.run/1"),
        ('{"schema": "makespan.run/1", "run_id": "a", "results": []}', "scenario is missing"),
        (
            json.dumps({**head("a"), "results": [{**result([1.0]), "workers": "many"}]}),
            r"results\[0\]\.workers has to be a whole number, and is text",
        ),
    ],
)
def test_a_file_that_is_no_document_says_what_is_wrong(tmp_path, content, message):
    file = tmp_path / "bad.json"
    file.write_text(content)
    with pytest.raises(StoreError, match=message):
        load_reference(str(file))


def test_without_a_store_only_files_can_be_meant(tmp_path):
    with pytest.raises(StoreError, match="no history of runs"):
        load_reference("@last")
    with pytest.raises(StoreError, match=r"no makespan.run/1 document"):
        load_reference(str(tmp_path))


# History


def test_history_is_filtered(store):
    store.save(document(result([1.0]), run_id="a", started_at="2026-01-01T00:00:00+00:00"))
    store.save(document(result([1.0], workers=1), result([1.0]), run_id="b", scenario="headlines"))
    store.save(document(result([1.0]), run_id="c", environment={"machine": "other", "revision": "f" * 40}))
    store.accept("a")
    store.reject("c")

    def ids(**asked):
        return [row.run_id for row in store.history(**asked)]

    assert ids() == ["c", "b", "a"]
    assert ids(limit=2) == ["c", "b"]
    assert ids(scenario="headlines") == ["b"]
    assert ids(scenario="head") == []
    assert ids(machine="other") == ["c"]
    assert ids(machine=store.history()[0].machine_class) == ["c", "b", "a"]
    assert ids(revision="FFFF") == ["c"]
    assert ids(verdict="accepted") == ["a"]
    assert ids(verdict="rejected") == ["c"]
    assert ids(status="unfinished") == []
    assert ids(since="2026-01-02") == ["c", "b"]
    assert ids(before="c") == ["b", "a"]
    assert [row.cells for row in store.history(scenario="headlines")] == [2]


def test_a_run_of_several_scenarios_is_in_the_history_of_each(store):
    store.save(document(result([1.0]), run_id="alone", scenario="poems"))
    store.save(document(result([1.0]), run_id="several", scenario="poems + headlines"))
    for name, found in (("poems", ["several", "alone"]), ("headlines", ["several"]), ("head", []), ("s + h", [])):
        assert [row.run_id for row in store.history(scenario=name)] == found


def test_accepted_runs_can_be_asked_for_alone_and_only_from_before(store):
    for number in range(5):
        store.save(document(result([1.0]), run_id=f"run-{number}"))
        if number != 1:
            assert store.accept(f"run-{number}") == f"run-{number}"
    here = store.history()[0].machine_class
    found = store.history(scenario="jokes", machine=here, verdict="accepted", limit=3, before="run-4")
    assert [one.run_id for one in found] == ["run-3", "run-2", "run-0"]
    assert store.history(scenario="jokes", machine="another class", verdict="accepted") == []


def test_a_verdict_may_be_changed(store):
    store.save(document(result([1.0])))
    store.accept("@last")
    store.reject("@last")
    assert stored_run("@last", store).verdict == "rejected"


def test_a_cell_is_the_same_whatever_the_order_of_its_parameters():
    one = {**result([1.0]), "parameters": {"a": 1, "b": [2]}}
    other = {**result([1.0]), "parameters": {"b": [2], "a": 1}}
    assert (
        cell_of(one, "jokes")
        == cell_of(other, "jokes")
        == Cell("jokes", "threads", 4, "dataflow", '{"a": 1, "b": [2]}')
    )
    assert cell_of(one, "jokes").label == "threads@4/dataflow{a=1, b=[2]}"


def test_the_document_of_a_large_run_is_packed_in_parts_and_comes_back(store):
    large = result([1.0])
    step = large["steps"][0]
    names = [f"s{number} é" for number in range(10_001)]
    large["steps"] = [
        {**step, "step_id": name, "attempts": [{**one, "step_id": name} for one in step["attempts"]]} for name in names
    ]
    store.save(document(large))
    assert store.document("run-1") == document(large)
