"""What is never kept: the values of environment facts and parameters that are secrets by their name or shape. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from executor.secret_names import SECRET_NAME
from harness.result.cell_key import Cell

HIDDEN: Final = "***"
# The user's part of an address: https://user:password@host.
_USER: Final = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def document_without_secrets(document: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a document, or of its head, with environment and parameters cleaned; the rest is shared."""
    cleaned = dict(document)
    cleaned["environment"] = without_secrets(document.get("environment", {}))
    if "results" in document:
        cleaned["results"] = [result_without_secrets(result) for result in document["results"]]
    return cleaned


def result_without_secrets(result: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of one entry of ``results`` with its parameters cleaned; the rest is shared."""
    return {**result, "parameters": without_secrets(result["parameters"])}


def cell_without_secrets(cell: Cell) -> Cell:
    """The cell as it is stored."""
    return replace(cell, parameters=json.dumps(without_secrets(cell.parameter_values), sort_keys=True))


def without_secrets(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values by name, secrets hidden."""
    return {name: _cleaned(name, value) for name, value in values.items()}


def _cleaned(name: str, value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if SECRET_NAME.search(name.replace("-", "_")):
        return HIDDEN
    if isinstance(value, str):
        return _USER.sub(HIDDEN, value)
    if isinstance(value, Mapping):
        return without_secrets(value)
    if isinstance(value, list):
        return [_cleaned(name, item) for item in value]
    return value
