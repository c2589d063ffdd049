"""What the commands of ``makespan llm`` are asked for."""

from dataclasses import dataclass
from typing import Annotated

from harness.cli.requests.parameters import option
from harness.cli.requests.shared import ConfigOption


@dataclass(frozen=True, eq=False, repr=False)
class LlmInstallRequest:
    """What `makespan llm install` is asked for."""

    force: Annotated[
        bool, option("--force", "Fetch both again, though they are there or a llama-server is on the PATH.")
    ] = False
    config_path: ConfigOption = None


@dataclass(frozen=True, eq=False, repr=False)
class LlmServeRequest:
    """What `makespan llm serve` is asked for."""

    port: Annotated[
        int | None,
        option("--port N", "Where it listens (default: a free port).", min=1, max=65_535),
    ] = None
    slots: Annotated[int | None, option("--slots N", "Requests that it answers at once (default: 4).", min=1)] = None
    threads: Annotated[
        int | None, option("--threads N", "Threads that compute (default: one fewer than cores).", min=1)
    ] = None
    gpu_layers: Annotated[
        int | None, option("--gpu-layers N", "Layers that a GPU computes (default: as the server decides).", min=0)
    ] = None
    model: Annotated[str | None, option("--model FILE", "A GGUF file (default: what was installed).")] = None
    config_path: ConfigOption = None
