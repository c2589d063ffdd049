"""``python -m tests.benchmarks [NAME …]``: every benchmark, and one table of what they measured (``make bench``).

Each file runs in a process of its own: what one leaves behind (objects that the collector looks at, imports, a large
peak of memory that the next process inherits) would count for those after it. After Ctrl-C the rows so far are printed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.measure import table

# Elsewhere benchmarks are skipped (`addopts`), and `--benchmark-only` would skip what has no use for its clock.
OPTIONS = ("-q", "--override-ini=addopts=--import-mode=importlib -p no:langsmith_plugin", "--benchmark-sort=name")
FOLDER = Path(__file__).parent
NOTHING_SELECTED = 5


def chosen_files(names: list[str]) -> list[Path]:
    """The files of these benchmarks, or of all; a name is that of its file, with or without ``test_``."""
    files = {path.stem.removeprefix("test_"): path for path in sorted(FOLDER.glob("test_*.py"))}
    wanted = [name.removeprefix("test_").removesuffix(".py") for name in names] or list(files)
    if unknown := [name for name in wanted if name not in files]:
        sys.exit(f"no benchmark {unknown[0]!r}; there are {', '.join(files)}")
    return [files[name] for name in wanted]


def measured(path: Path, rows_file: Path) -> int:
    """Run the benchmarks of one file. They do not end by time, and tests that are slow belong to ``make test-slow``."""
    options = [*OPTIONS, "-m", "not slow", "--timeout=0", f"--rows-file={rows_file}"]
    status = subprocess.run([sys.executable, "-m", "pytest", *options, str(path)], check=False).returncode
    return 0 if status == NOTHING_SELECTED else status


def main() -> int:
    files = chosen_files(sys.argv[1:])
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        rows_file = Path(folder) / "rows.jsonl"
        rows_file.touch()
        try:
            for path in files:
                print(f"\n{path.stem}", flush=True)
                if measured(path, rows_file):
                    failed.append(path.name)
        except KeyboardInterrupt:
            failed.append("the rest: interrupted")
        rows = [tuple(json.loads(line)) for line in rows_file.read_text(encoding="utf-8").splitlines()]
    print("\nmeasured, ours ÷ by hand, paired in one run")
    print("\n".join(table(rows)))
    for name in failed:
        print(f"failed: {name}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
