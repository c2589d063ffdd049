"""Bad input and wrong options: exit status 2, every finding with its place, never a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.store.run_store import Store
from tests.integration.calling import called, folder, started

__all__ = ["folder"]

BAD: dict[str, str | bytes] = {
    "duplicate id": "steps: [{step_id: a, tool: noop}, {step_id: a, tool: noop}]",
    "unknown dependency": "steps: [{step_id: a, tool: noop, depends_on: [b]}]",
    "self dependency": "steps: [{step_id: a, tool: noop, depends_on: [a]}]",
    "cycle": "steps: [{step_id: a, tool: noop, depends_on: [b]}, {step_id: b, tool: noop, depends_on: [a]}]",
    "unknown tool": "steps: [{step_id: a, tool: nop}]",
    "wrong type": "steps: [{step_id: a, tool: noop, timeout: soon}]",
    "not a number": "steps: [{step_id: a, tool: noop, timeout: .nan}]",
    "infinite": "steps: [{step_id: a, tool: noop, expected_seconds: .inf}]",
    "need above capacity": "resources: {r: {capacity: 1}}\nsteps: [{step_id: a, tool: noop, needs: {r: 2}}]",
    "two writers in a group": (
        "steps: [{step_id: a, tool: noop, parallel_group: 1, writes: [s]},"
        " {step_id: b, tool: noop, parallel_group: 1, writes: [s]}]"
    ),
    "dependency in a group": (
        "steps: [{step_id: a, tool: noop, parallel_group: 1},"
        " {step_id: b, tool: noop, parallel_group: 1, depends_on: [a]}]"
    ),
    "template names an unknown step": "steps: [{step_id: a, tool: noop, prompt: '{{ steps.b.output }}'}]",
    "template does not parse": "steps: [{step_id: a, tool: noop, prompt: '{{ steps. }}'}]",
    "template reaches for a class": "steps: [{step_id: a, tool: noop, prompt: '{{ inputs.__class__ }}'}]",
    "yaml tag": "steps: !!python/object/apply:os.system ['true']",
    "alias bomb": "\n".join(
        ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
        + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
        + ["steps: [{step_id: a, tool: noop}]"]
    ),
    "not UTF-8": b"steps: [{step_id: caf\xe9, tool: noop}]",
    "empty": "",
    "no steps": "steps: []",
    "control character in an id": 'steps: [{step_id: "a\\x07b", tool: noop}]',
    "unknown field": "steps: [{step_id: a, tool: noop, depend_on: [b]}]",
    "duplicate key": "steps: [{step_id: a, tool: noop, tool: sleep}]",
    "a list": "[1, 2]",
    "text": "hello",
}


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_exit_status_2_with_its_place_and_no_traceback(case: str, command: str, folder: Path) -> None:
    content = BAD[case]
    (folder / "bad.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    done = called(command, "bad.yaml")
    assert done.exit_code == 2, done.output
    assert "error[" in done.stderr
    assert "bad.yaml" in done.stderr
    assert "Traceback" not in done.output
    assert "internal error" not in done.output
    assert done.stdout == ""
    assert all(sign.isprintable() or sign == "\n" for sign in done.stderr)


def test_an_endless_template_loop_ends_within_its_step(folder: Path) -> None:
    loop = "x"
    for name in ("a", "b", "c"):
        loop = f"{{% for {name} in range(99999) %}}{loop}{{% endfor %}}"
    (folder / "w.json").write_text(json.dumps({"steps": [{"step_id": "a", "tool": "noop", "prompt": loop}]}))
    done = called("run", "w.json")
    assert done.exit_code in (1, 2)
    assert "Traceback" not in done.output


@pytest.mark.slow
@pytest.mark.parametrize(("name", "opening"), [("deep.json", "["), ("deep.json", '{"a":'), ("deep.yaml", "[")])
def test_100_000_nested_brackets_are_refused(name: str, opening: str, folder: Path) -> None:
    (folder / name).write_text(opening * 100_000, encoding="utf-8")
    done = started("run", name)
    assert done.returncode == 2, done.stderr[-500:]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_folder_and_a_missing_file_are_refused(command: str, folder: Path) -> None:
    for name in (".", "missing.yaml"):
        done = called(command, name)
        assert done.exit_code == 2
        assert "error[" in done.stderr


def test_all_faults_of_a_file_are_listed_at_once(folder: Path) -> None:
    steps = ("{step_id: a, tool: nop}", "{step_id: b, tool: noop, depends_on: [c]}", "{step_id: b, tool: noop}")
    text = "\n  - ".join(("steps:", *steps))
    (folder / "bad.yaml").write_text(text, encoding="utf-8")
    stderr = called("run", "bad.yaml").stderr
    assert stderr.count("error[") >= 3
    assert all(f"bad.yaml:{line}" in stderr for line in (2, 3, 4))
    assert "fix: " in stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--set", "topic"), "NAME=VALUE"),
        (("--set", "=3"), "NAME=VALUE"),
        (("--set", "topik=3"), "topic"),
        (("--set", "scale=-1"), "scale"),
        (("--policy", "fastest"), "policy"),
        (("--config", "missing.yaml"), "missing.yaml"),
        (("-e", "serial", "-w", "2"), "serial has one worker"),
    ],
)
def test_a_wrong_option_is_exit_status_2_and_named(options: tuple[str, ...], words: str, folder: Path) -> None:
    done = called("run", "joke.yaml", *options)
    assert done.exit_code == 2, done.output
    assert words in done.stderr
    assert "Traceback" not in done.output


# `os.chdir` as a step: on threads it moves this very process.
MOVES = 'steps: [{step_id: a, tool: "os:chdir", args: {path: "{{ inputs.to }}"}}]\ninputs: {to: away}\n'


@pytest.mark.parametrize("command", [["run"], ["bench", "--repetitions", "2", "--junit", "r.xml"]])
def test_results_are_written_where_they_were_asked_for_although_steps_change_the_folder(
    folder: Path, command: list[str]
) -> None:
    (folder / "away").mkdir()
    (folder / "moves.yaml").write_text(MOVES, encoding="utf-8")
    # The second repetition finds the folder `away`, as the first one did.
    made = called(*command, "moves.yaml", "--executor", "threads", "--json", "r.json", "--store", "r.sqlite", "--quiet")
    assert made.exit_code == 0, made.output
    assert not list((folder / "away").iterdir())
    assert {"r.json", "r.sqlite", *(["r.xml"] if "--junit" in command else [])} <= {
        one.name for one in folder.iterdir()
    }
    with Store.open(folder / "r.sqlite", read_only=True) as store:
        assert store.load("@last")["results"]


def test_a_run_is_kept_although_the_current_folder_is_gone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "gone").mkdir()
    monkeypatch.chdir(folder / "gone")
    (folder / "gone").rmdir()
    made = called("run", str(folder / "joke.yaml"), "--executor", "virtual", "--no-progress")
    assert made.exit_code == 0, made.output
    with Store.open(read_only=True) as store:
        assert store.load("@last")["results"]
    made = called("run", "../joke.yaml")
    assert made.exit_code == 2
    assert "error: the current folder is gone" in made.output
