"""``make bench-peers``: measures all peers, and writes the figures as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.benchmarks.peers.adapters import NAMES
from tests.benchmarks.peers.comparison import compared


def main() -> int:
    """Measure, and write."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.peers", description=__doc__)
    parser.add_argument("file", type=Path, help="where the figures go")
    parser.add_argument("--quick", action="store_true", help="one round, smaller graphs")
    parser.add_argument("--peers", default=",".join(NAMES), help="which, by the names of the adapters (all)")
    arguments = parser.parse_args()
    names = arguments.peers.split(",")
    strange = [name for name in names if name not in NAMES]
    if strange:
        parser.error(f"there is no adapter {strange[0]!r}; there are: {', '.join(NAMES)}")
    figures = compared(names, quick=arguments.quick, say=lambda line: print(line, file=sys.stderr, flush=True))
    arguments.file.parent.mkdir(parents=True, exist_ok=True)
    arguments.file.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
