"""Lists of files in an option of a backend: which there are, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from executor.backends.base import BackendError


def listed_files(text: str, backend: str, suffixes: Sequence[str]) -> list[Path]:
    """The files and folders in ``text``, with commas between; absolute.

    Raises:
        BackendError: one is not there, or is a file with none of ``suffixes``.
    """
    found = []
    for name in filter(None, (part.strip() for part in text.split(","))):
        path = Path(name).resolve()
        if not path.exists():
            raise BackendError(f"{backend}: files={name}: there is no such file")
        if path.is_file() and path.suffix not in suffixes:
            raise BackendError(
                f"{backend}: files={name}: modules come as {', '.join(suffixes)} or as a folder; data belongs where "
                "all workers can read it"
            )
        found.append(path)
    if not found:
        raise BackendError(f"{backend}: files={text}: it names no file")
    return found
