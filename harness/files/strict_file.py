"""Reads one YAML or JSON file strictly, and knows the line of everything in it.

Rules of this module:
- A bad file is a :class:`WorkflowError` with findings that name file and line; never a traceback, and within seconds.
- What is read is plain data: mappings with text keys, lists, text, finite numbers, true, false, null.
- The name decides the format: ``.json`` is JSON, everything else is YAML.
"""

from __future__ import annotations

import difflib
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal

from executor.model.findings import Finding, WorkflowError
from executor.model.findings import Path as FieldPath
from harness.files.json_places import JsonPlaces
from harness.files.packaged import shipped_scenarios
from harness.files.strict_json import read_json
from harness.files.strict_yaml import read_yaml
from harness.files.tree_builder import Place, ScalarError, TreeBuilder, plain_scalar

Format = Literal["yaml", "json"]

SIZE_LIMIT_BYTES: Final = 256 * 1024 * 1024
_NAMES_SCANNED: Final = 2000
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?", re.ASCII)
_UTF8_BOM: Final = b"\xef\xbb\xbf"
_OTHER_BOMS: Final = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


@dataclass(slots=True)
class Document:
    """A file's data and where each part of it is. ``data`` is always a mapping."""

    data: dict[str, Any]
    source_path: str
    format: Format
    text: str = field(repr=False)
    _root: Place | None = field(default=None, repr=False)
    _places: JsonPlaces | None = field(default=None, repr=False)
    # Of the data as a whole: what is said of a large file is said of that, and no line has to be looked for.
    _first_line: int | None = field(default=None, repr=False)

    def line_of(self, path: FieldPath) -> int:
        """The line (from 1) of the node at ``path``, or of its deepest ancestor that exists."""
        if self.format == "json":
            if self._places is None:
                self._places = JsonPlaces(self.text)
            return self._places.line_of(path)
        if not path and self._first_line is not None:
            return self._first_line
        if self._root is None:
            builder = TreeBuilder(keep_places=True)
            read_yaml(self.text, builder)
            self._root = builder.root_place
        return self._root.line_of(path)

    def forget(self) -> None:
        """Let go of data and text: of a large file they take as much memory as its run. No place is known any more."""
        self.data, self.text, self._root, self._places = {}, "", None, None

    def place(self, findings: Iterable[Finding]) -> list[Finding]:
        """The findings, each with file and line; those that have a file already keep it."""
        return [
            finding if finding.file is not None else finding.at(self.source_path, self.line_of(finding.path))
            for finding in findings
        ]


def read_document(path: str | Path) -> Document:
    """Read a file.

    Raises:
        WorkflowError: it cannot be read, or is not a mapping in strict YAML or JSON.

    """
    source = str(path)
    return parse_document(read_text(path), source=source, format="json" if source.lower().endswith(".json") else "yaml")


def read_text(path: str | Path) -> str:
    """Read a file as text.

    Raises:
        WorkflowError: it cannot be read, is too large, or is not UTF-8.

    """
    source = str(path)
    return _decode(_read_bytes(Path(path), source), source)


def parse_document(text: str, *, source: str, format: Format) -> Document:  # noqa: A002 - the field's own word
    """Read text that is already at hand; ``source`` is the name that findings give it.

    Raises:
        WorkflowError: it is not a mapping in strict YAML or JSON.

    """
    builder = TreeBuilder()
    try:
        if not text.strip():
            raise builder.stop("empty-file", "the file is empty", 1, "write a workflow or a scenario with `steps`")
        if format == "json":
            data = read_json(text, builder)
        else:
            read_yaml(text, builder)
            data = builder.root
            if data is None and not builder.findings:
                raise builder.stop("empty-file", "the file holds no data", 1, "write a workflow with `steps`")
        if not isinstance(data, dict) and not builder.findings:
            kind = "a list" if isinstance(data, list) else "a single value"
            raise builder.stop("not-a-mapping", f"the file holds {kind}", 1, "start with named fields such as `steps`")
    except WorkflowError as error:
        raise WorkflowError(_in_file(error.findings, source)) from None
    if builder.findings:
        raise WorkflowError(_in_file(builder.findings, source))
    first_line = None if format == "json" else builder.root_place.line
    return Document(data, source, format, text, _first_line=first_line)


