"""What a run or a benchmark goes on from, as it was kept: whether it is what this program would have written.

Rules of this module:
- What is filled in from here goes the way of the command line, which trusts the types of its options.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from harness.files.schema_check import SchemaChecker
from harness.result.document_check import check_record, check_sample

_TEXT: Final = {"type": ["string", "null"]}
_COUNT: Final = {"type": ["integer", "null"], "minimum": 0}
_TEXTS: Final = {"type": "array", "items": {"type": "string"}}

_OF_BOTH: Final = {
    "seed": _COUNT, "llm": _TEXT, "model": _TEXT, "config_path": _TEXT, "settings": _TEXTS, "backend_options": _TEXTS,
}  # fmt: skip
_RUN: Final = {
    "type": "object",
    "properties": {
        **_OF_BOTH, "scenario": _TEXT, "executor": _TEXT, "policy": _TEXT,
        "workers": {"type": ["integer", "null"], "minimum": 1}, "plan": {"type": ["object", "null"]},
    },
}  # fmt: skip
_BENCH: Final = {
    "type": "object",
    "properties": {
        "request": {
            "type": "object",
            "properties": {
                **_OF_BOTH, "scenarios": _TEXTS, "executors": _TEXTS, "workers": _TEXTS, "policies": _TEXTS,
                "parameters": _TEXTS, "repetitions": _COUNT, "warmup": _COUNT, "until_width": _TEXT, "replay": _TEXT,
                "cache": {"type": "string"},
            },
        },
        "digests": {"type": "object", "additionalProperties": _TEXT},
        "cells": _TEXTS,
        "values": {"type": "object"},
    },
}  # fmt: skip

_REPETITION: Final = {
    "type": "object",
    "required": ["cell", "record", "errors", "warnings", "cold_startup_seconds", "wall_seconds", "calls", "tokens"],
    "properties": {
        "cell": {"type": "integer", "minimum": 0}, "record": {"type": "object"}, "warnings": _TEXTS,
        "errors": {"type": "object", "additionalProperties": {"type": "array", "minItems": 4, "maxItems": 4}},
        "cold_startup_seconds": {"type": "number", "minimum": 0}, "wall_seconds": {"type": "number", "minimum": 0},
        "calls": {"type": "integer", "minimum": 0}, "tokens": {"type": "integer", "minimum": 0},
    },
}  # fmt: skip


def check_started_run(words: Mapping[str, Any]) -> None:
    """See that a run can be started like that again.

    Raises:
        SchemaFault: something in it is of another kind.
    """
    _checker("run").check(words, ("started_as",))


def check_started_bench(words: Mapping[str, Any]) -> None:
    """See that a benchmark can be started like that again.

    Raises:
        SchemaFault: something in it is of another kind.
    """
    _checker("bench").check(words, ("started_as",))


def check_repetition(words: Mapping[str, Any], sample: Mapping[str, Any]) -> None:
    """See that a repetition can be taken into a benchmark that goes on. ``sample`` is its entry of ``samples``.

    Raises:
        SchemaFault: something in it is of another kind, or missing.
    """
    _checker("repetition").check(words, ("record",))
    check_record(words["record"], ("record", "record"))
    check_sample(sample, ("sample",))


@cache
def _checker(of: str) -> SchemaChecker:
    schema = {"run": _RUN, "bench": _BENCH, "repetition": _REPETITION}[of]
    return SchemaChecker(schema, schema)
