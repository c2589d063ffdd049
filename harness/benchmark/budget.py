"""What a benchmark would take, before it runs; and what it may take, while it runs.

Rules of this module:
- Estimates come from what files state (``expected_seconds``, ``expected_tokens``) and say where they had to guess.
- A budget is looked at between runs: nothing is cut off in its middle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from executor.model.workflow import Step
from executor.tools.chat import estimate_tokens
from harness.benchmark.matrix import SERIAL, Case, Matrix, MatrixCell
from harness.benchmark.runner import Measured, Runner
from harness.scenario.forecast import forecast, items_of

# An answer whose length is not stated.
GUESSED_ANSWER_TOKENS: Final = 250


@dataclass(frozen=True, slots=True)
class Budget:
    """What must not be exceeded; None is without limit."""

    max_calls: int | None = None
    max_tokens: int | None = None
    max_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class CaseEstimate:
    """One scenario with one set of parameters: of one run, and how many runs there are, warm-up included.

    ``tokens_guessed``: steps that ask a model and state no tokens. ``seconds_unstated``: steps that state no duration.
    """

    case: Case
    cells: int
    runs: int
    calls_a_run: int
    tokens_a_run: int
    tokens_guessed: int
    seconds: float
    seconds_unstated: int

    @property
    def calls(self) -> int:
        """Of all runs."""
        return self.runs * self.calls_a_run

    @property
    def tokens(self) -> int:
        """Of all runs."""
        return self.runs * self.tokens_a_run


@dataclass(frozen=True, slots=True)
class Estimate:
    """A whole benchmark."""

    cases: tuple[CaseEstimate, ...]

    @property
    def runs(self) -> int:
        """Of all cells, warm-up included."""
        return sum(one.runs for one in self.cases)

    @property
    def calls(self) -> int:
        """To services, in all runs."""
        return sum(one.calls for one in self.cases)

    @property
    def tokens(self) -> int:
        """Of models, in all runs."""
        return sum(one.tokens for one in self.cases)

    @property
    def seconds(self) -> float:
        """Of all runs, as far as steps state their durations."""
        return sum(one.seconds for one in self.cases)


def estimate(matrix: Matrix, runner: Runner) -> Estimate:
    """What the matrix would take with the fixed numbers of repetitions."""
    return Estimate(tuple(_case_estimate(case, matrix.cells_of(case), runner) for case in matrix.cases))


def _case_estimate(case: Case, cells: list[MatrixCell], runner: Runner) -> CaseEstimate:
    real = [cell for cell in cells if not cell.simulated]
    rounds = case.repetitions + case.warmup
    steps = case.loaded.graph.steps
    items, _ = items_of(steps, case.loaded.workflow.inputs, case.loaded.scenario.expected_outputs)
    asked = [
        step
        for place, step in enumerate(steps)
        if runner.is_call(case, place)
        for _ in range(items.get(step.step_id, 1))
    ]
    stated = [step.expected_tokens for step in asked if step.expected_tokens is not None]
    unstated = [step for step in asked if step.expected_tokens is None]
    seconds = [_seconds(cell) for cell in real]
    return CaseEstimate(
        case=case,
        cells=len(cells),
        runs=len(real) * rounds,
        calls_a_run=len(asked),
        tokens_a_run=sum(stated) + sum(_guessed_tokens(case, step) for step in unstated),
        tokens_guessed=len(unstated),
        seconds=rounds * math.fsum(seconds),
        seconds_unstated=sum(1 for step in case.loaded.graph.steps if step.expected_seconds is None),
    )


def _seconds(cell: MatrixCell) -> float:
    loaded = cell.case.loaded
    workers = 1 if SERIAL in (cell.executor, cell.policy) else cell.workers
    outlook = forecast(
        loaded.graph,
        workers=workers,
        scale=loaded.scenario.scale,
        resources=loaded.resources,
        inputs=loaded.workflow.inputs,
        expected_outputs=loaded.scenario.expected_outputs,
    )
    if not outlook.in_seconds:
        return 0.0
    return outlook.work_amount if workers == 1 else outlook.lower_bound_amount


def _guessed_tokens(case: Case, step: Step) -> int:
    """Prompt and system text by their length, the answer at what it may be at most, else a middling one."""
    declared = case.loaded.tools.get(step.tool or "")
    options = {} if declared is None else declared.options
    if declared is not None and declared.kind == "http":
        return 0
    words = f"{step.prompt or ''}{options.get('system') or ''}{step.args or ''}"
    most = (step.args or {}).get("max_tokens", options.get("max_tokens"))
    return estimate_tokens(words) + (most if isinstance(most, int) else GUESSED_ANSWER_TOKENS)


class Spending:
    """What was spent so far, and whether another run may be afforded."""

    def __init__(self, budget: Budget, expected: Estimate) -> None:
        self.budget = budget
        self.calls = 0
        self.tokens = 0
        self._seen: set[Case] = set()
        self._expected = {one.case: (one.calls_a_run, one.tokens_a_run) for one in expected.cases}

    def add(self, measured: Measured) -> None:
        """Count a run. The next of its case is expected to take as much as the dearest so far, whatever was guessed."""
        self.calls += measured.calls
        self.tokens += measured.tokens
        case = measured.cell.case
        if measured.cell.simulated:
            return
        calls, tokens = self._expected[case]
        if case in self._seen:
            self._expected[case] = max(calls, measured.calls), max(tokens, measured.tokens)
        else:
            self._seen.add(case)
            self._expected[case] = max(calls, measured.calls), measured.tokens or tokens

    def refuses(self, cell: MatrixCell) -> str | None:
        """``calls`` or ``tokens`` if one more run would go beyond, else None. Simulated runs cost nothing."""
        if cell.simulated:
            return None
        calls, tokens = self._expected[cell.case]
        if self.budget.max_calls is not None and self.calls + calls > self.budget.max_calls:
            return "calls"
        if self.budget.max_tokens is not None and self.tokens + tokens > self.budget.max_tokens:
            return "tokens"
        return None
