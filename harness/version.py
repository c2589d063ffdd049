"""The version of makespan."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Final

DISTRIBUTION: Final = "makespan"


def package_version() -> str:
    """The version that is installed; of a source tree that is not installed, ``unknown``."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"
