"""The `node` tool with real processes: what goes in, what comes out, and what becomes of nodes that misbehave."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from executor import Attempt, Instrument, Run, Step, Workflow, WorkflowError, run
from tests.unit.test_node_runtime import fail, shout

BACKENDS = ("threads", "asyncio", "processes")
SEEDS_NODE = """
from node_runtime import call_tools_parallel

def main():
    input_data = json.load(sys.stdin)
    content = input_data.get("content", "")
    results = call_tools_parallel([
        ("shout", f"french: {content}", {"target_lang": "fr"}),
        ("shout", f"spanish: {content}", {"target_lang": "es"}),
        ("shout", f"german: {content}", {"target_lang": "de"})
    ])
    french, spanish, german = results
    return {"french": french, "spanish": spanish, "german": german}
"""


def run_node(
    source: str,
    args: dict[str, Any] | None = None,
    *,
    prompt: str | None = None,
    backend: str = "threads",
    workers: int | None = None,
    timeout: float | None = None,
    instruments: Sequence[Instrument] = (),
    **options: Any,
) -> Run:
    """One step, a node of this source."""
    return run(
        Workflow(steps=(Step(step_id="n", tool="node_of_mine", args=args, prompt=prompt, timeout=timeout),)),
        tools={"node_of_mine": {"kind": "node", "source": source, **options}, "shout": shout, "fail": fail},
        backend=backend,
        workers=workers or 2,
        instruments=instruments,
    )


class MarksTheEnd(Instrument):
    """A file is there once a step has ended."""

    def __init__(self, step_id: str, marker: Path) -> None:
        self._step_id = step_id
        self._marker = marker

    def attempt_finished(self, attempt: Attempt, status: str) -> None:
        if attempt.step_id == self._step_id:
            self._marker.touch()


def failure(source: str, **options: Any) -> str:
    found = run_node(source, **options)
    assert found.statuses["n"] == "failed", found.outputs
    return found.errors["n"].message


def leftovers(mark: str) -> list[str]:
    """Processes that have this text among their arguments or in their environment."""
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                text = (place / "environ").read_bytes() + (place / "cmdline").read_bytes()
            except OSError:
                continue
            if mark.encode() in text:
                found.append(place.name)
    return found


# ---------------------------------------------------------------------- in and out


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_node_that_leaves_its_imports_out_calls_three_tools_at_once(backend: str) -> None:
    found = run_node(SEEDS_NODE, {"content": "hi"}, backend=backend)
    assert found.outputs["n"] == {"french": "FRENCH: HI", "spanish": "SPANISH: HI", "german": "GERMAN: HI"}
    assert [found.outputs[f"n/{place}"] for place in (1, 2, 3)] == ["FRENCH: HI", "SPANISH: HI", "GERMAN: HI"]


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("def main(): return {'a': [1, 2.5, None, True, 'é\\n']}", {"a": [1, 2.5, None, True, "é\n"]}),
        ("async def main(): return 1", 1),
        ("def main(): pass", None),
        ("def main():\n    print('[1, 2]')", [1, 2]),
        ("print('{\"a\": 1}')", {"a": 1}),
        ("import json, sys\nif __name__ == '__main__':\n    print(json.dumps(json.load(sys.stdin)))", {"x": 1}),
        ("def main():\n    print('only words')\n    return 3", 3),
        ("import json, sys\ndef main(): return json.load(sys.stdin)", {"x": 1}),
        ("import sys\nprint(7)\nsys.exit(0)", 7),
    ],
)
def test_the_result_is_what_main_returns_else_what_is_printed(source: str, result: Any) -> None:
    found = run_node(source, {"x": 1})
    assert found.outputs == {"n": result}, found.errors


def test_a_prompt_is_one_of_the_things_that_a_node_reads() -> None:
    found = run_node("import json, sys\ndef main(): return json.load(sys.stdin)", {"x": 1}, prompt="do it")
    assert found.outputs["n"] == {"prompt": "do it", "x": 1}


def test_a_node_in_a_file_finds_the_modules_beside_it(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("VALUE = 5")
    (tmp_path / "node.py").write_text("from beside import VALUE\ndef main(): return VALUE")
    steps = (
        Step(step_id="a", tool="declared"),
        Step(step_id="b", tool="node", args={"file": str(tmp_path / "node.py"), "input": {"x": 1}}),
        Step(step_id="c", tool="node", args={"source": "def main(): return 6"}),
    )
    found = run(
        Workflow(steps=steps), tools={"declared": {"kind": "node", "file": str(tmp_path / "node.py")}}, workers=2
    )
    assert found.outputs == {"a": 5, "b": 5, "c": 6}, found.errors


def test_coroutines_threads_and_nodes_of_nodes_call_too() -> None:
    source = """
