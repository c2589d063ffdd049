"""``python -m development.documentation.keep_peers FIGURES`` shows what ``make bench-peers`` found, and may keep it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from development.documentation.peers_page import FIGURES, PICTURE, peers_table, picture


def main(arguments: list[str]) -> int:
    """Print the table of figures that were measured; with ``--write`` they are kept, and the picture is drawn."""
    if not arguments or arguments[1:] not in ([], ["--write"]):
        sys.stderr.write("usage: python -m development.documentation.keep_peers FIGURES [--write]\n")
        return 2
    text = Path(arguments[0]).read_text(encoding="utf-8")
    figures = json.loads(text)
    print(peers_table(figures))
    if arguments[1:]:
        FIGURES.write_text(text, encoding="utf-8")
        PICTURE.write_text(picture(figures), encoding="utf-8")
        print("Kept. `make docs` brings the table into docs/performance.md.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
