"""The picture of a run in the README: what ``makespan run`` leaves on a terminal, as SVG.

``python -m development.documentation.run_picture FILE`` runs a scenario on a terminal of its own (a pseudo-terminal)
and draws what is there at the end. So words and colours are those that a person sees.

Rules of this module:
- Nothing is drawn that was not printed. Lines that are rewritten while the run goes on show as they were last.
- The file names no font to be fetched: a reader's own fixed-width font is used.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

COMMAND: Final = ("makespan", "run", "article_pipeline")
COLUMNS: Final = 112
_ROWS: Final = 50
_FONT_FACE: Final = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)
# What moves the cursor; colours are left in the text.
_MOVE: Final = re.compile(r"\r|\n|\x1b\[(\d*)([AK])|\x1b\[\?\d+[hl]")


def printed_on_a_terminal(command: tuple[str, ...]) -> str:
    """Everything that the command writes to a terminal of :data:`COLUMNS` columns, control sequences included.

    Raises:
        subprocess.CalledProcessError: it failed.

    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, COLUMNS, 0, 0))
    with (
        tempfile.TemporaryDirectory(prefix="makespan-") as folder,
        subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environment_of(folder)
        ) as process,
    ):
        os.close(theirs)
        pieces = list(iter(lambda: _read(ours), b""))
        os.close(ours)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return b"".join(pieces).decode()


def environment_of(folder: str) -> dict[str, str]:
    """No settings and no history of the person who draws; the folder takes what the run leaves."""
    kept = {
        name: value for name, value in os.environ.items() if name != "NO_COLOR" and not name.startswith("MAKESPAN_")
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    return {**kept, "PATH": path, "TERM": "xterm-256color", "COLORTERM": "truecolor", "XDG_DATA_HOME": folder}


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how a terminal says that no writer is left
        return b""


def last_seen(text: str) -> list[str]:
    """The lines as they are at the end, after every move of the cursor."""
    lines = [""]
    row = place = 0
    for move in [*_MOVE.finditer(text), None]:
        lines[row] += text[place : len(text) if move is None else move.start()]
        if move is None:
            break
        place = move.end()
        if move[0] == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif move[2] == "A":
            row = max(0, row - int(move[1] or 1))
        elif move[2] == "K":
            lines[row] = ""
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def svg(command: tuple[str, ...], lines: list[str]) -> str:
    """The picture. Long lines are wrapped between words."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text("$ ", style="dim").append(" ".join(command), style="bold not dim"))
    for line in lines:
        console.print(Text.from_ansi(line))
    drawn = console.export_svg(title="makespan", theme=MONOKAI, unique_id="makespan-run")
    return _FONT_FACE.sub("", drawn).replace("Fira Code", "ui-monospace, Menlo")


def main(arguments: list[str]) -> int:
    """Draw the picture; the exit status is 2 where no file is named."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m development.documentation.run_picture FILE (usually docs/images/run.svg)\n")
        return 2
    lines = last_seen(printed_on_a_terminal(COMMAND))
    Path(arguments[0]).write_text(svg(COMMAND, lines), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
