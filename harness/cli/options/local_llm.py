"""Options of the local model."""

from __future__ import annotations

from typing import Annotated

import typer

ForceInstallOption = Annotated[
    bool, typer.Option("--force", help="Fetch both again, though they are there or a llama-server is on the PATH.")
]
ServePortOption = Annotated[
    int | None, typer.Option("--port", metavar="N", min=1, max=65535, help="Where it listens (default: a free port).")
]
SlotsOption = Annotated[
    int | None, typer.Option("--slots", metavar="N", min=1, help="Requests that it answers at once (default: 4).")
]
ThreadsOption = Annotated[
    int | None,
    typer.Option("--threads", metavar="N", min=1, help="Threads that compute (default: one fewer than cores)."),
]
GpuLayersOption = Annotated[
    int | None,
    typer.Option(
        "--gpu-layers", metavar="N", min=0, help="Layers that a GPU computes (default: as the server decides)."
    ),
]
ModelFileOption = Annotated[
    str | None, typer.Option("--model", metavar="FILE", help="A GGUF file (default: what was installed).")
]
