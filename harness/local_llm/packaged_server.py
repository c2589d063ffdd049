"""llama.cpp's server out of the package xllamacpp, with the options of llama.cpp's own ``llama-server``.

It is run as a script in a process of its own, isolated from what is installed beside makespan::

    python -I -S packaged_server.py --package-folder FOLDER --model FILE --port 8080 …

Rules of this module:
- It imports the standard library and xllamacpp alone: nothing else is there.
- It has the options that :mod:`harness.local_llm.llama_server` gives, and no more.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import threading
from typing import Any

_NO_PAGE = "http://127.0.0.1"


def main(arguments: list[str]) -> None:
    """Serve until the process is ended."""
    options = _parser().parse_args(arguments)
    sys.path.append(options.package_folder)
    package: Any = importlib.import_module("xllamacpp")
    if options.version:
        sys.stdout.write(f"version: {package.__version__}\n")
        return
    try:
        server = package.Server(_parameters(package, options))
    except Exception as error:  # noqa: BLE001 - whatever it is: it becomes the last words of this process
        sys.exit(f"error: {error}")
    # It serves in threads of its own, as long as it is kept.
    threading.Event().wait()
    del server


def _parameters(package: Any, options: argparse.Namespace) -> Any:
    parameters = package.CommonParams()
    parameters.model.path = options.model
    parameters.model_alias = [options.alias]
    parameters.hostnames = [options.host]
    parameters.port = options.port
    # Pages that a browser shows do not get to ask it.
    parameters.cors_origins = _NO_PAGE
    parameters.n_parallel = options.parallel
    parameters.n_ctx = options.ctx_size
    parameters.n_predict = options.predict
    parameters.cpuparams.n_threads = options.threads
    if options.gpu_layers is not None:
        parameters.n_gpu_layers = options.gpu_layers
    parameters.ui = not options.no_ui
    parameters.offline = options.offline
    parameters.no_extra_bufts = options.no_repack
    parameters.endpoint_slots = options.slots
    parameters.endpoint_props = options.props
    parameters.verbosity = options.log_verbosity
    key = os.environ.get("LLAMA_API_KEY")
    if key:
        parameters.api_keys = [key]
    return parameters


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--package-folder", required=True)
    parser.add_argument("--version", action="store_true")
    parser.add_argument("--model", default="")
    parser.add_argument("--alias", default="")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--parallel", type=int, default=1)
    parser.add_argument("--ctx-size", type=int, default=0)
    parser.add_argument("--predict", type=int, default=-1)
    parser.add_argument("--threads", type=int, default=-1)
    parser.add_argument("--gpu-layers", type=int)
    parser.add_argument("--log-verbosity", type=int, default=2)
    for name in ("--no-ui", "--offline", "--slots", "--props", "--no-repack"):
        parser.add_argument(name, action="store_true")
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])
