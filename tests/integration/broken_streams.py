"""Runs commands with broken standard streams, many in one process that has loaded makespan once: each in a fork.

Called with cases as JSON, ``[[arguments, {stream: how it is broken}], …]``; writes the list of
``[status, stdout, stderr]``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import IO

import harness.cli.analyze
import harness.cli.bench
import harness.cli.run
import harness.cli.simulate
import harness.report.html
from harness.cli import main

MOST_SECONDS = 60


def broken(number: int, how: str) -> None:
    """Put a broken stream at that number, as a shell does before it starts a program."""
    os.close(number)
    if how == "no reader":
        reading, writing = os.pipe()
        os.close(reading)
        if writing != number:
            os.dup2(writing, number)
            os.close(writing)
        return
    name, flags = {
        "full": ("/dev/full", os.O_WRONLY),
        "read-only": (os.devnull, os.O_RDONLY),
        "write-only": (os.devnull, os.O_WRONLY),
        "closed": (None, 0),
    }[how]
    if name is not None:
        opened = os.open(name, flags)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)


def as_python_starts() -> None:
    """The streams that Python makes at its start of what it finds there."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
            stream: IO[str] | None = os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False)
        except OSError:
            stream = None
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def in_a_fork(arguments: list[str], streams: dict[str, str]) -> list[object]:
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        pid = os.fork()
        if pid == 0:
            signal.alarm(MOST_SECONDS)
            os.dup2(output.fileno(), 1)
            os.dup2(errors.fileno(), 2)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            # Nothing is free below but what is broken here.
            for name, how in streams.items():
                broken(("stdin", "stdout", "stderr").index(name), how)
            as_python_starts()
            sys.argv = ["makespan", *arguments]
            status = 99
            try:
                main()
            except SystemExit as leaving:
                status = leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 98
            except BaseException as error:
                os.write(errors.fileno(), f"Traceback: {error!r}".encode())
            finally:
                for stream in (sys.stdout, sys.stderr):
                    if stream is not None:
                        stream.flush()
                os._exit(status)
        _, ended = os.waitpid(pid, 0)
        texts = []
        for file in (output, errors):
            file.seek(0)
            texts.append(file.read().decode())
        return [os.waitstatus_to_exitcode(ended), *texts]


if __name__ == "__main__":
    assert harness.cli.bench is not None
    cases = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    results = [in_a_fork(arguments, streams) for arguments, streams in cases]
    Path(sys.argv[2]).write_text(json.dumps(results), encoding="utf-8")
