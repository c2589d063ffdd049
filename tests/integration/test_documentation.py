"""What the documents show works: their examples run, and their links lead somewhere.

A fenced block marked ``python`` is run as a script, one marked ``console`` line by line where a line begins with
``$ makespan``; both in an empty folder with the scenarios beside them. Add ``no-run`` to the mark where that is not
meant: `````python no-run``.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```(?P<mark>[^\n`]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")


def examples() -> list[Any]:
    """``(kind, text)`` of each block that is to run, with its place as the name."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            kind, *options = match["mark"].split() or [""]
            if kind in {"python", "console"} and "no-run" not in options:
                place = f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}"
                found.append(pytest.param(kind, match["body"], id=place))
    return found


def run_in(folder: Path, command: list[str]) -> None:
    if not (folder / "scenarios").exists():
        (folder / "scenarios").symlink_to(ROOT / "scenarios")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {**os.environ, "PATH": path}
    done = subprocess.run(
        command, check=False, cwd=folder, stdin=subprocess.DEVNULL, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize(("kind", "text"), examples())
def test_an_example_runs(kind: str, text: str, tmp_path: Path) -> None:
    if kind == "python":
        script = tmp_path / "example.py"
        script.write_text(text, encoding="utf-8")
        run_in(tmp_path, [sys.executable, script.name])
        return
    for line in text.splitlines():
        if line.startswith("$ makespan "):
            run_in(tmp_path, shlex.split(line.removeprefix("$ "), comments=True))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    prose = BLOCK.sub("", page.read_text(encoding="utf-8"))
    targets = [match["target"].partition("#")[0] for match in LINK.finditer(prose)]
    files = [target for target in targets if target and "://" not in target and not target.startswith("mailto:")]
    assert [target for target in files if not (page.parent / target).exists()] == []


def test_every_page_stands_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert [page for page in pages if page != "README.md" and page not in index] == []
