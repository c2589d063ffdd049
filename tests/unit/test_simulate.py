"""What a change would gain, on the virtual clock: changes and their words, runs again, tables, drawn durations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from executor.model.workflow import Resource
from executor.record.timeline import NANOSECONDS, Attempt, Interval, Timeline
from harness.report.terminal.simulation_text import simulation_lines
from harness.scenario.scenario_file import load
from harness.simulation import (
    Change,
    SimulationError,
    combined,
    distribution,
    simulate,
    subject_of_scenario,
    subject_of_timeline,
)
from harness.simulation.changes import policies, set_capacity, set_rate, speed_up, worker_counts
from harness.simulation.simulation_document import simulation_document, simulation_schema
from harness.simulation.what_if import Rerun
from harness.testing.drawing.generator import RandomSource, draw_run
from harness.testing.drawing.simulated_run import simulate as play
from tests.integration.calling import called, folder

__all__ = ["folder"]

PIPELINE = """
scenario: pipeline
resources:
  llm: {capacity: 1}
tools:
  ask: {kind: sleep, needs: {llm: 1}}
  send: {kind: flaky, retry: {max_attempts: 3, backoff_seconds: 2, multiplier: 1, jitter: none}}
steps:
  - {step_id: fetch, tool: sleep, args: {seconds: 4}}
  - {step_id: note_one, tool: ask, args: {seconds: 3}, depends_on: [fetch]}
  - {step_id: note_two, tool: ask, args: {seconds: 3}, depends_on: [fetch]}
  - {step_id: send, tool: send, args: {fail_times: 1, seconds: 1}, depends_on: [note_one, note_two]}
