"""Whether an executor, and the cluster that it is on, runs steps as this machine would: ``makespan doctor --executor``.

Rules of this module:
- Steps run on every worker and say what they find there: nothing is taken from what a cluster says of itself.
- Another Python (but for its last number) or another version of a package that both sides need is ``broken``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from executor.backends import BackendError, make_backend
from executor.backends.cluster_backend import ClusterBackend
from executor.backends.worker_facts import PACKAGES, differences, worker_facts
from executor.model.workflow import Step, Workflow
from executor.running import run
from harness.doctor import Check, absent_package

_ROUNDS: Final = 3
_MOST_STEPS: Final = 300
_HOLD_SECONDS: Final = 0.05
_REMEDY: Final = "install the same Python and the same versions on every machine, as in constraints.txt"


def diagnose_executor(name: str, options: Mapping[str, str]) -> Iterator[Check]:
    """Bring it up, run steps on all its workers, and compare what they have with what is here."""
    label = f"executor {name}"
    try:
        backend = make_backend(name, None, options)
        count = min(_MOST_STEPS, _ROUNDS * backend.capacity)
        steps = tuple(
            Step(step_id=f"look{number}", tool="worker_facts", args={"hold_seconds": _HOLD_SECONDS})
            for number in range(count)
        )
        done = run(Workflow(workflow_id="doctor", steps=steps), backend=backend, tools={"worker_facts": worker_facts})
    except BackendError as error:
        absent = absent_package(error)
        if absent is not None:
            yield Check(label, "missing", str(absent), "install it, or use another executor")
        else:
            yield Check(label, "broken", str(error), "see to what it names, or use another executor")
        return
    if backend.simulates:
        yield Check(label, "ok", "it simulates: there are no workers to look at")
        return
    if done.errors:
        yield Check(
            label, "broken", f"{len(done.errors)} of {count} steps failed: {next(iter(done.errors.values()))}", _REMEDY
        )
        return
    yield Check(label, "ok", f"runs steps on {done.workers} workers; up in {done.startup_seconds * 1000:.0f} ms")
    for warning in done.warnings:
        yield Check(label, "ok", warning)
    if isinstance(backend, ClusterBackend) and "address" in options:
        stated = backend.resources.described()
        said = f"stated: {stated}: `needs` of these names are asked of them" if stated else "none is stated"
        yield Check("resources", "ok", f"{said}; any other need is a limit of the run alone")
    yield from _hosts(list(done.outputs.values()))


def _hosts(found: list[dict[str, Any]]) -> Iterator[Check]:
    here = worker_facts()
    for host in dict.fromkeys(facts["host"] for facts in found):
        there = [facts for facts in found if facts["host"] == host]
        processes = len({facts["process_id"] for facts in there})
        differing = sorted({text for facts in there for text in differences(facts, here)})
        label = f"host {host}"
        if differing:
            yield Check(label, "broken", "; ".join(differing), _REMEDY)
        else:
            versions = ", ".join(f"{name} {here[name]}" for name in PACKAGES if here[name] is not None)
            yield Check(label, "ok", f"processes that ran steps: {processes}; Python {here['python']}, {versions}")
