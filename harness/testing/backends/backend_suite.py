"""The suite for backends: one set of facts that every backend keeps, ours and yours::

    class TestMine(BackendConformance):
        backend = MyBackend          # a name, a class, or a function of the number of workers
        cannot = {"stops_functions": "a thread cannot be stopped"}

Run it with pytest. Every run in it is watched (:mod:`harness.testing.backends.protocol_watch`). Where a backend loses a
completion, runs a step twice or forgets to advance, the error names the rule and the events that led there.

Rules of this module:
- It only puts the groups of facts together, with those that need a notebook or much memory.
- What a backend cannot do is declared with the reason (:data:`CANNOT` for ours), and tested to be impossible.
"""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.register_assert_rewrite(
    "harness.testing.backends.result_facts",
    "harness.testing.backends.child_step_facts",
    "harness.testing.backends.fate_facts",
    "harness.testing.backends.surroundings_facts",
)

from harness.testing.backends.backend_case import CANNOT, CAPABILITIES, needs, step  # noqa: E402  # after the line above
from harness.testing.backends.child_step_facts import CallFacts  # noqa: E402  # as above
from harness.testing.backends.fate_facts import (  # noqa: E402  # as above
    CancellationFacts,
    DeathFacts,
    ErrorFacts,
    RetryFacts,
    TimeoutFacts,
)
from harness.testing.backends.result_facts import OrderFacts, RecordFacts, ResultFacts  # noqa: E402  # as above
from harness.testing.backends.surroundings_facts import (  # noqa: E402  # as above
    CleanFacts,
    ImpossibleFacts,
    InstrumentFacts,
    PlaceFacts,
)

__all__ = ["CANNOT", "CAPABILITIES", "BackendConformance"]

CELL = """
import sys
sys.path[:] = {path!r}
sys.argv[:] = {argv!r}
{text}
"""
NOTEBOOK = """
def triple(value):
    return 3 * value

done = run(Workflow(steps=(Step(step_id="a", tool="triple", args={"value": 2}),)), backend=backend,
           tools={"triple": triple})
print(done.outputs)
"""


class BackendConformance(
    OrderFacts,
    ResultFacts,
    RecordFacts,
    ErrorFacts,
    RetryFacts,
    TimeoutFacts,
    CancellationFacts,
    DeathFacts,
    CallFacts,
    InstrumentFacts,
    CleanFacts,
    PlaceFacts,
    ImpossibleFacts,
):
    """Subclass it and set ``backend``.

    ``cannot`` says what it cannot do (:data:`CAPABILITIES`), by default :data:`CANNOT`; ``workers`` how many each run
    has; ``many_steps`` how many the longest run has, and ``random_workflows`` how many are drawn; ``patience_seconds``
    after how long a run in which nothing happens counts as a standstill; ``hands_out_ahead``, that steps wait at busy
    workers: a slot is then in use while its step runs.
    """

    @pytest.mark.slow
    @needs("tools")
    def test_a_hundred_megabytes_come_back(self) -> None:
        run = self.run(step("a", "megabytes", count=100), step("b", "length", value="{{ steps.a.output }}"))
        assert run.outputs["b"] == len(run.outputs["a"]) == 100_000_000

    @pytest.mark.slow
    @needs("tools")
    def test_a_run_in_a_notebook(self, tmp_path: Path) -> None:
        import sys  # noqa: PLC0415  # with what follows

        nbclient = pytest.importorskip("nbclient", reason="needs nbclient and ipykernel")
        nbformat = pytest.importorskip("nbformat", reason="needs nbclient and ipykernel")
        command = self.script_command(NOTEBOOK)
        cell = CELL.format(
            path=[str(Path(place or ".").resolve()) for place in sys.path], argv=command[2:], text=command[2]
        )
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
        nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
        # Others may have written to stderr beside it.
        printed = "".join(one["text"] for one in notebook.cells[0].outputs if one.get("name") == "stdout")
        assert printed == "{'a': 6}\n", notebook.cells[0].outputs
