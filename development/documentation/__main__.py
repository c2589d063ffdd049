"""``python -m development.documentation FOLDER`` fills in the pages of the folder."""

from __future__ import annotations

import sys
from pathlib import Path

from development.documentation import PAGES, filled


def main(arguments: list[str]) -> int:
    """Fill in every page; the exit status is 2 where no folder is named."""
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        sys.stderr.write("usage: python -m development.documentation FOLDER (usually docs/reference)\n")
        return 2
    for name, parts in PAGES.items():
        path = Path(arguments[0], name)
        path.write_text(filled(path.read_text(encoding="utf-8"), parts), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