def parse_value(text: str) -> Any:
    """A value from the command line: JSON if it is JSON, else as an unquoted YAML word (number, true, null, text).

    Raises:
        WorkflowError: a number that is not finite or too long, or JSON with duplicate keys.

    """
    builder = TreeBuilder()
    try:
        as_json = text[:1] in {"[", "{", '"'} or _JSON_NUMBER.fullmatch(text)
        value = read_json(text, builder) if as_json else plain_scalar(text)
    except WorkflowError as error:
        if all(finding.code == "json-syntax" for finding in error.findings):
            return text
        builder.findings[:] = error.findings
    except ScalarError as error:
        raise WorkflowError([Finding("error", error.code, str(error))]) from None
    if builder.findings:
        # A value has no lines, and its place is where it is used.
        raise WorkflowError([replace(finding, path=(), line=None) for finding in builder.findings])
    return value


def _in_file(findings: Iterable[Finding], source: str) -> list[Finding]:
    return [finding.at(source, finding.line) for finding in findings]


def _fail(code: str, source: str, message: str, fix: str = "", line: int | None = None) -> WorkflowError:
    return WorkflowError([Finding("error", code, message, fix=fix, file=source, line=line)])


def _read_bytes(path: Path, source: str) -> bytes:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise _fail("is-a-directory", source, "this is a directory, not a file", _inside(path))
        if not stat.S_ISREG(mode):
            raise _fail("not-a-file", source, "this is not a regular file", "save its content to a file first")
        with path.open("rb") as stream:
            content = stream.read(SIZE_LIMIT_BYTES + 1)
    except WorkflowError:
        raise
    except FileNotFoundError:
        raise _fail("missing-file", source, "there is no such file", _nearest(path)) from None
    except PermissionError:
        raise _fail("unreadable-file", source, "reading this file is not permitted", "check its permissions") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise _fail("unreadable-file", source, f"the file cannot be read: {reason}") from None
    if len(content) > SIZE_LIMIT_BYTES:
        limit = SIZE_LIMIT_BYTES // (1024 * 1024)
        raise _fail("file-too-large", source, f"the file is larger than {limit} MB")
    return content


def _decode(content: bytes, source: str) -> str:
    for mark, name in _OTHER_BOMS.items():
        if content.startswith(mark):
            raise _fail("not-utf8", source, f"the file is {name}, not UTF-8", "save it as UTF-8", 1)
    content = content.removeprefix(_UTF8_BOM)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"the file is not UTF-8: byte {content[error.start]:#04x} at position {error.start}"
        raise _fail("not-utf8", source, message, "save it as UTF-8", line) from None


def _names_in(folder: Path, suffixes: frozenset[str]) -> list[str]:
    try:
        return [entry.name for entry in islice(folder.iterdir(), _NAMES_SCANNED) if entry.suffix in suffixes]
    except OSError:
        return []


def _inside(folder: Path) -> str:
    names = sorted(_names_in(folder, frozenset({".yaml", ".yml", ".json"})))
    return f"name a file in it, such as {folder / names[0]}" if names else "name a file"


def _nearest(path: Path) -> str:
    beside = _names_in(path.parent, frozenset({".yaml", ".yml", ".json"}))
    near = [str(path.parent / name) for name in difflib.get_close_matches(path.name, beside, n=2)]
    shipped = shipped_scenarios()
    near += [f"the shipped scenario {name}" for name in difflib.get_close_matches(path.stem, shipped, n=2, cutoff=0.7)]
    if near:
        return f"did you mean {' or '.join(near)}?"
    return "check the name; `makespan scenarios` lists the shipped ones (a task is several words, in quotation marks)"
