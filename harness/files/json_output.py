"""Writing a document to where a person asked for it: ``-`` is stdout, anything else a path.

Rules of this module:
- Whether it can be written is asked before the work, so that hours of it are not lost to a misspelt folder.
- A file appears whole or not at all; what is no plain file (a pipe, a device) is written as it is.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from harness.files.encoded_list import EncodedList
from harness.files.standard_streams import untold_fault

STDOUT: Final = "-"
_LONG_LIST: Final = 1000
# The lists that may be long are not deeper: `results`, one of them, its `steps`.
_LEVELS_OPENED: Final = 3


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
    _write(itertools.chain(json_parts(document), "\n"), target, "JSON")


def json_parts(value: Any, level: int = 0) -> Iterator[str]:
    """A document of JSON values as text, in parts: indented, but each item of a long list is one line. (Python's own
    indented writing takes ten times as long, and a thousand items are not read line by line.)

    Raises:
        ValueError: a number is not finite.

    """
    margin = "\n" + " " * (level + 1)
    opened = level < _LEVELS_OPENED
    if isinstance(value, EncodedList) or (isinstance(value, list) and len(value) > _LONG_LIST):
        texts = value.texts if isinstance(value, EncodedList) else (json.dumps(item, allow_nan=False) for item in value)
        for place, text in enumerate(texts):
            yield f"{',' if place else '['}{margin}{text}"
        yield f"{margin[:-1]}]"
    elif opened and value and isinstance(value, list):
        for place, item in enumerate(value):
            yield f"{',' if place else '['}{margin}"
            yield from json_parts(item, level + 1)
        yield f"{margin[:-1]}]"
    elif opened and value and isinstance(value, dict) and all(isinstance(name, str) for name in value):
        for place, (name, item) in enumerate(value.items()):
            yield f"{',' if place else '{'}{margin}{json.dumps(name)}: "
            yield from json_parts(item, level + 1)
        yield f"{margin[:-1]}}}"
    else:
        # In JSON a line end stands only between values.
        yield json.dumps(value, indent=1, allow_nan=False).replace("\n", margin[:-1])


def write_text(text: str, target: str, what: str = "JSON") -> None:
    """The same for a document that is text already; ``what`` names it in the message.

    Raises:
        OutputError: it cannot be written.

    """
    _write([text], target, what)


def _write(parts: Iterable[str], target: str, what: str) -> None:
    if target == STDOUT:
        # Nothing at all, rather than half of it, where a value cannot be written.
        sys.stdout.write("".join(parts))
        if (fault := untold_fault(sys.stdout)) is not None:
            raise OutputError(f"cannot write {what} to stdout: {fault}")
        return
    try:
        _write_whole(Path(target), parts)
    except OSError as error:
        raise OutputError(f"cannot write {what} to {target!r}: {error.strerror or error}") from error


def write_whole(path: Path, text: str) -> None:
    """Write a file in UTF-8 that appears whole or not at all; a pipe or a device is written as it is.

    Raises:
        OSError: it cannot be written, or is a folder.

    """
    _write_whole(path, [text])


def _write_whole(path: Path, parts: Iterable[str]) -> None:
    if path.exists() and not path.is_file():
        with path.open("w", encoding="utf-8") as stream:
            stream.writelines(parts)
    else:
        _replace(path.resolve(), parts)


def _replace(path: Path, parts: Iterable[str]) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.writelines(parts)
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
