"""What is said of a run when it is over: errors that are equal are said once."""

from __future__ import annotations

from executor import Run, run
from executor.model.workflow import Step, Workflow
from harness.report.terminal.summary_text import fault_lines, step_lines

SAME = "no connection"
FAILED = [f"ask-{number}" for number in range(9)]


def ask(name: str) -> str:
    raise ValueError(SAME if name != "other" else "a fault of its own")


def failed() -> Run:
    steps = tuple(Step(step_id=name, tool="ask", args={"name": name}) for name in (*FAILED, "other"))
    return run(Workflow(steps=steps), backend="threads", tools={"ask": ask})


def test_equal_errors_are_one_line_with_their_number_and_some_of_the_steps() -> None:
    lines = [line.text for line in fault_lines(failed())]
    assert lines == [
        "failed: 9 steps ('ask-0', 'ask-1', 'ask-2', 'ask-3', 'ask-4' and 4 more): ValueError: no connection",
        "failed: step 'other': ValueError: a fault of its own",
    ]


def test_among_the_steps_an_error_is_said_at_the_first_that_had_it_and_the_others_point_there() -> None:
    lines = [line.text for line in step_lines(failed())]
    assert [line.strip() for line in lines if SAME in line] == ["ValueError: no connection (in 9 steps)"]
    assert [line.split()[0] for line in lines if line.endswith("  as ask-0")] == FAILED[1:]
    assert sum("a fault of its own" in line for line in lines) == 1


def test_many_equal_errors_are_one_line_no_longer_than_few() -> None:
    steps = tuple(Step(step_id=f"ask-{number}", tool="ask", args={"name": "any"}) for number in range(500))
    done = run(Workflow(steps=steps), backend="threads", tools={"ask": ask})
    (line,) = fault_lines(done)
    assert line.text.startswith("failed: 500 steps ('ask-0', ")
    assert len(line.text) < 150