import asyncio
from concurrent.futures import ThreadPoolExecutor
from node_runtime import CallError, call_tool, call_tool_async, call_tool_resilient

async def main():
    several = await asyncio.gather(*(call_tool_async("shout", text) for text in "abc"))
    with ThreadPoolExecutor(3) as pool:
        several += pool.map(lambda text: call_tool("shout", text), "def")
    inner = "from node_runtime import *\\ndef main(): return call_tool('shout', 'g')"
    nested = await call_tool_async("node", source=inner)
    return [*several, nested, call_tool_resilient(["fail", "shout"], "h")]
"""
    found = run_node(source, workers=1)
    assert found.outputs["n"] == list("ABCDEFGH"), found.errors


def test_a_node_sees_the_failure_of_a_call_and_what_the_others_gave() -> None:
    source = """
from node_runtime import CallError, call_tools_parallel
def main():
    try:
        call_tools_parallel([("shout", "a"), ("fail", "b")])
    except CallError as error:
        return [error.tool, error.step_id, error.reason, error.results[0]]
"""
    assert run_node(source).outputs["n"] == ["fail", "n/2", "no b", "A"]


def test_a_node_can_be_tried_by_hand(tmp_path: Path) -> None:
    (tmp_path / "node.py").write_text(
        "import json\nfrom node_runtime import call_tools_parallel\n"
        "print(json.dumps(call_tools_parallel([('noop', None, {})] * 3, max_workers=2)))"
    )
    done = subprocess.run([sys.executable, "node.py"], check=True, cwd=tmp_path, capture_output=True, text=True)
    assert json.loads(done.stdout) == [None, None, None]


# ---------------------------------------------------------------------- bad input


def test_a_declaration_that_cannot_be_is_told_before_anything_runs() -> None:
    for options, words in [
        ({"file": "no-such-node.py"}, "there is no file 'no-such-node.py'"),
        ({"file": "a.py", "source": "1"}, "there is a file already"),
        ({"sauce": "1"}, "did you mean 'source'"),
        ({"source": "1", "memory_limit_bytes": 0}, "memory_limit_bytes"),
    ]:
        with pytest.raises(WorkflowError, match=words):
            run(Workflow(steps=(Step(step_id="n", tool="n"),)), tools={"n": {"kind": "node", **options}})


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"source": "1", "file": "x.py"}, "there is no code to run"),
        ({"file": "no-such-node.py"}, "there is no file 'no-such-node.py'"),
        ({"source": "1", "input": [1]}, "a node reads an object"),
    ],
)
def test_a_step_that_names_no_node_is_told_what_to_write(args: dict[str, Any], words: str) -> None:
    found = run(Workflow(steps=(Step(step_id="n", tool="node", args=args),)))
    assert words in found.errors["n"].message


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({}, "no code to run"),
        ({"source": "1", "contents": "x"}, "what the node reads goes below args.input"),
    ],
)
def test_a_step_that_can_be_no_node_never_runs(args: dict[str, Any], words: str) -> None:
    with pytest.raises(WorkflowError, match=words):
        run(Workflow(steps=(Step(step_id="n", tool="node", args=args),)))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("print('hello')", "the node gave no JSON: main() returned nothing, and what it printed is none: 'hello'"),
        ("x = 1", "and it printed nothing. Return a value from main(), or print one JSON value"),
        ("def main(): return {1, 2}", "what main() returned is not JSON: a set in it is no JSON value"),
        ("def main(): return {1: 2}", "a key is a int, where a text belongs"),
        ("def main(): return float('nan')", "nan is no JSON number"),
        ("def main(): raise ValueError('oh')", "the node raised ValueError in line 1 of its source: oh"),
        ("def main(:", "the node raised SyntaxError in line 1 of its source"),
        ("import sys\nsys.exit('enough')", "it left with 'enough'"),
        ("import os, sys\nsys.stderr.write('last words')\nsys.stderr.flush()\nos._exit(3)",
         "the node exited with status 3 before it was done: last words"),
        ("from node_runtime import call_tool\ndef main(): call_tool('shot', 'x')",
         "no tool 'shot': did you mean 'shout'"),
        ("from node_runtime import call_tool\ndef main(): call_tool('shout', 'x', a={1})", "arguments are not JSON"),
        ("a = []\na.append(a)\ndef main(): return a", "nested more than 100 levels deep"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_node_is_told(source: str, words: str) -> None:
    assert words in failure(source)


def test_what_a_node_wrote_to_stderr_is_kept_for_whoever_looks_closer() -> None:
    found = run_node("def main():\n    raise ValueError('oh')")
    assert 'File "<node>", line 2, in main' in found.errors["n"].traceback


FAILING_NODE = """import json, os, sys