"""
# fetch 4, the notes one after the other 6, send 1 + 2 of backoff + 1.
BASE = 14.0


def read(text: str) -> dict[str, Any]:
    """What ``--json`` wrote; it keeps to the schema."""
    document: dict[str, Any] = json.loads(text)
    jsonschema.validate(document, simulation_schema(), cls=jsonschema.Draft202012Validator)
    return document


def pipeline(folder: Path, **more: Any) -> Any:
    (folder / "pipeline.yaml").write_text(PIPELINE, encoding="utf-8")
    return subject_of_scenario(load(folder / "pipeline.yaml"), workers=4, **more)


def attempt(index: int, name: str, start: float, end: float, number: int = 1, **more: Any) -> Attempt:
    made = Attempt(index, name, number, round(start * NANOSECONDS), round(start * NANOSECONDS), **more)
    made.started, made.ended = made.granted, round(end * NANOSECONDS)
    made.known, made.outcome = made.ended, "succeeded"
    return made


def nested_run() -> Timeline:
    """An agent that asks two services one after the other, each under a name of its own, and thinks in between."""
    agent = attempt(0, "agent", 0, 10)
    agent.blocked = (Interval(1 * NANOSECONDS, 4 * NANOSECONDS), Interval(5 * NANOSECONDS, 9 * NANOSECONDS))
    first = attempt(1, "GET /weather", 1, 4, parent="agent", released_by="agent")
    second = attempt(2, "GET /news", 5, 9, parent="agent", released_by="agent")
    return Timeline(
        ["agent", "GET /weather", "GET /news"], [(), (), ()], [(), (), ()], ["succeeded"] * 3, [agent, first, second],
        workers=2, nested_in=[-1, 0, 0],
    )  # fmt: skip


def test_a_call_that_was_cancelled_takes_the_time_that_it_took() -> None:
    run = nested_run()
    first = run.attempts[1]
    first.outcome = "cancelled"
    run.statuses[1] = "cancelled"
    again = subject_of_timeline(run, name="agent").run(Change(""))
    assert (again.makespan_seconds, again.statuses[1]) == (10.0, "failed")


def test_the_base_of_a_scenario_is_its_stated_durations(folder: Path) -> None:
    found = simulate(pipeline(folder))
    assert found.base_seconds == found.measured_seconds == BASE
    assert (found.workers, found.policy) == (4, "dataflow")


@pytest.mark.parametrize(
    ("change", "makespan"),
    [
        (Change("", limits={"llm": {"capacity": 2}}), 11.0),
        (Change("", limits={"llm": {"capacity": None}}), 11.0),
        (Change("", speed_ups={"fetch": 2}), 12.0),
        (Change("", speed_ups={"fetch": float("inf")}), 10.0),
        (Change("", speed_ups={"fetch": 0.5}), 18.0),
        (Change("", without_retries=True), 11.0),
        (Change("", limits={"llm": {"rate_per_minute": 6.0}}), 21.0),  # the second note may start 10 s after the first
        (Change("", workers=1), 14.0),
        (Change("", policy="serial"), 14.0),
    ],
)
def test_a_change_alone_gains_what_one_can_compute_by_hand(folder: Path, change: Change, makespan: float) -> None:
    found = simulate(pipeline(folder), [change])
    assert [one.makespan_seconds for one in found.gains] == [makespan]
    assert [one.gain_seconds for one in found.gains] == [BASE - makespan]
    assert [cell.makespan_seconds for cell in simulate(pipeline(folder), [change]).cells] == (
        [makespan] if change.workers is None and change.policy is None else [BASE]
    )


def test_changes_together_are_in_the_cells_and_alone_in_the_gains_largest_first(folder: Path) -> None:
    changes = [Change("fast", speed_ups={"fetch": 4}), Change("wide", limits={"llm": {"capacity": 2}})]
    found = simulate(pipeline(folder), changes, workers=[1, 2], policies=["dataflow"])
    assert [(cell.workers, cell.makespan_seconds) for cell in found.cells] == [(1, 11.0), (2, 8.0)]
    assert [(one.label, one.gain_seconds) for one in found.gains] == [
        ("fast", 3.0), ("wide", 3.0), ("workers 4 → 1", 0.0), ("workers 4 → 2", 0.0),
    ]  # fmt: skip
    assert found.asked


def test_without_a_change_the_usual_ones_are_tried(folder: Path) -> None:
    found = simulate(pipeline(folder))
    assert not found.asked
    gains = {one.label: one.gain_seconds for one in found.gains}
    assert gains["llm.capacity 1 → 2"] == 3
    assert gains["step fetch no time"] == 4
    assert gains["without retries"] == 3
    assert list(gains.values()) == sorted(gains.values(), reverse=True)
    assert min(gains.values()) > 0


def test_nothing_is_simulated_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Timeline] = []
    run = Rerun.run
    monkeypatch.setattr(Rerun, "run", lambda *given, **words: made.append(run(*given, **words)) or made[-1])
    wide = Change("wide", limits={"llm": {"capacity": 2}})
    for changes, workers, runs in (([], [2], 2), ([], [2, 4, 8], 3), ([wide], [], 2), ([wide], [2], 4)):
        made.clear()
        simulate(pipeline(folder), changes, workers=workers)
        assert len(made) == runs, (changes, workers)


def test_attempts_that_the_clock_foresees_go_as_those_that_are_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    def facts(timeline: Timeline) -> list[tuple[Any, ...]]:
        return [
            (one.step_id, one.attempt, one.ready, one.started, one.ended, one.outcome, one.worker, one.waits)
            for one in timeline.attempts
        ]

    foreseen = 0
    for seed in range(30):
        workflow, behaviour = draw_run(RandomSource(seed), min_steps=5, max_steps=20)
        again = Rerun(play(workflow, behaviour))
        first = again.graph.steps[0].step_id
        for words in ({}, {"speed_ups": {first: 2.0}}, {"without_retries": True}, {"durations": {first: 7}}):
            found = again.run(**words)
            foreseen += sum(one is not None for one in again._foreseen)
            with monkeypatch.context() as patch:
                patch.setattr(Rerun, "_foreseen_with", lambda *_: [])
                assert facts(again.run(**words)) == facts(found), (seed, words)
    assert foreseen > 500


def test_more_workers_for_a_run_that_went_one_step_at_a_time_mean_dataflow(folder: Path) -> None:
    subject = pipeline(folder, policy="serial")
    (cell,) = simulate(subject, [Change("", limits={"llm": {"capacity": 2}})], workers=[4]).cells
    assert (cell.policy, cell.makespan_seconds) == ("dataflow", 11.0)
    (cell,) = simulate(subject, [Change("", limits={"llm": {"capacity": 2}})], workers=[4], policies=["serial"]).cells
    assert (cell.policy, cell.makespan_seconds) == ("serial", 14.0)


def test_speed_ups_of_one_step_multiply_and_later_limits_count() -> None:
    both = combined(
        [
            Change("", speed_ups={"a": 2}, limits={"llm": {"capacity": 2}}),
            Change("", speed_ups={"a": 3}, limits={"llm": {"capacity": 4, "rate_per_minute": None}}, workers=3),
        ]
    )
    assert both.speed_ups == {"a": 6}
    assert both.resources({"llm": Resource(capacity=1, rate_per_minute=5)}) == {"llm": Resource(capacity=4)}
    assert both.workers == 3


STEPS = {"note_one": "note_one", "note_two": "note_two", "send=now": "send=now"}
LIMITS = {"llm": Resource(capacity=2)}


def test_words_of_changes_are_read_and_said() -> None:
    assert speed_up("note_one=2x", STEPS) == Change("step note_one 2× as fast", {"note_one": 2.0})
    assert speed_up("note_*=1.5", STEPS).speed_ups == {"note_one": 1.5, "note_two": 1.5}
    assert speed_up("send=now=infx", STEPS).label == "step send=now no time"
    assert set_capacity("llm=8", LIMITS).label == "llm.capacity 2 → 8"
    assert set_capacity("llm=none", LIMITS).limits == {"llm": {"capacity": None}}
    assert set_rate("llm=90.5", LIMITS).label == "llm.rate_per_minute no limit → 90.5"
    assert worker_counts(["8,2", "4"]) == [2, 4, 8]
    assert policies(["levels, dataflow"]) == ["levels", "dataflow"]


@pytest.mark.parametrize(
    ("read", "message", "fix"),
    [
        (lambda: speed_up("note_on=2x", STEPS), "no step 'note_on'", "did you mean 'note_one'?"),
        (lambda: speed_up("x*=2x", STEPS), "no step fits the pattern 'x*'", "note_one"),
        (lambda: speed_up("note_one", STEPS), "does not read", "STEP=2x"),
        (lambda: speed_up("note_one=0x", STEPS), "greater than 0", "factor"),
        (lambda: speed_up("note_one=nanx", STEPS), "greater than 0", "factor"),
        (lambda: set_capacity("lmm=2", LIMITS), "no resource 'lmm'", "did you mean 'llm'?"),
        (lambda: set_capacity("llm=2.5", LIMITS), "whole number", "count"),
        (lambda: set_capacity("llm=2", {}), "nothing here is limited", "leave --set-capacity out"),
        (lambda: set_rate("llm=-1", LIMITS), "greater than 0", "none"),
        (lambda: set_rate("llm=inf", LIMITS), "no rate", "none"),
        (lambda: worker_counts(["2,x"]), "'x' is no whole number", "count"),
        (lambda: worker_counts(["²"]), "is no whole number", "count"),
        (lambda: policies(["datafow"]), "no such policy", "did you mean 'dataflow'?"),
    ],
)  # fmt: skip
def test_what_cannot_be_changed_is_said_with_what_is_close(read: Any, message: str, fix: str) -> None:
    with pytest.raises(SimulationError, match=message.replace("*", r"\*")) as caught:
        read()
    assert fix in caught.value.fix


def test_calls_under_names_of_their_own_run_again_as_they_were_measured() -> None:
    timeline = nested_run()
    assert Rerun(timeline).run().makespan_nanoseconds == timeline.makespan_nanoseconds == 10 * NANOSECONDS
    assert Rerun(timeline).run(speed_ups={"GET /news": 2}).makespan_nanoseconds == 8 * NANOSECONDS
    assert Rerun(timeline).run(durations={"GET /weather": NANOSECONDS}).makespan_nanoseconds == 8 * NANOSECONDS


def test_calls_that_are_made_together_wait_for_each_other_only_where_they_depend() -> None:
    timeline = nested_run()
    # 1 s before, both calls at once (4 s), then 1 + 1 s of the agent's own.
    assert Rerun(timeline, calls_together=True).run().makespan_nanoseconds == 7 * NANOSECONDS
    timeline.data_parents = [(), (), (1,)]
    assert Rerun(timeline, calls_together=True).run().makespan_nanoseconds == 10 * NANOSECONDS


def test_without_retries_a_caller_makes_the_calls_of_its_last_attempt() -> None:
    failed, done = attempt(0, "agent", 0, 3), attempt(0, "agent", 3, 8, 2)
    failed.outcome = "failed"
    failed.blocked, done.blocked = (Interval(0, 3 * NANOSECONDS),), (Interval(3 * NANOSECONDS, 7 * NANOSECONDS),)
    calls = [attempt(1, "try", 0, 3, parent="agent"), attempt(2, "again", 3, 7, parent="agent")]
    timeline = Timeline(
        ["agent", "try", "again"], [(), (), ()], [(), (), ()], ["succeeded"] * 3, [failed, calls[0], done, calls[1]],
        workers=2, nested_in=[-1, 0, 0],
    )  # fmt: skip
    assert Rerun(timeline).run().makespan_nanoseconds == 8 * NANOSECONDS
    assert Rerun(timeline).run(without_retries=True).makespan_nanoseconds == 5 * NANOSECONDS


def test_drawn_durations_stay_within_what_was_observed_and_are_the_same_for_a_seed() -> None:
    timeline = Timeline(
        ["a", "b"], [(), (0,)], [(), ()], ["succeeded"] * 2, [attempt(0, "a", 0, 2), attempt(1, "b", 2, 3)], workers=1
    )
    subject = subject_of_timeline(timeline, name="two")
    subject.sampled = {"a": [NANOSECONDS, 2 * NANOSECONDS, 3 * NANOSECONDS], "b": [NANOSECONDS]}
    found = distribution(subject, Change(""), runs=500, seed=3)
    assert (found.runs, found.own, found.pooled, found.fixed) == (500, 1, 0, 1)
    assert found.percentiles[5] == 2
    assert found.percentiles[50] == 3
    assert found.percentiles[99] == 4
    assert 2.9 < found.mean_seconds < 3.1
    again = distribution(subject, Change(""), runs=500, seed=3)
    assert again.percentiles == found.percentiles
    faster = distribution(subject, Change("", speed_ups={"a": 2}), runs=500, seed=3)
    assert faster.percentiles[99] == 2.5


def test_steps_that_were_observed_once_draw_from_their_tool_and_a_scenario_from_nothing(folder: Path) -> None:
    timeline = Timeline(
        ["a", "b"], [(), (0,)], [(), ()], ["succeeded"] * 2, [attempt(0, "a", 0, 2), attempt(1, "b", 2, 3)], workers=1
    )
    subject = subject_of_timeline(timeline, name="two")
    with pytest.raises(SimulationError, match="was observed once"):
        distribution(subject, Change(""))
    subject.tools = {"a": "ask", "b": "ask"}
    assert distribution(subject, Change(""), runs=50).pooled == 2
    with pytest.raises(SimulationError, match="states durations"):
        distribution(pipeline(folder), Change(""))


def test_a_simulation_as_text_and_as_a_document_say_the_same(folder: Path) -> None:
    found = simulate(pipeline(folder), [Change("llm wide", limits={"llm": {"capacity": 2}})], workers=[2])
    text = "\n".join(line.text for line in simulation_lines(found, [None]))
    assert "as it is (4 workers, policy dataflow): 14 s" in text
    assert "llm wide       11 s      3 s (21%)" in text
    document = read(json.dumps(simulation_document(found, [None]), allow_nan=False))
    assert document["schema"] == "makespan.simulation/1"
    assert document["cells"][0]["makespan_seconds"] == 11
    assert document["gains"][0] == {
        "change": "llm wide", "makespan_seconds": 11, "gain_seconds": 3, "sure_gain_seconds": 3,
        "binds_next": None, "with_workers_gain_seconds": None,
    }  # fmt: skip


def test_the_command_simulates_a_scenario_and_a_run_of_it(folder: Path) -> None:
    (folder / "pipeline.yaml").write_text(PIPELINE + "scale: 0.1\n", encoding="utf-8")
    done = called("simulate", "pipeline.yaml", "--set-capacity", "llm=2", "--json", "-")
    assert done.exit_code == 0, done.output
    stated = read(done.stdout)
    assert called("run", "pipeline.yaml", "--json", "run.json", "-q", "--no-store").exit_code == 0
    measured = read(called("simulate", "run.json", "--set-capacity", "llm=2", "--json", "-").stdout)
    assert (stated["subject"]["kind"], measured["subject"]["kind"]) == ("scenario", "run")
    # Only the notes go side by side: the gain is 300 ms, less what the machine makes of sleeping.
    assert stated["gains"][0]["gain_seconds"] == pytest.approx(0.3)
    assert measured["gains"][0]["gain_seconds"] == pytest.approx(0.3, rel=0.5)


def test_a_benchmark_gives_durations_to_draw_from_and_its_cells_are_chosen_by_name(folder: Path) -> None:
    # The scale leaves backoffs alone.
    quick = PIPELINE.replace("backoff_seconds: 2", "backoff_seconds: 0") + "scale: 0.001\n"
    (folder / "pipeline.yaml").write_text(quick, encoding="utf-8")
    options = "-e serial,threads -w 4 -n 3 --warmup 0 -q --no-store --json bench.json"
    assert called("bench", "pipeline.yaml", *options.split()).exit_code == 0
    done = called("simulate", "bench.json", "--distribution", "--runs", "50", "--cell", "serial", "--json", "-")
    assert done.exit_code == 0, done.output
    document = read(done.stdout)
    assert document["cells"][0]["distribution"]["runs"] == 50
    assert document["cells"][0]["distribution"]["steps_drawn_from_their_own"] == 4
    wrong = called("simulate", "bench.json", "--cell", "seriel")
    assert wrong.exit_code == 2
    assert "fix: " in wrong.output


def test_bad_input_to_the_command_is_a_message_and_no_traceback(folder: Path) -> None:
    (folder / "pipeline.yaml").write_text(PIPELINE, encoding="utf-8")
    for arguments, said in [
        (("pipeline.yaml", "--speed-up", "note_on=2x"), "did you mean 'note_one'?"),
        (("pipeline.yaml", "--rate", "lmm=2"), "did you mean 'llm'?"),
        (("pipeline.yaml", "--runs", "3"), "give that, too"),
        (("no-such-run",), "no file or folder"),
        (("missing.yaml",), "missing.yaml"),
    ]:
        done = called("simulate", *arguments)
        assert done.exit_code == 2, done.output
        assert said in done.output
        assert "Traceback" not in done.output


def test_the_schema_of_the_simulation_is_one_and_allows_no_other_field(folder: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(simulation_schema())
    document = simulation_document(simulate(pipeline(folder)), [None])
    assert read(json.dumps(document))["asked"] is False
    for place in (document, document["subject"], document["base"], document["cells"][0], document["gains"][0]):
        place["more"] = 1
        with pytest.raises(jsonschema.ValidationError, match="'more' was unexpected"):
            read(json.dumps(document))
        del place["more"]


def test_a_simulated_trace_keeps_to_the_schema(folder: Path) -> None:
    example = Path(__file__).resolve().parents[2] / "docs" / "examples" / "research_agent_trace.json"
    done = called("simulate", str(example), "--workers", "2,4", "--policy", "dataflow,levels", "--json", "-")
    assert done.exit_code == 0, done.output
    document = read(done.stdout)
    assert document["subject"]["kind"] == "trace"
    assert len(document["cells"]) == 4


def test_a_higher_limit_that_gains_nothing_by_itself_says_what_binds_next(folder: Path) -> None:
    text = PIPELINE.replace("capacity: 1", "capacity: 2").replace("note_two]", "note_two, note_three]")
    text += "  - {step_id: note_three, tool: ask, args: {seconds: 3}, depends_on: [fetch]}\n"
    (folder / "p.yaml").write_text(text, encoding="utf-8")
    subject = subject_of_scenario(load(folder / "p.yaml"), workers=2)
    found = simulate(subject, [set_capacity("llm=8", subject.timeline.resources)])
    (gain,) = found.gains
    assert (gain.gain_seconds, gain.binds_next, gain.with_workers_gain_seconds) == (0, "workers", 3)
    lines = "\n".join(line.text for line in simulation_lines(found, [None]))
    assert "the 2 workers bind next; with as many as there are steps it gains 3 s" in lines
    enough = simulate(pipeline(folder), [set_capacity("llm=8", {"llm": Resource(capacity=4)})])
    assert enough.gains[0].binds_next is None
    wide = subject_of_scenario(load(folder / "p.yaml"), workers=8)
    (gain,) = simulate(wide, [set_capacity("llm=2", wide.timeline.resources)]).gains
    assert gain.binds_next == "critical_path"


def test_a_simulation_is_stored_nowhere_and_its_help_says_so(folder: Path) -> None:
    pipeline(folder)
    before = {path.name for path in folder.rglob("*")}
    done = called("simulate", "pipeline.yaml", "--store", "kept.sqlite")
    assert done.exit_code == 0, done.output
    assert {path.name for path in folder.rglob("*")} == before
    assert "nothing is stored" in " ".join(called("simulate", "--help").stdout.split())
