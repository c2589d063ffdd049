"""What a run shows of itself, in a notebook for one."""

from __future__ import annotations

import pytest

from executor import Run, Step, Workflow, run


def test_a_run_shows_in_one_line_what_became_of_its_steps_and_how_long_it_took() -> None:
    steps = (
        Step(step_id="a", tool="sleep", args={"seconds": 1.5}),
        Step(step_id="b", tool="flaky", args={"fail_times": 1}),
        Step(step_id="c", tool="noop", depends_on=("b",)),
        Step(step_id="d", tool="noop", depends_on=("a",)),
    )
    result = run(Workflow(workflow_id="mine", steps=steps), backend="virtual", workers=2)
    shown = (
        "<Run of 'mine' on virtual, 2 workers: 2 succeeded, 1 failed, 1 skipped, 1.5 s; see outputs, errors, timeline>"
    )
    assert repr(result) == shown


def test_what_a_run_shows_is_no_longer_for_many_steps() -> None:
    def shown(steps: int) -> str:
        made = tuple(Step(step_id=f"step-{n}", tool="noop", prompt="x" * 100) for n in range(steps))
        return repr(run(Workflow(steps=made), backend="virtual"))

    assert len(shown(2000)) < len(shown(2)) + 20


@pytest.mark.parametrize(("interrupted", "word"), [(True, "interrupted"), (False, "8 workers: 1 succeeded")])
def test_a_run_that_was_interrupted_says_so(interrupted: bool, word: str) -> None:
    result: Run = run(Workflow(steps=(Step(step_id="a", tool="noop"),)))
    result.interrupted = interrupted
    assert word in repr(result)
