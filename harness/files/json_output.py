"""Writing a document to where a person asked for it: ``-`` is stdout, anything else a path.

Rules of this module:
- Whether it can be written is asked before the work, so that hours of it are not lost to a misspelt folder.
- A file appears whole or not at all; what is no plain file (a pipe, a device) is written as it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from harness.files.standard_streams import untold_fault

STDOUT: Final = "-"


class OutputError(Exception):
    """A document cannot be written; the message says where and why."""


def check_writable(target: str, what: str = "JSON") -> None:
    """See whether a document can be written there, without changing anything. ``what`` names it in the message.

    Raises:
        OutputError: it cannot.

    """
    if target == STDOUT:
        return
    path = Path(target)
    reason = None
    try:
        if "\x00" in target:
            reason = "there is a null character in the name"
        elif path.is_dir():
            reason = "it is a folder"
        elif not path.parent.is_dir():
            reason = f"there is no folder {str(path.parent)!r}"
        elif not os.access(path if path.exists() else path.parent, os.W_OK):
            reason = "permission denied"
    except (OSError, ValueError) as error:
        reason = str(error)
    if reason is not None:
        raise OutputError(f"cannot write {what} to {target!r}: {reason}")


def write_json(document: Any, target: str) -> None:
    """Write a document of JSON values, with a line end after it.

    Raises:
        OutputError: it cannot be written.

    """
    write_text(json.dumps(document, ensure_ascii=True, indent=1, allow_nan=False) + "\n", target)


def write_text(text: str, target: str, what: str = "JSON") -> None:
    """The same for a document that is text already; ``what`` names it in the message.

    Raises:
        OutputError: it cannot be written.

    """
    if target == STDOUT:
        sys.stdout.write(text)
        if (fault := untold_fault(sys.stdout)) is not None:
            raise OutputError(f"cannot write {what} to stdout: {fault}")
        return
    try:
        write_whole(Path(target), text)
    except OSError as error:
        raise OutputError(f"cannot write {what} to {target!r}: {error.strerror or error}") from error


def write_whole(path: Path, text: str) -> None:
    """Write a file in UTF-8 that appears whole or not at all; a pipe or a device is written as it is.

    Raises:
        OSError: it cannot be written, or is a folder.

    """
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8")
    else:
        _replace(path.resolve(), text)


def _replace(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def _umask() -> int:
    # There is no way to ask for it but to set it.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
