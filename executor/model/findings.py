"""What is wrong, where, and what to do about it: the one shape of every message about a file.

Rules of this module:
- A finding speaks to the person who wrote the file. It names the place and offers a fix.
- Checks collect findings; nothing stops at the first one. :class:`WorkflowError` carries them all.
- Modules that see only data leave ``file`` and ``line`` open; the reader of the file fills them in from ``path``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Severity = Literal["error", "warning", "hint"]
Path = tuple[str | int, ...]

# difflib compares the name with each candidate: more of them would take longer than a person waits.
CANDIDATES_LIMIT = 2000


def printable(text: str) -> str:
    """The text with everything escaped that does not print, line ends excepted."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign == "\n" else repr(sign)[1:-1] for sign in text)


@dataclass(frozen=True, slots=True)
class Finding:
    """One remark about a workflow or scenario.

    ``code`` is a stable short name (``cycle``, ``unknown-field``). ``path`` leads to the place in the parsed file,
    as keys and positions: ``("steps", 1, "depends_on", 0)``.
    """

    severity: Severity
    code: str
    message: str
    fix: str = ""
    step: str | None = None
    path: Path = ()
    file: str | None = None
    line: int | None = None

    def __post_init__(self) -> None:
        # Messages contain names from a file; they must not steer the terminal that shows them.
        object.__setattr__(self, "message", printable(self.message))
        object.__setattr__(self, "fix", printable(self.fix))
        if self.step is not None:
            object.__setattr__(self, "step", printable(self.step))

    @property
    def field(self) -> str:
        """The path as a person writes it: ``steps[1].depends_on[0]``."""
        text = ""
        for part in self.path:
            if isinstance(part, int):
                text += f"[{part}]"
            elif part and "." not in part and "[" not in part:
                text += f".{part}" if text else part
            else:
                text += f"[{part!r}]"
        return printable(text).replace("\n", "\\n")

    def at(self, file: str | None, line: int | None) -> Finding:
        """The same finding, with its place in a file."""
        return replace(self, file=file, line=line)

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        where = [place] if place else []
        if self.step is not None:
            where.append(f"step {self.step!r}")
        if self.path:
            where.append(self.field)
        head = ", ".join(where)
        text = f"{self.severity}[{self.code}] {head + ': ' if head else ''}{self.message}"
        return f"{text}\n    fix: {self.fix}" if self.fix else text


class WorkflowError(ValueError):
    """A workflow that must not run. ``findings`` holds every error found, and the warnings beside them."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings: Sequence[Finding] = tuple(findings)
        super().__init__("\n".join(str(finding) for finding in self.findings))

    def __reduce__(self) -> tuple[type[WorkflowError], tuple[Sequence[Finding]]]:
        return type(self), (self.findings,)


def raise_errors(findings: Sequence[Finding]) -> None:
    """Raise :class:`WorkflowError` with all findings if any of them is an error."""
    if any(finding.severity == "error" for finding in findings):
        raise WorkflowError(findings)


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that a misspelt name most likely meant, or None.

    Of more than :data:`CANDIDATES_LIMIT` candidates only those of about the same length and the same beginning count.
    """
    names = list(candidates)
    folded = name.casefold()
    same = next((known for known in names if known != name and known.casefold() == folded), None)
    if same is not None:
        return same
    if len(names) > CANDIDATES_LIMIT:
        names = [known for known in names if known[:1] == name[:1] and abs(len(known) - len(name)) <= 1]
    matches = difflib.get_close_matches(name, names[:CANDIDATES_LIMIT], n=1)
    return matches[0] if matches else None


def did_you_mean(name: str, candidates: Iterable[str], otherwise: str | None = None) -> str:
    """A fix for an unknown name: the nearest one that is known, else ``otherwise``, by default all of them."""
    known = list(candidates)
    near = nearest(name, known)
    if near is not None:
        return f"did you mean {near!r}?"
    if otherwise is not None:
        return otherwise
    return f"use one of: {', '.join(sorted(known))}" if known else "leave it out"
