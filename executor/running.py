"""The front door: run a workflow on a backend and get its outputs, its errors and the record of what happened.

Rules of this module:
- :func:`run` waits in the caller's thread; inside a running event loop (a notebook) it uses a helper thread.
- :func:`arun` awaits the same in the caller's event loop.
- To import it costs next to nothing: :mod:`executor.prepared_run`, and all that a run needs, is imported by a run.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack

from executor.interrupts import first_interrupt_calls, wait_for
from executor.run_result import Interrupted, Run, RunOptions

if TYPE_CHECKING:
    from executor.front_end import StepResult
    from executor.model.workflow import Workflow
    from executor.prepared_run import PreparedRun


def run(workflow: Workflow | StepResult, inputs: Mapping[str, Any] | None = None, **options: Unpack[RunOptions]) -> Run:
    """Run a workflow, or the steps that a promise of :func:`executor.step` comes from, and wait for its end.

    Args:
        workflow: what is run.
        inputs: take the place of the workflow's own inputs of the same name.
        options: ``backend`` (``"threads"``), ``workers``, ``policy`` (``"dataflow"``), ``tools``, ``resources``,
            ``seed`` (0), ``instruments``, ``scale`` (1), ``graph``, ``feed``, ``journal``, ``resume`` and
            ``cache``: see :class:`RunOptions`.

    Raises:
        WorkflowError: the workflow must not run; it carries every finding.
        BackendError: the backend cannot be had, or simulates and there is a feed.
        JournalError: the journal cannot be used, or is of another workflow.
        Interrupted: Ctrl-C.
    """
    from executor.prepared_run import PreparedRun  # noqa: PLC0415  # as the head says

    prepared = PreparedRun(workflow, inputs, {"backend": "threads", **options})
    if _loop_is_running():
        return _in_helper_thread(prepared)
    return prepared.drive()


async def arun(
    workflow: Workflow | StepResult, inputs: Mapping[str, Any] | None = None, **options: Unpack[RunOptions]
) -> Run:
    """:func:`run` for coroutines, by default on ``"asyncio"``: awaits the end in the caller's event loop.

    Cancelling it cancels the run.
    """
    from executor.prepared_run import PreparedRun  # noqa: PLC0415  # as the head says

    return await PreparedRun(workflow, inputs, {"backend": "asyncio", **options}).drive_async()


def _loop_is_running() -> bool:
    # Where it is not imported, no loop runs.
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _in_helper_thread(prepared: PreparedRun) -> Run:
    """Run in a thread of its own, since the caller's has a running event loop, and wait for it. An interrupt that
    comes while waiting (a notebook's stop button) cancels the run; a later one leaves at once.
    """
    results: list[Run] = []
    errors: list[BaseException] = []
    # Not `thread.join()`: when that is interrupted, Python 3.11 takes the thread for ended.
    ended = threading.Event()

    def work() -> None:
        try:
            results.append(prepared.drive())
        except BaseException as error:  # noqa: BLE001  # handed over to the caller below
            errors.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=work, name="makespan-run", daemon=True)
    try:
        with first_interrupt_calls(prepared.interrupt):
            thread.start()
            wait_for(ended)
    except KeyboardInterrupt:
        if prepared.interrupted or thread.ident is None:
            raise
        # A handler of the embedding program has raised it.
        prepared.interrupt()
        wait_for(ended)
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


__all__ = ["Interrupted", "Run", "RunOptions", "arun", "run"]
