"""A copy of the working tree in another folder, as a clone would be: the last commit, and over it every change that is
not committed yet. What git ignores stays behind.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

__all__ = ["clone"]


def clone(source: Path, target: Path) -> str:
    """Clone ``source`` into ``target``, which must not exist, lay over it what is not committed, and say in words
    what was taken.

    Raises:
        subprocess.CalledProcessError: ``source`` is no checkout with a commit.
    """
    # Through the file system alone git would link the objects, with their owner.
    _git(source.parent, "clone", "--quiet", "--no-local", "--no-tags", str(source), str(target))
    commit = _git(source, "rev-parse", "--short", "HEAD").strip()
    changed = sorted({*_names(source, "diff", "--name-only", "--no-renames", "-z", "HEAD"), *_untracked(source)})
    for name in changed:
        _copy(source / name, target / name)
    return f"commit {commit}" + (f" and {len(changed)} changed files that are not committed" if changed else "")


def _untracked(source: Path) -> list[str]:
    return _names(source, "ls-files", "--others", "--exclude-standard", "-z")


def _copy(source: Path, target: Path) -> None:
    if os.path.lexists(target):
        target.unlink()
    if os.path.lexists(source):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)


def _names(folder: Path, *arguments: str) -> list[str]:
    return [name for name in _git(folder, *arguments).split("\0") if name]


def _git(folder: Path, *arguments: str) -> str:
    # A hook of git that calls this has variables set that would point to its own repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=environment, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    return done.stdout.decode()
