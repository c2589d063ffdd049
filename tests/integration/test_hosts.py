"""The same run from wherever people run things: a plain script, a notebook cell, a FastAPI handler, a thread."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import nbformat
import pytest
from fastapi import FastAPI
from nbclient import NotebookClient

from executor import Step, Workflow, arun, run

BACKENDS = ("serial", "threads", "asyncio", "processes")

# No `if __name__ == "__main__"`, functions of the script itself, and a lambda.
SCRIPT = """
import subprocess, sys, threading
from executor import Step, Workflow, run

def double(value):
    return 2 * value

steps = (
    Step(step_id="a", tool="double", args={"value": 3}),
    Step(step_id="b", tool="add", args={"left": "{{ steps.a.output }}", "right": 1}),
)
tools = {"double": double, "add": lambda left, right: left + right}
result = run(Workflow(steps=steps), backend="BACKEND", tools=tools)
print(result.outputs, result.ok)
left = [thread.name for thread in threading.enumerate() if thread.name.startswith("makespan")]
print("threads left:", left)
"""
PRINTED = "{'a': 6, 'b': 7} True\nthreads left: []\n"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_plain_script_needs_no_main_guard(backend: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("BACKEND", backend), encoding="utf-8")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == (PRINTED, "")


def test_a_notebook_cell_runs_on_every_backend(tmp_path: Path) -> None:
    cells = [nbformat.v4.new_code_cell(SCRIPT.replace("BACKEND", backend)) for backend in BACKENDS]
    notebook = nbformat.v4.new_notebook(cells=cells)
    client = NotebookClient(
        notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    printed = ["".join(output.text for output in cell.outputs if output.output_type == "stream") for cell in cells]
    assert printed == [PRINTED] * len(BACKENDS)


def double(value: int) -> int:
    return 2 * value


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.asyncio
async def test_a_fastapi_handler_awaits_a_run(backend: str) -> None:
    application = FastAPI()

    @application.get("/double/{value}")
    async def handler(value: int) -> dict[str, Any]:
        workflow = Workflow(steps=(Step(step_id="a", tool="double", args={"value": value}),))
        result = await arun(workflow, backend=backend, tools={"double": double}, workers=1)
        return result.outputs

    transport = httpx.ASGITransport(app=application)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        answers = [(await client.get(f"/double/{value}")).json() for value in (1, 2)]
    assert answers == [{"a": 2}, {"a": 4}]


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_threads_run_at_once_without_knowing_of_each_other(backend: str) -> None:
    found: dict[int, Any] = {}

    def work(value: int) -> None:
        workflow = Workflow(steps=tuple(Step(step_id=f"s{i}", tool="double", args={"value": value}) for i in range(5)))
        found[value] = run(workflow, backend=backend, tools={"double": double}, workers=1).outputs

    threads = [threading.Thread(target=work, args=(value,)) for value in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {value: {f"s{i}": 2 * value for i in range(5)} for value in (1, 2)}


INTERRUPTED_IN_A_LOOP = """
import asyncio, os, signal
from executor import Interrupted, Step, Workflow, run
from executor.engine.instruments import Instrument

class CtrlC(Instrument):
    def attempt_finished(self, attempt, status):
        if attempt.step_id == "quick":
            os.kill(os.getpid(), signal.SIGINT)

async def cell():
    slow = Step(step_id="slow", tool="sleep", args={"seconds": 60})
    steps = (Step(step_id="quick", tool="noop", prompt="done"), slow)
    try:
        run(Workflow(steps=steps), instruments=[CtrlC()])
    except Interrupted as interrupted:
        print(interrupted.run.outputs, interrupted.run.statuses["slow"])

loop = asyncio.new_event_loop()
loop.run_until_complete(cell())
"""


def test_an_interrupted_notebook_cell_cancels_its_run_and_keeps_what_was_done() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_IN_A_LOOP], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.stdout, done.stderr) == ("{'quick': 'done'} cancelled\n", "")