def ratio(values):
    return values["a"] / values["b"]

def main():
    values = json.load(sys.stdin)
    for number in range(9):
        print("note", number, file=sys.stderr)
    print("key", os.environ["API_KEY"], "was used", file=sys.stderr)
    try:
        return ratio(values)
    except ZeroDivisionError as error:
        raise ValueError("no ratio") from error
"""


def test_a_failing_script_is_told_with_its_line_and_its_last_words_in_terminal_and_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEY", "very-secret")
    script = tmp_path / "ratio.py"
    script.write_text(FAILING_NODE)
    scenario = tmp_path / "ratio.yaml"
    scenario.write_text(
        f"tools:\n  ratio: {{kind: node, file: {script}, inherit_env: [API_KEY]}}\n"
        "steps:\n  - {step_id: n, tool: ratio, args: {a: 1, b: 0}}\n"
    )
    result = tmp_path / "result.json"
    command = [sys.executable, "-m", "harness.cli", "run", str(scenario), "--no-store", "--json", str(result)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"})
    (step,) = json.loads(result.read_text())["results"][0]["steps"]
    last_words = ["note 5", "note 6", "note 7", "note 8", "key *** was used"]
    where = f"the node raised ValueError in {script}, line 14: no ratio; its stderr ends: "
    assert ended.returncode == 1, ended.stderr
    assert where + "\n".join(last_words) in step["error"]
    assert where + " ".join(last_words) in ended.stdout
    assert "very-secret" not in step["error"] + ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import sys\nsys.stderr.write('no luck')\nsys.exit(3)", "SystemExit in line 3 of its source: it left with 3"),
        ("import sys\nsys.stderr.write('no luck')\nsys.exit(3)", "; its stderr ends: no luck"),
        ("import sys\ndef main(): sys.stderr.write('no luck'), print('no')\n", "; its stderr ends: no luck"),
        ("import json\ndef main():\n    json.loads('{')", "the node raised JSONDecodeError in line 3 of its source"),
    ],
)
def test_the_line_is_the_nodes_own_and_its_stderr_is_told_however_it_fails(source: str, words: str) -> None:
    assert words in failure(source)


def test_of_a_talkative_node_the_message_holds_only_the_end() -> None:
    message = failure("import sys\ndef main():\n    sys.stderr.write('x' * 10_000 + 'end')\n    raise ValueError('oh')")
    assert message.endswith("xxend")
    assert len(message) < 600


# ---------------------------------------------------------------------- faults


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_node_that_prints_a_gigabyte_is_killed_early(backend: str) -> None:
    source = "import sys\ndef main():\n    for _ in range(1000): sys.stdout.write('x' * 1_000_000)"
    message = failure(source, backend=backend, output_limit_bytes=100_000)
    assert "it printed more than 100,000 bytes (output_limit_bytes)" in message


def test_a_node_that_takes_too_much_memory_is_told_its_limit() -> None:
    message = failure("def main(): return len(bytearray(400_000_000))", memory_limit_bytes=300_000_000)
    assert message.splitlines()[0].endswith(
        "MemoryError in line 1 of its source (it may use 300,000,000 bytes: memory_limit_bytes)"
    )


def test_what_a_node_forks_dies_with_it() -> None:
    mark = f"forked-by-{os.getpid()}-{time.monotonic_ns()}"
    source = """
import os, time
def main():
    for _ in range(3):
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
    return "done"
