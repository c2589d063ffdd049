"""Runs on makespan, by its public function. The workflow is planned before, as the others' graphs are compiled before,
and the start and the end of its workers are not measured, as the others keep theirs.
"""

from __future__ import annotations

from typing import Any

from tests.benchmarks.peers.work import COROUTINES, Aside, Prepare, Runner, Work


def prepared(backend: str, workers: int) -> Prepare:
    """By the public function, on one executor."""
    from executor import Step, Workflow, run
    from executor.backends import find_backend
    from executor.dependencies import plan

    def prepare(work: Work) -> Runner:
        ids = [f"s{place}" for place in range(len(work.parents))]
        steps = tuple(
            Step(
                step_id=ids[place],
                tool="step",
                args={"place": place, "seconds": work.seconds[place]},
                depends_on=tuple(ids[parent] for parent in above),
            )
            for place, above in enumerate(work.parents)
        )
        workflow = Workflow(steps=steps)
        graph = plan(workflow, hints=False).graph
        call = COROUTINES[work.step] if backend == "asyncio" else work.step

        def start(aside: Aside) -> list[Any]:
            place = find_backend(backend)(workers)
            begin, end = place.open, place.close
            place.open = lambda engine: aside(lambda: begin(engine))
            place.close = lambda: aside(end)
            outputs = run(workflow, backend=place, tools={"step": call}, graph=graph).outputs
            return [outputs[step_id] for step_id in ids]

        return start

    return prepare
