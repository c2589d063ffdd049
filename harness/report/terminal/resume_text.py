"""What a resumed run will do, as text, before it does it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from executor.journal.resume_plan import ResumePlan
from harness.plain_text import counted, one_line
from harness.report.terminal.console import Line

STEPS_SHOWN: Final = 50
_ID_SHOWN: Final = 12
_NAME_LIMIT: Final = 60
_WORDS: Final = {"runs": "runs", "depends": "may run", "left_out": "is left out, as you asked"}


def resume_lines(plan: ResumePlan) -> Iterator[Line]:
    """How many steps are reused, and why each other one runs."""
    earlier = plan.earlier
    reused = plan.count("reused")
    how = {"interrupted": ", which was interrupted", None: ", which was cut off"}.get(earlier.closed, "")
    calls = f", and {counted(plan.reused_calls, 'item')} of mapped steps" if plan.reused_calls else ""
    yield Line(
        f"Resuming run {earlier.run_id[:_ID_SHOWN]} of {one_line(earlier.workflow_id, _NAME_LIMIT)}{how}: "
        f"{reused:,} of {counted(len(plan.steps), 'step')} are reused{calls}.",
        "bold",
    )
    told = [step for step in plan.steps if step.fate in _WORDS]
    for step in told[:STEPS_SHOWN]:
        reason = f": {one_line(step.reason, 200)}" if step.reason else ""
        yield Line(f"  {one_line(step.step_id, _NAME_LIMIT)} {_WORDS[step.fate]}{reason}")
    if len(told) > STEPS_SHOWN:
        yield Line(f"  … and {len(told) - STEPS_SHOWN:,} more")
