"""Facts about order, results and limits: what every workflow relies on."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import executor
from executor import Attempt, Resource, Run, Workflow
from harness.testing.backends.backend_case import BackendFacts, most_at_once, needs, step
from harness.testing.backends.protocol_watch import watch
from harness.testing.backends.suite_steps import STEPS, notes
from harness.testing.drawing.generator import random_workflow
from harness.testing.oracle.description import describe
from harness.testing.oracle.judge import assert_ok, check_timeline

EVERY_KIND_OF_VALUE = [
    None, True, False, 0, -1, 2**70, 1.5, -0.0, "", "text", "ü 😀 \x00 {{ no.template }}", [], {},
    [[1, [2]], {"a": [None]}], {"nested": {"deeper": [1, "two", 3.0]}},
]  # fmt: skip


def by_grant(run: Run) -> list[Attempt]:
    """The attempts in order of their grants."""
    return sorted(run.timeline.attempts, key=lambda attempt: attempt.granted)


class OrderFacts(BackendFacts):
    """What runs when."""

    def test_a_chain_runs_in_its_order(self) -> None:
        steps = [step(f"s{i}", "noop", depends_on=(f"s{i - 1}",) if i else ()) for i in range(20)]
        run = self.run(*reversed(steps))
        assert [attempt.step_id for attempt in by_grant(run)] == [f"s{i}" for i in range(20)]
        assert run.ok

    def test_a_step_starts_after_all_that_it_depends_on(self) -> None:
        layers = [[f"{layer}.{place}" for place in range(4)] for layer in range(5)]
        steps = [step(name, "noop") for name in layers[0]]
        steps += [
            step(name, "noop", depends_on=tuple(above)) for above, layer in itertools.pairwise(layers) for name in layer
        ]
        run = self.run(*steps)
        ended = {attempt.step_id: attempt.ended for attempt in run.timeline.attempts}
        for words in steps:
            first = next(attempt for attempt in run.timeline.attempts if attempt.step_id == words.step_id)
            assert all((ended[other] or 0) <= first.granted for other in words.depends_on)

    def test_priority_decides_what_starts_first(self) -> None:
        steps = [step(f"s{priority}", "noop", priority=priority, expected_seconds=1.0) for priority in range(8)]
        run = self.run(step("first", "noop", priority=100, expected_seconds=1.0), *steps, workers=1)
        assert [attempt.step_id for attempt in by_grant(run)] == ["first", *(f"s{i}" for i in range(7, -1, -1))]

    def test_runs_may_share_a_backend_one_after_the_other(self) -> None:
        with self.make() as backend:
            for number in range(3):
                watched = watch(backend, patience_seconds=self.patience_seconds)
                steps = tuple(step(f"s{number}.{place}", "noop") for place in range(5))
                assert executor.run(Workflow(steps=steps), backend=watched, tools=STEPS).ok

    @needs("tools", "parallel")
    def test_independent_steps_run_side_by_side(self, tmp_path: Path) -> None:
        names = [f"s{i}" for i in range(self.workers)]
        run = self.run(*(step(name, "meet", folder=str(tmp_path), name=name, names=names) for name in names))
        assert run.ok, run.errors

    @needs("tools", "parallel")
    def test_a_branch_does_not_wait_for_another(self, tmp_path: Path) -> None:
        folder = str(tmp_path)
        run = self.run(
            step("slow", "meet", folder=folder, name="slow", names=["slow", "end"]),
            step("quick"),
            step("next", depends_on=("quick",)),
            step("last", "meet", folder=folder, name="end", names=["end"], depends_on=("next",)),
            workers=2,
        )
        assert run.ok, run.errors

    def test_never_more_steps_run_than_there_are_workers(self) -> None:
        run = self.run(*(step(f"s{i}", "sleep", seconds=0.002) for i in range(12)))
        assert most_at_once(run, handed_out_ahead=self.hands_out_ahead) <= self.worker_count()
        assert run.workers == self.worker_count()

    def test_a_limit_holds(self) -> None:
        steps = [step(f"s{i}", "sleep", seconds=0.005, needs={"door": 1}) for i in range(6)]
        run = self.run(*steps, resources={"door": Resource(capacity=1)})
        assert run.ok
        assert most_at_once(run) == 1

    def test_a_rate_holds(self) -> None:
        steps = [step(f"s{i}", "noop", needs={"door": 1}) for i in range(4)]
        run = self.run(*steps, resources={"door": Resource(rate_per_minute=1200)})
        granted = [attempt.granted for attempt in by_grant(run)]
        assert all(after - before >= 49_000_000 for before, after in itertools.pairwise(granted))

    def test_steps_that_write_the_same_state_exclude_each_other(self) -> None:
        steps = [step(f"s{i}", "sleep", seconds=0.003, writes=("file",)) for i in range(5)]
        run = self.run(*steps)
        assert [attempt.step_id for attempt in by_grant(run)] == [f"s{i}" for i in range(5)]
        assert most_at_once(run) == 1

    def test_random_workflows_keep_every_rule(self) -> None:
        features = {"states", "priorities", "resources", "groups", "conditions", "policies"}
        for seed in range(self.random_workflows):
            workflow, behaviour = random_workflow(seed, 10, features)
            run = self.run_workflow(workflow, resources=behaviour.resources, policy=behaviour.policy)
            graph = describe(
                workflow,
                resources=behaviour.resources,
                workers=self.worker_count(),
                policy=behaviour.policy,
                whens=behaviour.whens,
            )
            assert_ok(check_timeline(graph, run.timeline, handed_out_ahead=self.hands_out_ahead))

    def run_workflow(self, workflow: Workflow, **options: Any) -> Run:
        """Run a whole workflow, watched."""
        return self.run(*workflow.steps, inputs=workflow.inputs, **options)


class ResultFacts(BackendFacts):
    """What comes out, and what goes in."""

    @needs("tools")
    def test_outputs_travel_from_step_to_step(self) -> None:
        run = self.run(
            step("a", "double", value=3),
            step("b", "double_async", value="{{ steps.a.output }}"),
            step("c", "double", value="{{ steps.a.output + steps.b.output }}"),
        )
        assert run.outputs == {"a": 6, "b": 12, "c": 36}
        assert run.ok

    @needs("tools")
    def test_every_kind_of_value_comes_back_as_it_was(self) -> None:
        run = self.run(*(step(f"s{i}", value=value) for i, value in enumerate(EVERY_KIND_OF_VALUE[:10])))
        assert [repr(run.outputs[f"s{i}"]) for i in range(10)] == [repr(value) for value in EVERY_KIND_OF_VALUE[:10]]
        run = self.run(step("all", value="{{ inputs.values }}"), inputs={"values": EVERY_KIND_OF_VALUE})
        assert repr(run.outputs["all"]) == repr(EVERY_KIND_OF_VALUE)

    @needs("tools")
    def test_an_output_that_looks_like_a_template_stays_text(self) -> None:
        run = self.run(
            step("a", value="{{ inputs.text }}"), step("b", value="{{ steps.a.output }}"), inputs={"text": "{{ 1 }}"}
        )
        assert run.outputs == {"a": "{{ 1 }}", "b": "{{ 1 }}"}

    @needs("tools")
    def test_inputs_reach_the_steps(self) -> None:
        run = self.run(step("a", "double", value="{{ inputs.number }}"), inputs={"number": 21})
        assert run.outputs == {"a": 42}

    @needs("tools")
    def test_a_prompt_is_the_first_argument(self) -> None:
        run = self.run(step("a", "double", prompt="ab"))
        assert run.outputs == {"a": "abab"}

    @needs("tools")
    def test_coroutines_and_functions_run_alike(self) -> None:
        steps = [step(f"s{i}", "double_async" if i % 2 else "double", value=i) for i in range(10)]
        assert self.run(*steps).outputs == {f"s{i}": 2 * i for i in range(10)}

    @needs("tools")
    def test_functions_without_a_module_of_their_own_run(self) -> None:
        factor = 3

        def times(value: int) -> int:
            return factor * value

        tools = {"times": times, "minus": lambda value: -value}
        run = self.run(step("a", "times", value=2), step("b", "minus", value="{{ steps.a.output }}"), tools=tools)
        assert run.outputs == {"a": 6, "b": -6}

    @needs("tools")
    def test_a_large_output_comes_back(self) -> None:
        run = self.run(step("a", "megabytes", count=10))
        assert len(run.outputs["a"]) == 10_000_000

    @needs("tools")
    def test_a_large_output_goes_on_to_another_step(self) -> None:
        run = self.run(step("a", "megabytes", count=10), step("b", "length", value="{{ steps.a.output }}"))
        assert run.outputs["b"] == 10_000_000

    @needs("tools")
    def test_each_step_is_called_once(self, tmp_path: Path) -> None:
        steps = [step(f"s{i}", "note", folder=str(tmp_path), text=f"s{i}") for i in range(60)]
        run = self.run(*steps)
        assert run.ok
        assert sorted(notes(tmp_path)) == sorted(f"s{i}" for i in range(60))

    def test_many_steps_run(self) -> None:
        run = self.run(*(step(f"s{i}", "noop") for i in range(self.many_steps)))
        assert run.ok
        assert len(run.timeline.attempts) == self.many_steps

    @needs("tools")
    def test_the_outputs_are_those_of_a_serial_run(self) -> None:
        steps = [step("s0", "double", value=1)]
        steps += [step(f"s{i}", "double", value=f"{{{{ steps.s{(i - 1) // 2}.output + {i} }}}}") for i in range(1, 20)]
        outputs: dict[str, Any] = {"s0": 2}
        for i in range(1, 20):
            outputs[f"s{i}"] = 2 * (outputs[f"s{(i - 1) // 2}"] + i)
        assert self.run(*steps).outputs == outputs


class RecordFacts(BackendFacts):
    """What is written down."""

    def test_the_times_of_every_attempt_are_in_order(self) -> None:
        run = self.run(*(step(f"s{i}", "noop", depends_on=("s0",) if i else ()) for i in range(30)))
        for attempt in run.timeline.attempts:
            times = [attempt.ready, attempt.granted, attempt.started, attempt.ended, attempt.known]
            assert None not in times
            assert times == sorted(times, key=lambda time: time or 0)

    def test_a_step_takes_the_time_that_it_takes(self) -> None:
        run = self.run(step("a", "sleep", seconds=0.1))
        [attempt] = run.timeline.attempts
        assert (attempt.ended or 0) - (attempt.started or 0) >= 95_000_000

    def test_each_attempt_names_its_worker(self) -> None:
        run = self.run(*(step(f"s{i}", "noop") for i in range(6)))
        assert all(attempt.worker for attempt in run.timeline.attempts)

    def test_the_record_names_the_backend(self) -> None:
        run = self.run(step("a", "noop"))
        assert run.timeline.backend == run.backend == self.make().name != ""

    def test_the_first_start_is_time_zero(self) -> None:
        run = self.run(step("a", "noop"))
        assert run.timeline.attempts[0].granted == 0
        assert run.startup_seconds >= 0