"""
    assert run_node(source, env={"MARK": mark}).outputs["n"] == "done"
    assert leftovers(mark) == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_node_that_ignores_sigterm_is_killed_at_its_timeout(backend: str) -> None:
    mark = f"deaf-{os.getpid()}-{time.monotonic_ns()}"
    source = "import signal, time\ndef main():\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    time.sleep(60)"
    began = time.monotonic()
    found = run_node(source, backend=backend, timeout=0.5, env={"MARK": mark})
    assert found.errors["n"].outcome == "timed_out"
    assert time.monotonic() - began < 30
    deadline = time.monotonic() + 10
    while leftovers(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert leftovers(mark) == []


def test_a_node_sees_no_secret_unless_it_is_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SECRET_KEY", "s3cret-value")
    monkeypatch.setenv("PYTHONSTARTUP", "/nowhere")
    source = "import os\ndef main(): return dict(os.environ)"
    environment = run_node(source, env={"GIVEN": "1"}).outputs["n"]
    assert environment["GIVEN"] == "1"
    assert not {"MY_SECRET_KEY", "PYTHONSTARTUP", "PYTHONPATH"} & set(environment)
    assert run_node(source, inherit_env=["MY_SECRET_KEY"]).outputs["n"]["MY_SECRET_KEY"] == "s3cret-value"
    telling = "import os\ndef main(): raise ValueError(os.environ['MY_SECRET_KEY'])"
    assert failure(telling, inherit_env=["MY_SECRET_KEY"]).endswith(
        "the node raised ValueError in line 2 of its source: ***"
    )


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("b'garbage\\n'", "it sent what is no JSON over its channel: b'garbage'"),
        ("b'[1]\\n'", "it sent what is no call over its channel: b'[1]'"),
        ("b'{\"id\": 1, \"at_once\": 0, \"calls\": []}\\n'", "it sent what is no call"),
        ("b'{\"id\": 1, \"at_once\": null, \"calls\": [[1, 2, 3]]}\\n'", "it sent what is no call"),
        ("b'x' * 300_000", "it sent more than 100,000 bytes in one line over its channel"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("backend", ["threads", "asyncio"])
def test_a_node_that_sends_garbage_over_its_channel_is_killed(backend: str, said: str, words: str) -> None:
    source = (
        "import os, sys, time\ndef main():\n"
        f"    data = memoryview({said})\n"
        "    while data:\n        data = data[os.write(sys.modules['node_child'].channel, data):]\n"
        "    time.sleep(60)"
    )
    began = time.monotonic()
    assert words in failure(source, backend=backend, output_limit_bytes=100_000)
    assert time.monotonic() - began < 30


def test_a_node_that_closes_its_channel_can_still_end() -> None:
    source = "import os, sys\nos.close(sys.modules['node_child'].channel)\nprint(1)"
    assert "before it was done" in failure(source)


def test_a_node_that_calls_itself_for_ever_is_told_so() -> None:
    source = "from node_runtime import call_tool\ndef main(): return call_tool('node_of_mine')"
    found = run_node(source, workers=1)
    assert found.statuses["n"] == "failed"
    assert "calls more than 32 levels deep: does it call itself for ever?" in found.errors["n"].message
    assert len(found.errors["n"].message) < 500


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_calls_of_a_node_that_dies_are_cancelled(backend: str, tmp_path: Path) -> None:
    # It dies when one of its calls has ended and the other goes on.
    marker = tmp_path / "ended"
    source = f"""
import os, time
from concurrent.futures import ThreadPoolExecutor
from node_runtime import call_tools_parallel
def main():
    ThreadPoolExecutor(1).submit(call_tools_parallel, [("sleep", None, {{"seconds": 60}}), ("shout", "a")])
    while not os.path.exists({str(marker)!r}):
        time.sleep(0.02)
    os._exit(9)
"""
    began = time.monotonic()
    found = run_node(source, backend=backend, workers=3, instruments=[MarksTheEnd("n/2", marker)])
    assert time.monotonic() - began < 25
    assert found.statuses == {"n": "failed", "n/1": "cancelled", "n/2": "succeeded"}
    assert "exited with status 9" in found.errors["n"].message


def test_a_forked_part_of_a_node_makes_no_calls() -> None:
    source = """
import os
from node_runtime import call_tool
def main():
    first = call_tool("shout", "a")
    read, write = os.pipe()
    if os.fork() == 0:
        try:
            call_tool("shout", "b")
        except RuntimeError as error:
            os.write(write, str(error).encode())
        os._exit(0)
    os.close(write)
    return [first, os.read(read, 1000).decode()]
"""
    assert run_node(source).outputs["n"] == [
        "A", "a process that the node forked cannot call tools; call them from the node itself",
    ]  # fmt: skip
