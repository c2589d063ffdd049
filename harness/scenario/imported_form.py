"""What becomes of a file in another system's form: native data, and what was noticed on the way.

Rules of this module:
- The data is judged like that of any other file; what the other form's own rules forbid is among the findings.
- ``origins`` lead from the native data back to the file, so that every finding names the place that a person wrote.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from executor.model.findings import Finding, Path, did_you_mean

# A file whose every task is wrong is wrong in one way: that many findings show which.
FINDINGS_SHOWN: Final = 50


@dataclass(slots=True)
class ImportedForm:
    """Native ``data``. ``origins``: from a path in it to the path in the file (the longest prefix counts).

    ``workers``: how many steps the recorded machines run at once, where the file says so.
    """

    data: dict[str, Any]
    findings: list[Finding] = field(default_factory=list)
    origins: dict[Path, Path] = field(default_factory=dict)
    workers: int | None = None

    def fault(self, code: str, message: str, fix: str, path: Path, step: str | None = None) -> None:
        """Note an error; after :data:`FINDINGS_SHOWN` of them only that there are more."""
        self._note(Finding("error", code, message, fix, step=step, path=path))

    def near(self, name: str, known: Iterable[str], otherwise: str) -> str:
        """The fix of an unknown name. It is compared with all that are known: not for a finding that is not shown."""
        return otherwise if len(self.findings) >= FINDINGS_SHOWN else did_you_mean(name, known, otherwise)

    def warn(self, code: str, message: str, fix: str, path: Path) -> None:
        """Note what a person should know, and what forbids nothing."""
        self._note(Finding("warning", code, message, fix, path=path))

    def _note(self, finding: Finding) -> None:
        count = len(self.findings)
        if count < FINDINGS_SHOWN:
            self.findings.append(finding)
        elif count == FINDINGS_SHOWN:
            message = f"the file has more faults than these {FINDINGS_SHOWN}"
            self.findings.append(Finding("error", "more-faults", message, "mend these first", path=finding.path))
