"""Steps that convert documents: from a file, or from the text that a step before wrote.

Rules of this module:
- A format that the converter does not know is asked of a model, and a warning says so.
- A task that names no document gets the shipped one, as an input that can be set, and a warning says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from executor.model.findings import Finding
from harness.planner.draft import Draft, output_of, step_id
from harness.planner.tokens import Token, listed, said, unquoted
from harness.planner.vocabulary import DETERMINERS, FORMATS

CONVERTER: Final = "document_converter"
WRITER: Final = "content_generator"
_DECLARATION: Final = {"kind": "python", "callable": "harness.scenario_tools.documents:convert"}
_SHIPPED: Final = "documents/critical_paths.md"
_OUTPUT_FOLDER: Final = "out"
_EXTRA_FORMATS: Final = frozenset(["png", "jpg", "jpeg", "svg", "gif", "xlsx", "csv", "xml", "json", "mobi", "ps"])


def names_format(tokens: Sequence[Token]) -> bool:
    """Whether the words are a list of formats of documents."""
    items = [_plain(item) for item in listed(tokens)]
    known = [item in FORMATS or item in _EXTRA_FORMATS for item in items]
    return (
        bool(items)
        and any(known)
        and all(yes or len(item.split()) == 1 for yes, item in zip(known, items, strict=True))
    )


def conversion_steps(
    draft: Draft, formats: Sequence[str], *, sources: Sequence[int], what: Sequence[Token], task: str
) -> tuple[int, ...]:
    """A step for each format and source; without a source the document is a file."""
    steps: list[int] = []
    for source in sources or (None,):
        for name in formats:
            low = _bare(name)
            shown = name.removeprefix("a ").removesuffix(" format")
            label = draft.steps[source].label if source is not None else ""
            description = f"Convert {label} to {shown}" if len(sources) > 1 else f"Convert to {shown}"
            if low not in FORMATS:
                steps.append(_asked(draft, description, shown, source, said(task, what)))
                continue
            args: dict[str, Any] = {"to": FORMATS[low], "output_folder": "{{ inputs.output_folder }}"}
            if source is None:
                args["source"] = "{{ inputs.document }}"
                _declare_document(draft, what)
            else:
                args |= {"text": output_of(source), "name": step_id(source)}
            draft.inputs.setdefault("output_folder", _OUTPUT_FOLDER)
            draft.tools[CONVERTER] = dict(_DECLARATION)
            after = () if source is None else (source,)
            steps.append(draft.add(description, tool=CONVERTER, label=f"{shown} file", args=args, after=after))
    return tuple(steps)


def _declare_document(draft: Draft, what: Sequence[Token]) -> None:
    """The file that the task names, or one that can be set."""
    if "document" in draft.inputs:
        return
    named = next(
        (unquoted(token) for token in what if "." in token.text or "/" in token.text or token.kind == "quoted"), None
    )
    draft.inputs["document"] = named or _SHIPPED
    if named is None:
        message = "the task names no file: a document that comes with makespan is converted"
        draft.findings.append(
            Finding("warning", "no-document", message, "name the file in the task, or --set document=FILE")
        )


def _asked(draft: Draft, description: str, shown: str, source: int | None, what: str) -> int:
    message = f"no tool here converts to {shown}: the model is asked"
    draft.findings.append(
        Finding("warning", "no-converter", message, f"ask for one of: {', '.join(sorted(set(FORMATS.values())))}")
    )
    words = f"Convert {'this' if source is not None else what or 'the document'} to {shown}"
    return draft.add(description, tool=WRITER, label=shown, words=words, sources=() if source is None else (source,))


def _plain(item: Sequence[Token]) -> str:
    return " ".join(token.low for token in item if token.low not in DETERMINERS and token.low not in ("format", "file"))


def _bare(name: str) -> str:
    words = [word for word in name.lower().split() if word not in DETERMINERS and word not in ("format", "file")]
    return " ".join(words)
