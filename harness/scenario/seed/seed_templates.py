"""References in the seed system's files become Jinja2 templates.

Three spellings are known: a whole value ``steps.a.out``, ``${steps.a.out}`` inside text, and ``{name}`` or
``{name.field}``. Every other brace is literal and is escaped so that Jinja2 leaves it alone.

Rules of this module:
- ``{name}`` means, in this order: a name of the step's own ``input_mapping``; ``steps…`` or ``inputs…`` spelled out;
  what an earlier step calls its output; a declared input; a step; what a later step calls its output. What is left is
  an input that the file forgot to declare, and is asked for.
- In text that is JSON, a placeholder becomes JSON: ``true``, ``null``, ``["b"]``; inside quotes, text that is escaped.
- ``steps.a.output`` is step a's output whatever its name is; the name that a gives it is the same thing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from executor.model.findings import Finding, Path
from harness.scenario.json_text import quoted_in_json

_REFERENCE = re.compile(r"\$\{(?P<dollar>[^{}\s]+)\}|(?<!\{)\{(?P<brace>[^\W\d]\w*(?:\.[^\W\d]\w*)*)\}")
_WHOLE_VALUE = re.compile(r"(?:steps|inputs)\.\S+")
_PART = re.compile(r"\w[\w-]*")
_SINGLE_EXPRESSION = re.compile(r"\{\{ ((?:(?!\{\{|\}\}).)+) \}\}", re.DOTALL)
# Double braces are no placeholder of this form.
_LEFT_IN_BRACES = re.compile(r"\{\{\s*([\w.-]+)\s*\}\}")
_OUTPUT_WORDS = frozenset({"output", "outputs", "result"})
_OPENING_BRACE = re.compile(r"\{(?=[{%#])")
_LITERAL_BRACE: Final = "{{ '{' }}"


def escape(text: str, *, before_expression: bool = False) -> str:
    """Jinja2 source that renders to exactly ``text``. ``before_expression``: an expression follows at once."""
    escaped = _OPENING_BRACE.sub(_LITERAL_BRACE, text)
    return escaped[:-1] + _LITERAL_BRACE if before_expression and escaped.endswith("{") else escaped


def access(base: str, name: str) -> str:
    """``base.name``, or ``base['name']`` where the dot would not do (Jinja2 finds a dict's own methods first)."""
    if name.isascii() and name.isidentifier() and not hasattr(dict, name):
        return f"{base}.{name}"
    quoted = name.replace("\\", "\\\\").replace("'", "\\'")
    return f"{base}['{quoted}']"


@dataclass(slots=True)
class References:
    """What names mean in one file.

    ``output_names[i]``: what step i calls its output. ``asked``: inputs that are used but not declared, with the place
    of their first use. ``used``: ids of the steps referred to, and ``inlined``: names of the mapping that were
    replaced, both since the caller last emptied them.
    """

    step_ids: Sequence[str]
    output_names: Sequence[frozenset[str]]
    inputs: frozenset[str]
    asked: dict[str, Path] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    inlined: set[str] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)
    _by_id: dict[str, int] = field(default_factory=dict)
    _by_output: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for index, step_id in enumerate(self.step_ids):
            self._by_id.setdefault(step_id, index)
        for index, names in enumerate(self.output_names):
            for name in names:
                self._by_output.setdefault(name, []).append(index)

    def template(self, text: str, step: int, path: Path, mapping: Mapping[str, str] | None = None) -> str:
        """The Jinja2 source of ``text``. ``mapping`` holds the step's own names, as Jinja2 source."""
        pieces: list[str] = []
        position = 0
        quoted = quoted_in_json(text, _REFERENCE)
        for match in _REFERENCE.finditer(text):
            source = self._substitute(match, step, path, mapping or {})
            if source is None:
                continue
            if quoted is not None:
                source = _as_json(source, in_quotes=match.start() in quoted)
            pieces.append(escape(text[position : match.start()], before_expression=source.startswith("{")))
            pieces.append(source)
            position = match.end()
        pieces.append(escape(text[position:]))
        for left in _LEFT_IN_BRACES.finditer(text):
            self._remark_on_text(left.group(1), left.group(), step, path)
        return "".join(pieces)

    def value(self, value: Any, step: int, path: Path) -> Any:
        """The same for any value of ``input_mapping`` or ``input``; text may be a whole reference. Depth is limited by
        the reader.
        """
        if isinstance(value, str):
            if _WHOLE_VALUE.fullmatch(value):
                expression = self._spelled_out(value, step, path)
                if expression is not None:
                    return "{{ " + expression + " }}"
            self._remark_on_text(value, value, step, path)
            return self.template(value, step, path)
        if isinstance(value, list):
            return [self.value(item, step, (*path, index)) for index, item in enumerate(value)]
        if isinstance(value, dict):
            return {key: self.value(item, step, (*path, key)) for key, item in value.items()}
        return value

    def _remark_on_text(self, name: str, found: str, step: int, path: Path) -> None:
        """Say of what reads like a step's output, and is none in this form, that it stays text."""
        head, dot, field_name = name.partition(".")
        index = self._by_id.get(head)
        if not dot or index is None or index == step or field_name not in _OUTPUT_WORDS | self.output_names[index]:
            return
        message = f"{found!r} reads like an output of step {head!r}, and is text in this form"
        owner = self.step_ids[step] if path[:1] == ("steps",) else None
        fix = f"write steps.{head}.output for a whole value, {{{head}}} inside of text"
        self.findings.append(Finding("warning", "reads-like-reference", message, fix, step=owner, path=path))

    def output_of(self, step_id: str) -> str:
        """The template of a step's whole output."""
        self.used.add(step_id)
        return "{{ " + access("steps", step_id) + ".output }}"

    def _substitute(self, match: re.Match[str], step: int, path: Path, mapping: Mapping[str, str]) -> str | None:
        name = match.group("dollar") or match.group("brace")
        if name in mapping:
            self.inlined.add(name)
            return mapping[name]
        head, _, rest = name.partition(".")
        if head in mapping and rest:
            single = _SINGLE_EXPRESSION.fullmatch(mapping[head])
            fields = _fields(rest)
            if single and fields is not None:
                self.inlined.add(head)
                return "{{ " + _accessed(single.group(1), fields) + " }}"
        expression = self._spelled_out(name, step, path)
        if expression is None:
            expression = self._named(name, step, path)
        return None if expression is None else "{{ " + expression + " }}"

    def _spelled_out(self, text: str, step: int, path: Path) -> str | None:
        head, _, rest = text.partition(".")
        if not rest:
            return None
        if head == "inputs":
            fields = _fields(rest)
            if fields is None:
                return None
            if fields[0] not in self.inputs:
                self.asked.setdefault(fields[0], path)
            return _accessed(access("inputs", fields[0]), fields[1:])
        return self._step_reference(rest, step, path) if head == "steps" else None

    def _step_reference(self, rest: str, step: int, path: Path) -> str | None:
        step_id = self._longest_id(rest)
        fields = _fields(rest[len(step_id) + 1 :]) if len(rest) > len(step_id) else []
        if fields is None:
            return None
        self.used.add(step_id)
        index = self._by_id.get(step_id)
        if fields and index is not None and fields[0] != "output":
            names = self.output_names[index]
            if names and fields[0] not in names:
                message = f"step {step_id!r} calls its output {min(names)!r}, not {fields[0]!r}: all of it is taken"
                fix = f"write steps.{step_id}.output"
                owner = self.step_ids[step] if path[:1] == ("steps",) else None
                self.findings.append(Finding("warning", "unknown-output", message, fix, step=owner, path=path))
        return _accessed(access("steps", step_id) + ".output", fields[1:])

    def _longest_id(self, rest: str) -> str:
        """Ids may hold dots: the longest known id that ``rest`` begins with; an unknown one ends at the first dot."""
        end = len(rest)
        while end > 0:
            if rest[:end] in self._by_id:
                return rest[:end]
            end = rest.rfind(".", 0, end)
        return rest.partition(".")[0]

    def _named(self, name: str, step: int, path: Path) -> str | None:
        head, _, rest = name.partition(".")
        fields = _fields(rest) if rest else []
        if fields is None or not head.isidentifier():
            return None
        producers = [index for index in self._by_output.get(head, ()) if index != step]
        earlier = [index for index in producers if index < step]
        if earlier:
            return self._output_expression(earlier[-1], fields)
        if head in self.inputs:
            return _accessed(access("inputs", head), fields)
        if head in self._by_id and self._by_id[head] != step:
            return self._output_expression(self._by_id[head], fields)
        if producers:
            return self._output_expression(producers[0], fields)
        self.asked.setdefault(head, path)
        return _accessed(access("inputs", head), fields)

    def _output_expression(self, index: int, fields: Sequence[str]) -> str:
        step_id = self.step_ids[index]
        self.used.add(step_id)
        if fields and fields[0] == "output":
            fields = fields[1:]
        return _accessed(access("steps", step_id) + ".output", fields)


def _as_json(source: str, *, in_quotes: bool) -> str:
    """An expression that writes its value as JSON; other source, which is literal text, as it is."""
    single = _SINGLE_EXPRESSION.fullmatch(source)
    if single is None:
        return source
    value = single.group(1)
    if not in_quotes:
        return "{{ " + value + " | tojson }}"
    return "{{ ((" + value + " if " + value + " is string else " + value + " | tojson) | tojson)[1:-1] }}"


def as_text(source: Any) -> str:
    """Jinja2 source of a converted mapping value, to stand inside of a prompt."""
    return source if isinstance(source, str) else json.dumps(source, ensure_ascii=False)


def _fields(text: str) -> list[str] | None:
    parts = text.split(".")
    return parts if all(_PART.fullmatch(part) for part in parts) else None


def _accessed(base: str, fields: Sequence[str]) -> str:
    """What is inside of an output or input: a number is a place in a list."""
    for name in fields:
        base = f"{base}[{name}]" if name.isascii() and name.isdigit() else access(base, name)
    return base
