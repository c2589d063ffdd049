"""What a shell offers to complete a value with.

Rules of this module:
- What is offered is imported when a shell asks, not before.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_FILE_SUFFIXES: Final = (".yaml", ".yml", ".json")


def policies(incomplete: str) -> list[str]:
    return _beginning_with(incomplete, importlib.import_module("harness.config").POLICIES)


def executors(incomplete: str) -> list[str]:
    return _beginning_with(incomplete, importlib.import_module("executor.backends").backend_names())


def scenarios(incomplete: str) -> list[str]:
    """Shipped scenarios, folders, and files that could be scenarios."""
    shipped = importlib.import_module("harness.files.packaged").shipped_scenarios()
    folder, _, name = incomplete.rpartition("/")
    names = []
    for path in sorted(Path(folder or ("/" if incomplete.startswith("/") else ".")).glob(f"{name}*")):
        text = f"{folder}/{path.name}" if "/" in incomplete else path.name
        if path.is_dir():
            names.append(f"{text}/")
        elif path.suffix in _FILE_SUFFIXES:
            names.append(text)
    return [*_beginning_with(incomplete, shipped), *names]


def runs(incomplete: str) -> list[str]:
    """Words for the newest runs, and the ids in the store in the user's data folder."""
    store = importlib.import_module("harness.store.run_store")
    named = ["@last", "@last~1"]
    try:
        with store.Store.open(read_only=True) as opened:
            named += [run.run_id[:12] for run in opened.history(limit=50)]
    except store.StoreError:
        pass  # nothing was kept yet, or it cannot be read: the command itself says why
    return _beginning_with(incomplete, named)


def _beginning_with(incomplete: str, names: Iterable[object]) -> list[str]:
    return [str(name) for name in names if str(name).startswith(incomplete)]
