"""Where documents go, and the facts in them."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from harness.environment import environment_facts, source_revision, usable_cores
from harness.files.encoded_list import EncodedList, items_with
from harness.files.json_output import OutputError, check_writable, json_parts, write_json, write_whole


def test_a_document_is_written_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    target.write_text("old", encoding="utf-8")
    write_json({"a": ["ü\ud800"]}, str(target))
    assert json.loads(target.read_text(encoding="utf-8")) == {"a": ["ü\ud800"]}
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    "document",
    [
        {"a": 1, "b": [], "c": {}, "d": {"e": [1, {"f": "two\nlines"}], "g": [[], [2.5, None]]}},
        {"h": [{"i": [{"j": [1]}]}]},
        [{"deep": {"deeper": {"deepest": {"still": [1, 2]}}}}, True],
        {"numbered": {1: "an integer as a key"}},
        "text", None, [], {},
    ],
)  # fmt: skip
def test_a_document_is_indented_as_json_indents_it(document: object) -> None:
    assert "".join(json_parts(document)) == json.dumps(document, indent=1)


def test_each_item_of_a_long_list_is_one_line() -> None:
    steps = [{"step_id": f"s{place}", "attempts": [{"attempt": 1}]} for place in range(1001)]
    document = {"results": [{"steps": steps, "policy": "dataflow"}], "schema": "x"}
    text = "".join(json_parts(document))
    assert json.loads(text) == document
    assert '    {"step_id": "s7", "attempts": [{"attempt": 1}]},\n' in text
    assert len(text.splitlines()) == len(steps) + 10


def test_a_list_that_is_kept_as_text_is_read_and_written_like_any_other() -> None:
    steps = [{"step_id": f"s{place}", "output": 'a "cached": b', "nothing": None} for place in range(1001)]
    steps[7]["cached"] = True
    encoded = EncodedList(iter(steps))
    assert (list(encoded), encoded[7], encoded[-1], len(encoded)) == (steps, steps[7], steps[-1], 1001)
    assert "".join(json_parts({"a": [{"steps": encoded}]})) == "".join(json_parts({"a": [{"steps": steps}]}))
    assert list(items_with("cached", encoded)) == list(items_with("cached", steps)) == [steps[7]]


def test_a_number_that_is_not_finite_is_written_nowhere(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json({"a": float("nan")}, str(tmp_path / "out.json"))
    assert list(tmp_path.iterdir()) == []


def test_a_written_file_has_the_rights_that_any_new_file_gets(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.touch()
    write_json({}, str(tmp_path / "out.json"))
    assert stat.S_IMODE((tmp_path / "out.json").stat().st_mode) == stat.S_IMODE(other.stat().st_mode)


def test_a_file_that_cannot_be_replaced_stays_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    target.write_text("old", encoding="utf-8")
    with pytest.raises(UnicodeEncodeError):
        write_whole(target, "half \ud800")
    assert target.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(OSError, match="directory"):
        write_whole(tmp_path, "new")


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "out.json"
    link.symlink_to(tmp_path / "real" / "out.json")
    write_json({}, str(link))
    assert link.is_symlink()
    assert (tmp_path / "real" / "out.json").read_text(encoding="utf-8") == "{}\n"


def test_a_device_is_written_and_not_replaced() -> None:
    write_json({}, os.devnull)
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


@pytest.mark.parametrize("name", ["", "missing/out.json", "nul\x00l.json"])
def test_what_cannot_be_written_is_known_before_the_run(name: str, tmp_path: Path) -> None:
    target = str(tmp_path / name) if name else str(tmp_path)
    with pytest.raises(OutputError, match="cannot write JSON"):
        check_writable(target)
    assert list(tmp_path.iterdir()) == []


def test_the_facts_are_json_and_name_machine_and_versions() -> None:
    facts = json.loads(json.dumps(environment_facts()))
    assert {"makespan_version", "python_version", "platform", "machine", "usable_cores", "revision"} <= set(facts)
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


def test_the_revision_is_found_in_loose_packed_and_detached_form(tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    git = tmp_path / ".git"
    (git / "refs" / "heads").mkdir(parents=True)
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n", encoding="utf-8")
    assert source_revision(inner) is None
    (git / "packed-refs").write_text(f"# pack-refs\n{commit} refs/heads/main\n", encoding="utf-8")
    assert source_revision(inner) == commit
    (git / "refs" / "heads" / "main").write_text(commit[::-1] + "\n", encoding="utf-8")
    assert source_revision(inner) == commit[::-1]
    (git / "HEAD").write_text(commit + "\n", encoding="utf-8")
    assert source_revision(inner) == commit
