"""``makespan llm install`` and ``makespan llm serve``: the model on this machine.

Rules of this module:
- ``serve`` holds the terminal until Ctrl-C or SIGTERM, and leaves no process behind.
"""

from __future__ import annotations

import contextlib

from harness.cli.requests.local_llm import LlmServeRequest
from harness.cli.signals import terminated_as_interrupted
from harness.config import load_config
from harness.exit_codes import ExitCode
from harness.local_llm import LocalServer, install
from harness.report.terminal.console import Terminal

_BYTES_IN_MEGABYTE = 1_000_000


def install_weights(*, force: bool = False) -> ExitCode:
    """Fetch the weights, unless they are there.

    Raises:
        LocalModelError: they cannot be had.

    """
    path = install(force=force)
    terminal = Terminal()
    terminal.line(f"The weights are there: {path} ({path.stat().st_size / _BYTES_IN_MEGABYTE:.0f} MB)")
    terminal.line("To use them: makespan run SCENARIO --llm local")
    return ExitCode.FINE


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
