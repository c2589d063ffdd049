"""What the commands of ``makespan llm`` are asked for."""

from dataclasses import dataclass
from typing import Annotated

import typer

from harness.cli.requests.shared import ConfigOption


@dataclass(frozen=True)
class LlmInstallRequest:
    """What `makespan llm install` is asked for."""

    force: Annotated[
        bool, typer.Option("--force", help="Fetch both again, though they are there or a llama-server is on the PATH.")
    ] = False
    config_path: ConfigOption = None


@dataclass(frozen=True)
class LlmServeRequest:
    """What `makespan llm serve` is asked for."""

    port: Annotated[
        int | None,
        typer.Option("--port", metavar="N", min=1, max=65535, help="Where it listens (default: a free port)."),
    ] = None
    slots: Annotated[
        int | None, typer.Option("--slots", metavar="N", min=1, help="Requests that it answers at once (default: 4).")
    ] = None
    threads: Annotated[
        int | None,
        typer.Option("--threads", metavar="N", min=1, help="Threads that compute (default: one fewer than cores)."),
    ] = None
    gpu_layers: Annotated[
        int | None,
        typer.Option(
            "--gpu-layers", metavar="N", min=0, help="Layers that a GPU computes (default: as the server decides)."
        ),
    ] = None
    model: Annotated[
        str | None, typer.Option("--model", metavar="FILE", help="A GGUF file (default: what was installed).")
    ] = None
    config_path: ConfigOption = None
