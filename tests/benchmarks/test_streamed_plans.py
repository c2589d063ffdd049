"""What it buys that steps start while their plan is still being written: on the stand-in, in one run of each kind.

The model writes as fast as a middling hosted one (the stand-in's own figures), and its steps take as long as such calls
take, all at a tenth of the time.
"""

from __future__ import annotations

import json
import time
from statistics import median

from pytest_benchmark.fixture import BenchmarkFixture

from harness.config import Config, LanguageModel, load_config
from harness.execution import execute
from harness.planner import LivePlan, load_plan, plan_task
from harness.standin import StandIn
from harness.standin.chat_request import ChatRequest
from tests.benchmarks.measure import ROWS

STEPS = 12
SCALE = 0.1
REPETITIONS = 3


def plan_text() -> str:
    steps = [
        {
            "step_id": f"step{number}",
            "description": f"Write paragraph {number}",
            "tool": "content_generator",
            "prompt": f"Write paragraph {number} of a text about critical paths, in about three sentences.",
            "depends_on": [],
        }
        for number in range(1, STEPS + 1)
    ]
    return json.dumps({"steps": steps})


def script(request: ChatRequest) -> str | None:
    return plan_text() if request.response_format is not None else None


def config_for(standin: StandIn) -> Config:
    llm = LanguageModel(base_url=standin.base_url, model="planner-model")
    return load_config().model_copy(update={"llm": llm})


def whole_then_run(config: Config) -> float:
    """Seconds from the task to the last step's end, if the plan is awaited."""
    begin = time.perf_counter()
    loaded = load_plan(plan_task("write paragraphs", config=config, planner="llm"), config=config)
    assert execute(loaded, workers=STEPS, llm=config.llm).run.ok
    return time.perf_counter() - begin


def streamed(config: Config) -> tuple[float, float]:
    """The same if it is not, and when the first step started as a share of the time that the plan took."""
    begin = time.perf_counter()
    with LivePlan("write paragraphs", config) as live:
        execution = execute(live.loaded, workers=STEPS, llm=config.llm, feed=live)
        live.finish()
        seconds = time.perf_counter() - begin
    run = execution.run
    assert run.ok
    assert len(run.statuses) == STEPS
    first = min(attempt.started for attempt in run.timeline.attempts if attempt.started is not None) / 1e9
    return seconds, first / live.writing.written_seconds


def test_the_first_step_starts_before_half_of_the_plan_is_written(benchmark: BenchmarkFixture) -> None:
    with StandIn(script=script, scale=SCALE) as standin:
        config = config_for(standin)
        measured = [(*streamed(config), whole_then_run(config)) for _ in range(REPETITIONS)]
        benchmark.pedantic(streamed, args=(config,), rounds=1)
    live, share, awaited = (median(column) for column in zip(*measured, strict=True))
    benchmark.extra_info["ratio"] = live / awaited
    benchmark.extra_info["first_step_share"] = share
    what = f"streamed plan of {STEPS} steps, ms in all (first step at {share:.0%} of the plan)"
    ROWS.append((what, f"{live * 1000:.0f}", f"{awaited * 1000:.0f}", f"{live / awaited:.2f}", "", "0.5 of the plan"))
    assert share < 0.5
    assert live < awaited
