"""makespan as a reader gets it: built as a wheel, and installed in an environment of its own. Packages come from pip.

Rules of this module:
- Nothing of the checkout is found from there: neither by its folder nor by an editable installation.
- The versions are those of ``constraints.txt``.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.pages import ROOT


def built_wheel(folder: Path) -> Path:
    """A wheel of the checkout, built into the folder."""
    _done([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)])
    (wheel,) = folder.glob("makespan-*.whl")
    return wheel


def environment_with(wheel: Path, folder: Path, extras: Sequence[str] = ()) -> Path:
    """A new environment with the wheel, its extras, and what they need. Returns the folder of its programs.

    Modules are compiled when they are first imported: few of them are.
    """
    _done([sys.executable, "-m", "venv", str(folder)])
    programs = folder / "bin"
    wanted = f"{wheel}[{','.join(extras)}]" if extras else str(wheel)
    pip = [str(programs / "python"), "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check"]
    _done([*pip, "--constraint", str(ROOT / "constraints.txt"), wanted])
    return programs


def _done(command: list[str]) -> None:
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
