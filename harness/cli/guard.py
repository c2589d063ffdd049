"""What goes wrong becomes a message on stderr and an exit status: no traceback for bad input, nothing swallowed."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterator
from typing import Final, ParamSpec

import typer

from harness.exit_codes import ExitCode
from harness.files.standard_streams import untold_fault

DEBUG_VARIABLE: Final = "MAKESPAN_DEBUG"

Parameters = ParamSpec("Parameters")


class UsageFault(Exception):  # noqa: N818 - it is the user's fault, no error of the program's
    """The command line asks for something that cannot be. The message says what, and what to do."""


def guarded(command: Callable[Parameters, ExitCode], *, acts: bool) -> Callable[Parameters, None]:
    """A command that ends with an exit status, whatever happens in it. ``acts``: it is called for what it does, and not
    for what it shows, so that text that no reader took is worth a warning alone.
    """

    @functools.wraps(command)
    def wrapped(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        try:
            code = command(*args, **kwargs)
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except KeyboardInterrupt:
            _write_error("interrupted")
            code = ExitCode.INTERRUPTED
        except Exception as error:  # noqa: BLE001 - the last place where anything can be said about it
            code = _explain(error)
        raise typer.Exit(int(_told_of_lost_text(code, acts=acts)))

    return wrapped


@contextlib.contextmanager
def with_help_lost() -> Iterator[None]:
    """See to what is shown outside of all commands: help, version, and what completes a command line."""
    try:
        yield
    except SystemExit as leaving:
        if leaving.code in (0, None):
            leaving.code = int(_told_of_lost_text(ExitCode.FINE, acts=False))
        raise


def _told_of_lost_text(code: ExitCode, *, acts: bool) -> ExitCode:
    """Say that stdout did not take what was to be shown, if it is so. Returns the exit status."""
    fault = untold_fault(sys.stdout)
    if fault is None:
        return code
    _write_error(f"{'warning' if acts else 'error'}: what was to be shown on stdout is lost: {fault}")
    return code if acts or code is not ExitCode.FINE else ExitCode.BAD_INPUT


def _explain(error: Exception) -> ExitCode:
    from executor.backends.base import BackendError  # noqa: PLC0415 - `--help` imports no heavy module
    from executor.journal.journal_errors import JournalError  # noqa: PLC0415 - the same
    from executor.model.findings import WorkflowError  # noqa: PLC0415 - the same
    from executor.shortages import shortage  # noqa: PLC0415 - the same
    from executor.tools.tool import ToolOptionsError  # noqa: PLC0415 - the same
    from harness.compare.comparison import CompareError  # noqa: PLC0415 - the same
    from harness.compare.threshold import ThresholdError  # noqa: PLC0415 - the same
    from harness.files.json_output import OutputError  # noqa: PLC0415 - the same
    from harness.local_llm.local_llm_errors import LocalModelError  # noqa: PLC0415 - the same
    from harness.model_endpoint import ModelEndpointError  # noqa: PLC0415 - the same
    from harness.result import DocumentError  # noqa: PLC0415 - the same
    from harness.store.store_errors import StoreError  # noqa: PLC0415 - the same
    from harness.traces.trace_model import TraceError  # noqa: PLC0415 - the same

    if isinstance(error, WorkflowError):
        from harness.report.terminal.console import Terminal, finding_lines  # noqa: PLC0415 - the same

        Terminal(sys.stderr).write(finding_lines(error.findings))
        return ExitCode.BAD_INPUT
    theirs = (
        LocalModelError | ModelEndpointError | BackendError | JournalError | ToolOptionsError | OutputError | UsageFault
    )
    if isinstance(error, theirs | StoreError | TraceError | CompareError | ThresholdError | DocumentError):
        fix = getattr(error, "fix", "")
        _write_error(f"error: {error}" + (f"\n    fix: {fix}" if fix else ""))
        return ExitCode.BAD_INPUT
    if isinstance(error, FileNotFoundError) and _is_current_folder_gone():
        _write_error("error: the current folder is gone\n    fix: go to one that is there")
        return ExitCode.BAD_INPUT
    lacking = shortage(error)
    if lacking is not None:
        _write_error(f"error: {lacking} ({error})")
        return ExitCode.BAD_INPUT
    _write_error(f"internal error: {type(error).__name__}: {error}")
    if os.environ.get(DEBUG_VARIABLE, "") not in ("", "0"):
        import traceback  # noqa: PLC0415 - the same

        traceback.print_exception(error, file=sys.stderr)
    else:
        _write_error(
            "This is a fault of makespan, not of your file. Please report it with what `makespan --version` says; "
            f"{DEBUG_VARIABLE}=1 shows where it happened."
        )
    return ExitCode.FAULT


def _is_current_folder_gone() -> bool:
    try:
        os.getcwd()  # noqa: PTH109  # as pathlib asks
    except FileNotFoundError:
        return True
    return False


def _write_error(text: str) -> None:
    from executor.model.findings import printable  # noqa: PLC0415 - `--help` imports no heavy module

    sys.stderr.write(printable(text) + "\n")
    sys.stderr.flush()
