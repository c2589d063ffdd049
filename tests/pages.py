"""The pages of the project, their fenced blocks, and the examples among them.

How a fenced block is marked says what is done with it. Blocks of one page share a folder that holds the scenarios.

====================  ================================================================================================
``python``            is run as a script
``text output``       right below a ``python`` block: what that printed
``console``           a line that begins with ``$ makespan`` or ``$ pytest`` is run; below it is what it printed
``yaml file=NAME``    (or any other language) is written into that file before anything of the page runs
====================  ================================================================================================

Behind ``python`` and ``console``: ``no-run`` leaves the block alone, ``status=1`` is the exit status that is expected,
and ``slow`` leaves it to the slow tests, which run it where nothing but the wheel is installed.
Behind ``console`` and ``text output``: ``exact`` compares figures too. Else times, ratios, percentages and ids may
differ. ``…`` means any text within a line, and alone in a line for any lines; a command with nothing below it may
print anything.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```(?P<mark>[^\n`]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
SHORTENED = "…"
PROGRAMS = ("makespan", "pytest")
# In this order: what a former one has replaced is no figure any more.
VARYING = (
    (re.compile(r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?(?:Z|[+-]\d\d:\d\d)?"), "<time>"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{7,}\b"), "<id>"),
    (re.compile(r"[-+−]?\d+(?:\.\d+)?(?:e-?\d+)?(?: |-)?(?:ns|µs|ms|s|min|h)\b"), "<seconds>"),
    (re.compile(r"[-+−]?\d+(?:\.\d+)? ?%"), "<percentage>"),
    (re.compile(r"[-+−]?\d+\.\d+(?:e-?\d+)?"), "<number>"),
    (re.compile(r"[─━═-]{3,}"), "---"),
)


@dataclass(frozen=True)
class Example:
    """Something of a page that is to run. ``shown`` is what it prints, None where the page does not say."""

    kind: str
    text: str
    shown: str | None
    status: int = 0
    exact: bool = False
    slow: bool = False
    files: dict[str, str] = field(default_factory=dict)


def examples_in(text: str) -> Iterator[tuple[int, Example]]:
    """Line and example of each block that is to run."""
    blocks = list(BLOCK.finditer(text))
    files: dict[str, str] = {}
    for block in blocks:
        files |= {option[5:]: block["body"] for option in block["mark"].split()[1:] if option.startswith("file=")}
    for number, block in enumerate(blocks):
        kind, *options = block["mark"].split() or [""]
        if "no-run" in options:
            continue
        line = text.count("\n", 0, block.start()) + 1
        status = next((int(option[7:]) for option in options if option.startswith("status=")), 0)
        if kind == "python":
            below = blocks[number + 1] if number + 1 < len(blocks) else None
            is_output = below is not None and not text[block.end() : below.start()].strip()
            marks = below["mark"].split() if below is not None and is_output else []
            shown = below["body"] if below is not None and marks[:2] == ["text", "output"] else None
            yield line, Example(kind, block["body"], shown, status, "exact" in marks, "slow" in options, files)
        elif kind == "console":
            for command, printed in commands_in(block["body"]):
                yield (
                    line,
                    Example(kind, command, printed or None, status, "exact" in options, "slow" in options, files),
                )


def commands_in(body: str) -> Iterator[tuple[str, str]]:
    """Each command of a console that is one of :data:`PROGRAMS`, with the lines below it."""
    for piece in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        command, _, printed = piece.partition("\n")
        if command.split()[0] in PROGRAMS:
            yield command, printed if printed.strip() else ""


def examples(*, slow: bool = False) -> list[Any]:
    """The examples of all pages as parameters of a test."""
    found = []
    for page in PAGES:
        for line, example in examples_in(page.read_text(encoding="utf-8")):
            if example.slow is not slow:
                continue
            command = f": {example.text}" if example.kind == "console" else ""
            found.append(pytest.param(example, id=f"{page.relative_to(ROOT)}:{line}{command}"))
    return found


def run_in(folder: Path, example: Example, programs: Path | None = None) -> str:
    """What the example prints, errors included, as one would see it on a terminal.

    ``programs``: the folder of Python and of what is installed with it, by default those that run the tests.

    Raises:
        AssertionError: its exit status is another one.

    """
    for name, text in example.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    programs = programs or Path(sys.executable).parent
    command = shlex.split(example.text, comments=True)
    if example.kind == "python":
        (folder / "example.py").write_text(example.text, encoding="utf-8")
        command = ["python", "example.py"]
    done = subprocess.run(
        [str(programs / command[0]), *command[1:]],
        check=False,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment_for(programs, folder),
        encoding="utf-8",
    )
    assert done.returncode == example.status, f"{shlex.join(command)}\n{done.stdout}"
    return done.stdout


def environment_for(programs: Path, folder: Path) -> dict[str, str]:
    """The variables of a reader: neither the settings nor the history of the user who runs the tests."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKESPAN_", "PYTEST_", "COV_"))
    }
    environment["PATH"] = f"{programs}{os.pathsep}{environment.get('PATH', '')}"
    environment["XDG_DATA_HOME"] = str(folder / "data")
    return environment


def link_the_checkout(folder: Path) -> None:
    """What a reader of the pages has beside them: the scenarios and the documents."""
    (folder / "scenarios").symlink_to(ROOT / "scenarios")
    (folder / "docs").symlink_to(ROOT / "docs")


def is_what_was_printed(shown: str, printed: str, *, exact: bool) -> bool:
    """Whether the page shows what was printed, as far as its marks ask for it."""
    pattern = ""
    for line in steady(shown, exact=exact):
        if line == SHORTENED:
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*".join(re.escape(part) for part in line.split(SHORTENED)) + r"\n"
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in steady(printed, exact=exact))) is not None


def steady(text: str, *, exact: bool) -> list[str]:
    """The lines less what differs from run to run: figures, and the white space around them."""
    lines = text.strip("\n").split("\n")
    if exact:
        return [line.rstrip() for line in lines]
    for varying, name in VARYING:
        lines = [varying.sub(name, line) for line in lines]
    return [" ".join(line.split()) for line in lines]
