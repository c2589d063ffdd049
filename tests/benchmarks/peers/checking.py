"""Whether an adapter runs a graph in the order of its edges, with the right outputs."""

from __future__ import annotations

from tests.benchmarks.peers.work import Prepare, Work, at_once, watched

# A diamond with a tail beside a step that stands alone: parents of parents, fan-out and fan-in.
PARENTS = [(), (0,), (0,), (1, 2), (3,), ()]


def wrong_with(prepare: Prepare) -> list[str]:
    """What is wrong, in words; nothing where all is right."""
    work = Work(PARENTS, watched, (0.005,) * len(PARENTS))
    outputs = prepare(work)(at_once)
    if [output[0] for output in outputs] != list(range(len(PARENTS))):
        return [f"the outputs are not those of the steps: {outputs}"]
    return [
        f"step {place} began before its parent {parent} had ended"
        for place, above in enumerate(PARENTS)
        for parent in above
        if outputs[place][1] < outputs[parent][2]
    ]
