"""Finds the files that travel with the package: scenarios, dashboards, the default configuration, JSON Schemas.

In a wheel the first three lie in ``harness/_data``; in a checkout they are the repository's own ``scenarios/``,
``dashboards/`` and ``config.yaml``.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

_HERE: Final = Path(__file__).resolve().parents[1]
_SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})


def _data_root() -> Path:
    packaged = _HERE / "_data"
    return packaged if packaged.is_dir() else _HERE.parent


def scenarios_folder() -> Path:
    """The folder of shipped scenarios."""
    return _data_root() / "scenarios"


def dashboards_folder() -> Path:
    """The folder of dashboards, rules and provisioning."""
    return _data_root() / "dashboards"


def default_config_path() -> Path:
    """The configuration that holds where there is no other."""
    return _data_root() / "config.yaml"


def schema(name: str) -> dict[str, Any]:
    """A shipped JSON Schema (2020-12): ``run``, ``analysis`` or ``simulation``."""
    found: dict[str, Any] = json.loads((_HERE / "schemas" / f"{name}.schema.json").read_text("utf-8"))
    return found


@cache
def shipped_scenarios() -> dict[str, Path]:
    """Name (the file's, without suffix) to path of every shipped scenario, sorted by name."""
    folder = scenarios_folder()
    if not folder.is_dir():
        return {}
    return {path.stem: path for path in sorted(folder.iterdir()) if path.suffix in _SUFFIXES and path.is_file()}
