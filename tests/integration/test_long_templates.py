"""A template that takes as long as any may: what else goes on is late by that much, and no more."""

from __future__ import annotations

import time

import pytest

from executor import Step, Workflow, run
from executor.templates.template import TemplateError, render_text

# How much there is to do only a run knows.
LONG = "{% for a in steps.rows.output %}{% for b in steps.rows.output %}{{ a ~ b }}{% endfor %}{% endfor %}"
ROWS = "x" * 5_000
TIMEOUT_SECONDS = 0.05


@pytest.mark.parametrize(
    "backend", ["asyncio", *(pytest.param(name, marks=pytest.mark.slow) for name in ("threads", "processes"))]
)
def test_a_template_that_does_too_much_delays_the_timeouts_of_others_by_its_budget_at_most(backend: str) -> None:
    steps = (
        Step(step_id="rows", tool="noop", prompt=ROWS),
        Step(step_id="waits", tool="sleep", args={"seconds": 600}, timeout=TIMEOUT_SECONDS, depends_on=("rows",)),
        Step(step_id="spins", tool="noop", prompt=LONG),
    )
    began = time.perf_counter()
    with pytest.raises(TemplateError, match="does too much"):
        render_text(LONG, {}, {"rows": ROWS})
    rendering_seconds = time.perf_counter() - began
    found = run(Workflow(steps=steps), backend=backend, workers=2)
    assert found.errors["spins"].error_type == "TemplateLimitError"
    assert "does too much" in found.errors["spins"].message
    assert found.errors["waits"].outcome == "timed_out"
    (waited,) = [attempt for attempt in found.timeline.attempts if attempt.step_id == "waits"]
    assert waited.ended is not None
    assert waited.started is not None
    late_seconds = (waited.ended - waited.started) / 1e9 - TIMEOUT_SECONDS
    # Some times as long, for a machine that does other things meanwhile; without a budget it would never end.
    assert late_seconds < 10 * rendering_seconds
