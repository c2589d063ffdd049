"""Programs as tools: real processes, their output, their faults, and that nothing of them is left behind."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from executor.model.workflow import ToolDeclaration
from executor.tools import child_process, process_guard
from executor.tools.registry import make_tool
from executor.tools.tool import RunContext, Tool, ToolContext, ToolError, ToolTimeoutError

PYTHON = sys.executable
# Starts a grandchild; both ignore SIGTERM, say who they are, and stay.
STUBBORN = textwrap.dedent("""
    import os, signal, sys, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = os.fork()
    with open(os.path.join(sys.argv[1], str(os.getpid())), "w"):
        pass
    time.sleep(120)
""")


def tool_of(**options: Any) -> Tool:
    return make_tool("run", ToolDeclaration.model_validate({"kind": "command", **options}))


def context(timeout_seconds: float | None = None) -> ToolContext:
    return ToolContext(RunContext(), "a", timeout_seconds=timeout_seconds)


def call_sync(tool: Tool, tool_context: ToolContext, prompt: str | None, args: dict[str, Any]) -> Any:
    assert tool.call is not None
    return tool.call(tool_context, prompt, args)


def call_async(tool: Tool, tool_context: ToolContext, prompt: str | None, args: dict[str, Any]) -> Any:
    async def awaited() -> Any:
        assert tool.call_async is not None
        return await tool.call_async(tool_context, prompt, args)

    return asyncio.run(awaited())


Caller = Callable[[Tool, ToolContext, str | None, dict[str, Any]], Any]
both_forms = pytest.mark.parametrize("call", [call_sync, call_async])


@pytest.fixture(autouse=True)
def _nothing_is_left_open() -> Any:
    # The guard is there for all programs of this process, and has one descriptor.
    process_guard.next_mark()
    before = open_files()
    yield
    assert child_process._living == set()
    assert open_files() <= before


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it never became true"
        time.sleep(0.01)


def pids_in(directory: Path) -> list[int]:
    return [int(path.name) for path in directory.iterdir()]


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@both_forms
def test_stdout_is_the_output_as_text_lines_or_json(call: Caller) -> None:
    tool = tool_of(argv=["printf", "%s\\n", "a b", "c"])
    assert call(tool, context(), None, {}) == "a b\nc"
    assert call(tool, context(), None, {"output": "lines"}) == ["a b", "c"]
    assert call(tool, context(), None, {"output": "lines", "arguments": ["", 7]}) == ["a b", "c", "", "7"]
    assert call(tool_of(argv=["echo", '{"a": [1]}'], output="json"), context(), None, {}) == {"a": [1]}
    assert call(tool_of(output="lines"), context(), None, {"argv": ["true"]}) == []


@both_forms
def test_no_shell_ever_reads_the_arguments(call: Caller) -> None:
    assert call(tool_of(), context(), None, {"argv": ["echo", "$HOME; `id` && *"]}) == "$HOME; `id` && *"


@both_forms
def test_the_prompt_or_stdin_is_what_the_program_reads(call: Caller) -> None:
    big = "ä" * 400_000
    assert call(tool_of(argv=["cat"]), context(), big, {}) == big
    assert call(tool_of(argv=["cat"]), context(), None, {"stdin": "x"}) == "x"
    assert call(tool_of(argv=["cat"]), context(), None, {}) == ""
    assert call(tool_of(argv=["true"]), context(), big, {}) == "", "a program need not read it"


def test_only_a_few_variables_and_those_asked_for_are_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("WANTED", "yes")
    seen = call_sync(tool_of(argv=["env"], env={"MINE": "1"}), context(), None, {"env": {"ITS": "2"}})
    assert "PATH=" in seen
    assert "MINE=1" in seen
    assert "ITS=2" in seen
    assert "sk-secret" not in seen
    assert "WANTED" not in seen
    assert "WANTED=yes" in call_sync(tool_of(argv=["env"], inherit_env=["WANTED"]), context(), None, {})


def test_it_runs_in_the_directory_that_was_asked_for(tmp_path: Path) -> None:
    assert call_sync(tool_of(argv=["pwd"], cwd=str(tmp_path)), context(), None, {}) == str(tmp_path.resolve())


@both_forms
def test_a_failing_program_is_quoted_without_control_characters_and_may_be_tried_again(call: Caller) -> None:
    tool = tool_of(argv=["sh", "-c", r"printf 'no \033[31mpaper\n' >&2; exit 3"])
    with pytest.raises(ToolError, match=r"'sh' exited with status 3: no \[31mpaper") as caught:
        call(tool, context(), None, {})
    assert caught.value.retryable
    assert "\033" not in str(caught.value)


def test_a_long_complaint_is_cut_to_its_end() -> None:
    with pytest.raises(ToolError, match="the last word") as caught:
        call_sync(tool_of(argv=["sh", "-c", "seq 100000 >&2; echo the last word >&2; exit 1"]), context(), None, {})
    assert len(str(caught.value)) < 2_500


def test_an_inherited_secret_is_not_repeated_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_KEY", "sk-secret")
    tool = tool_of(argv=["sh", "-c", "echo bad key $SERVICE_KEY >&2; exit 1"], inherit_env=["SERVICE_KEY"])
    with pytest.raises(ToolError, match=r"bad key \*\*\*"):
        call_sync(tool, context(), None, {})


def test_a_program_killed_by_a_signal_says_which() -> None:
    with pytest.raises(ToolError, match="killed by SIGSEGV"):
        call_sync(tool_of(argv=["sh", "-c", "kill -SEGV $$"]), context(), None, {})


@both_forms
@pytest.mark.parametrize(
    ("options", "args", "message"),
    [
        ({"argv": ["no-such-program-here"]}, {}, "there is no program 'no-such-program-here'"),
        ({"argv": ["/etc/passwd"]}, {}, "may not be executed"),
        ({}, {}, "nothing to run"),
        ({}, {"argv": [""]}, "nothing to run"),
        ({}, {"argv": "ls -l"}, "args.argv"),
        ({}, {"argv": ["a\0b"]}, "NUL"),
        ({"argv": ["ls"]}, {"argv": ["rm"]}, "the declaration has an argv already"),
        ({"argv": ["ls"], "cwd": "/no/such/directory"}, {}, "no directory '/no/such/directory'"),
        ({"argv": ["ls"]}, {"shell": True}, "args.shell: unknown name"),
        ({"argv": ["head", "-c", "3", "/dev/urandom"], "output_limit_bytes": 2}, {}, "more than 2 bytes"),
        ({"argv": ["printf", r"\377"]}, {}, "not UTF-8"),
    ],
)
def test_what_can_never_work_is_refused_for_good(
    call: Caller, options: dict[str, Any], args: dict[str, Any], message: str
) -> None:
    with pytest.raises(ToolError, match=message) as caught:
        call(tool_of(**options), context(), None, args)
    assert not caught.value.retryable


def test_broken_json_is_an_error_that_may_be_tried_again() -> None:
    for text in ("{", "NaN", "[" * 100_000):
        with pytest.raises(ToolError, match="not JSON") as caught:
            call_sync(tool_of(argv=["cat"], output="json"), context(), text, {})
        assert caught.value.retryable


@both_forms
def test_a_flood_of_output_is_stopped_at_the_limit(call: Caller) -> None:
    with pytest.raises(ToolError, match="output_limit_bytes"):
        call(tool_of(argv=["yes"], output_limit_bytes=100_000), context(), None, {})


@both_forms
def test_at_its_timeout_a_group_that_ignores_sigterm_is_gone(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = child_process.ChildProcess._patience

    def until_both_run(process: child_process.ChildProcess) -> float | None:
        """Its time is not over before both processes are there, however long the machine takes for them."""
        left = patience(process)
        return left if left is None or len(pids_in(tmp_path)) == 2 else max(left, 0.02)

    monkeypatch.setattr(child_process.ChildProcess, "_patience", until_both_run)
    tool = tool_of(argv=[PYTHON, "-c", STUBBORN, str(tmp_path)])
    with pytest.raises(ToolTimeoutError, match="timeout of 1 s"):
        call(tool, context(timeout_seconds=1.0), None, {})
    assert len(pids_in(tmp_path)) == 2
    wait_for(lambda: not any(is_alive(pid) for pid in pids_in(tmp_path)))


@both_forms
def test_a_cancelled_call_leaves_nothing_of_its_group(call: Caller, tmp_path: Path) -> None:
    tool_context = context()

    def cancel_when_both_run() -> None:
        wait_for(lambda: len(pids_in(tmp_path)) == 2)
        tool_context.cancel()

    watcher = threading.Thread(target=cancel_when_both_run)
    watcher.start()
    with pytest.raises(ToolError, match="cancelled") as caught:
        call(tool_of(argv=[PYTHON, "-c", STUBBORN, str(tmp_path)]), tool_context, None, {})
    watcher.join()
    assert not caught.value.retryable
    wait_for(lambda: not any(is_alive(pid) for pid in pids_in(tmp_path)))
    tool_context.cancel()


def test_a_cancelled_coroutine_leaves_nothing_of_its_group(tmp_path: Path) -> None:
    tool = tool_of(argv=[PYTHON, "-c", STUBBORN, str(tmp_path)])

    async def cancel_it(patiently: bool) -> None:
        assert tool.call_async is not None
        before = len(pids_in(tmp_path))
        task = asyncio.ensure_future(tool.call_async(context(), None, {}))
        await asyncio.to_thread(wait_for, lambda: len(pids_in(tmp_path)) == before + 2)
        task.cancel()
        if not patiently:
            await asyncio.sleep(0.05)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel_it(patiently=True))
    asyncio.run(cancel_it(patiently=False))
    assert len(pids_in(tmp_path)) == 4
    wait_for(lambda: not any(is_alive(pid) for pid in pids_in(tmp_path)))


def test_a_call_that_was_cancelled_before_it_began_ends_at_once() -> None:
    tool_context = context()
    tool_context.cancel()
    with pytest.raises(ToolError, match="cancelled"):
        call_sync(tool_of(argv=["sleep", "120"]), tool_context, None, {})


@both_forms
def test_what_a_program_starts_in_the_background_does_not_outlive_it(call: Caller) -> None:
    pid = call(tool_of(argv=["sh", "-c", "sleep 120 & echo $!"]), context(), None, {})
    wait_for(lambda: not is_alive(int(pid)))
    pid = call(tool_of(argv=["sh", "-c", "sleep 120 >/dev/null 2>&1 & echo $!"]), context(), None, {})
    wait_for(lambda: not is_alive(int(pid)))


@both_forms
def test_a_daemon_that_leaves_the_group_cannot_hold_the_call(call: Caller) -> None:
    pid = call(tool_of(argv=["sh", "-c", "setsid sleep 120 & sleep 0.3; echo $!"]), context(), None, {})
    assert pid.isdecimal()
    if is_alive(int(pid)):
        os.kill(int(pid), signal.SIGKILL)


def test_an_interrupt_from_the_keyboard_leaves_no_child(tmp_path: Path) -> None:
    code = textwrap.dedent(f"""
        from executor.tools.tool import RunContext, ToolContext
        from executor.tools.command import CommandTool
        args = {{"argv": [{PYTHON!r}, "-c", {STUBBORN!r}, {str(tmp_path)!r}]}}
        CommandTool("run").call(ToolContext(RunContext(), "a"), None, args)
    """)
    process = subprocess.Popen([PYTHON, "-c", code], stderr=subprocess.PIPE)
    wait_for(lambda: len(pids_in(tmp_path)) == 2)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert b"KeyboardInterrupt" in stderr
    wait_for(lambda: not any(is_alive(pid) for pid in pids_in(tmp_path)))


def test_an_interpreter_that_leaves_takes_the_children_of_its_threads_along(tmp_path: Path) -> None:
    code = textwrap.dedent(f"""
        import os, threading, time
        from executor.tools.tool import RunContext, ToolContext
        from executor.tools.command import CommandTool
        args = {{"argv": [{PYTHON!r}, "-c", {STUBBORN!r}, {str(tmp_path)!r}]}}
        call = CommandTool("run").call
        threading.Thread(target=call, args=(ToolContext(RunContext(), "a"), None, args), daemon=True).start()
        while len(os.listdir({str(tmp_path)!r})) < 2:
            time.sleep(0.01)
    """)
    subprocess.run([PYTHON, "-c", code], check=True)
    wait_for(lambda: not any(is_alive(pid) for pid in pids_in(tmp_path)))


def test_many_programs_run_beside_each_other_in_one_event_loop() -> None:
    tool = tool_of(argv=["sh", "-c", "read x; echo $x"])

    async def all_of_them() -> list[Any]:
        assert tool.call_async is not None
        return await asyncio.gather(*(tool.call_async(context(), f"{number}\n", {}) for number in range(20)))

    assert asyncio.run(all_of_them()) == [str(number) for number in range(20)]


def test_a_command_travels_to_other_processes() -> None:
    tool = pickle.loads(pickle.dumps(tool_of(argv=["echo", "[1]"], output="json")))
    assert call_sync(tool, context(), None, {}) == json.loads("[1]")
