"""What a resumed run or benchmark will do, as text, before it does it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from executor.journal.resume_plan import ResumePlan
from harness.benchmark.matrix import Matrix
from harness.benchmark.runner import Measured
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
    named = [step for step in plan.steps if step.fate in _WORDS]
    for step in named[:STEPS_SHOWN]:
        reason = f": {one_line(step.reason, 200)}" if step.reason else ""
        yield Line(f"  {one_line(step.step_id, _NAME_LIMIT)} {_WORDS[step.fate]}{reason}")
    if len(named) > STEPS_SHOWN:
        yield Line(f"  … and {len(named) - STEPS_SHOWN:,} more")


def bench_resume_lines(run_id: str, matrix: Matrix, kept: Sequence[Measured], *, most: bool) -> Iterator[Line]:
    """How many repetitions of each cell are kept, and how many run; ``most``: at most so many, for intervals decide."""
    there = Counter(one.cell for one in kept)
    wanted = {cell: max(cell.case.repetitions, there[cell]) for cell in matrix.cells}
    yield Line(
        f"Resuming benchmark {run_id[:_ID_SHOWN]} of {one_line(' + '.join(matrix.scenarios), _NAME_LIMIT)}: "
        f"{len(kept):,} of {'at most ' if most else ''}{counted(sum(wanted.values()), 'repetition')} are kept.",
        "bold",
    )
    for cell in matrix.cells[:STEPS_SHOWN]:
        left = wanted[cell] - there[cell]
        runs = f"{'at most ' if most else ''}{left:,} to run" if left else "nothing to run"
        yield Line(f"  {one_line(str(cell.key), 2 * _NAME_LIMIT)}: {there[cell]:,} kept, {runs}")
    if len(matrix.cells) > STEPS_SHOWN:
        yield Line(f"  … and {counted(len(matrix.cells) - STEPS_SHOWN, 'more cell')}")
