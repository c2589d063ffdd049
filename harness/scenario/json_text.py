"""Text of a workflow that is JSON but for its placeholders: what a placeholder becomes there. Pure.

Rules of this module:
- Text is JSON if it is an object or a list once each placeholder is a value: ``0``, or a letter inside of quotes.
- Outside of quotes a template writes Python's text, ``True`` and ``None``; ``tojson`` writes JSON. A number is the same
  in both, and so is an output that is JSON text already, which nobody knows before the run: it is a hint.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from executor.model.findings import Finding, Path
from executor.model.workflow import Workflow

_PLACEHOLDER: Final = re.compile(r"\{\{(?P<source>(?:(?!\{\{|\}\}).)+)\}\}", re.DOTALL)
_WRITES_JSON: Final = re.compile(r"\|\s*tojson\b|\|\s*(?:int|length|count)\s*[-+]?$")
_NUMBER_INPUT: Final = re.compile(r"inputs\.(\w+)")
_MESSAGE: Final = "a placeholder outside of quotes is no JSON where its value is true, false, null, a text or holds one"
_FIX: Final = "write `{{ … | tojson }}`, unless the value is JSON text already"


def quoted_in_json(text: str, placeholder: re.Pattern[str]) -> frozenset[int] | None:
    """Where placeholders stand inside the quotes of JSON text; None where the text is none, or has no placeholder.
    O(length of the text).
    """
    if text.lstrip()[:1] not in ("{", "["):
        return None
    matches = list(placeholder.finditer(text))
    if not matches:
        return None
    quoted: set[int] = set()
    pieces: list[str] = []
    position, inside = 0, False
    for match in matches:
        before = text[position : match.start()]
        inside ^= _ends_in_quotes(before)
        pieces += (before, "x" if inside else "0")
        position = match.end()
        if inside:
            quoted.add(match.start())
    try:
        is_json = isinstance(json.loads("".join([*pieces, text[position:]])), dict | list)
    except (ValueError, RecursionError):
        return None
    return frozenset(quoted) if is_json else None


def json_hints(workflow: Workflow) -> Iterator[Finding]:
    """A hint for each prompt and argument that is JSON text, and holds a placeholder that may write something else."""
    for index, step in enumerate(workflow.steps):
        if step.prompt is None and step.args is None:
            continue
        for path, text in _texts({"prompt": step.prompt, "args": step.args}, ("steps", index)):
            quoted = quoted_in_json(text, _PLACEHOLDER)
            if quoted is not None and any(
                match.start() not in quoted and not _is_json(match["source"].strip(), workflow.inputs)
                for match in _PLACEHOLDER.finditer(text)
            ):
                yield Finding("hint", "python-in-json", _MESSAGE, _FIX, step=step.step_id, path=path)


def _is_json(source: str, inputs: Mapping[str, Any]) -> bool:
    """Whether an expression surely writes JSON."""
    single = _NUMBER_INPUT.fullmatch(source)
    value = None if single is None else inputs.get(single[1])
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number or source in ("index", "copy") or _WRITES_JSON.search(source) is not None


def _texts(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    open_values: list[tuple[Path, Any]] = [(path, value)]
    while open_values:
        place, found = open_values.pop()
        if isinstance(found, str):
            yield place, found
        elif isinstance(found, Mapping):
            open_values += [((*place, key), each) for key, each in found.items()]
        elif isinstance(found, Sequence):
            open_values += [((*place, number), each) for number, each in enumerate(found)]


def _ends_in_quotes(text: str) -> bool:
    """Whether JSON text that begins outside of a string breaks off inside of one."""
    return len(re.findall(r'(?<!\\)(?:\\\\)*"', text)) % 2 == 1
