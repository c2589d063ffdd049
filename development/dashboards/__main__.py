"""``python -m development.dashboards [FOLDER]``: writes what is generated of ``dashboards/``."""

from __future__ import annotations

import sys
from pathlib import Path

from development.dashboards.generation import write_all

if __name__ == "__main__":
    for path in write_all(Path(sys.argv[1] if len(sys.argv) > 1 else "dashboards")):
        sys.stdout.write(f"{path}\n")
