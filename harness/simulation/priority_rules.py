"""Orders in which ready steps may start: the priority rules of project scheduling. Pure.

Rules of this module:
- An order gives each step a place: the larger, the earlier it starts. Equal steps go by their upward rank, and then as
  they are listed.
- A priority that a person stated is compared first; a rule only orders steps of one priority.
- All figures are whole numbers, so that the same workflow has the same order on every machine.

Sources: R. Kolisch, "Efficient priority rules for the resource-constrained project scheduling problem", J. Oper.
Manage. 14 (1996); R. Kolisch and S. Hartmann, "Heuristic algorithms for the resource-constrained project scheduling
problem" (1999); the upward rank: H. Topcuoglu et al., IEEE TPDS 13 (2002).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

# A share of a capacity is counted in so many parts.
_PARTS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Weighed:
    """A workflow as the rules see it, by the index of the step. ``order``: topological. ``nanoseconds``: how long each
    step runs. ``load_parts``: millionths of the scarcest capacity that it takes. ``priorities``: as stated.
    """

    parents: Sequence[Sequence[int]]
    order: Sequence[int]
    nanoseconds: Sequence[int]
    load_parts: Sequence[int]
    priorities: Sequence[int]
    children: Sequence[Sequence[int]] = field(init=False)
    tails: Sequence[int] = field(init=False)

    def __post_init__(self) -> None:
        """Turn the edges round, and find the longest chain from each step on."""
        children: list[list[int]] = [[] for _ in self.parents]
        for step, above in enumerate(self.parents):
            for parent in above:
                children[parent].append(step)
        object.__setattr__(self, "children", children)
        object.__setattr__(self, "tails", self.longest_from(self.nanoseconds))

    def longest_from(self, weights: Sequence[int]) -> list[int]:
        """The weight of the heaviest chain that begins with each step: its upward rank."""
        found = list(weights)
        for step in reversed(self.order):
            found[step] += max((found[child] for child in self.children[step]), default=0)
        return found

    def earliest_starts(self) -> list[int]:
        """When each step could start if nothing but dependencies held it back (the critical path method)."""
        found = [0] * len(self.parents)
        for step in self.order:
            found[step] = max((found[one] + self.nanoseconds[one] for one in self.parents[step]), default=0)
        return found


def load_parts(needs: Mapping[str, float], capacities: Mapping[str, float], workers: int) -> int:
    """What a step takes of the scarcest it needs, a worker included, in millionths."""
    parts = _PARTS // max(1, workers)
    for name, units in needs.items():
        capacity = capacities.get(name)
        if capacity:
            parts = max(parts, round(_PARTS * units / capacity))
    return parts


def places(weighed: Weighed, rule: str) -> list[int]:
    """The place of each step under a rule of :data:`RULES`, all different: the largest starts first."""
    values = RULES[rule](weighed)
    tails, priorities = weighed.tails, weighed.priorities
    ordered = sorted(
        range(len(values)), key=lambda step: (priorities[step], values[step], tails[step], -step)
    )  # fmt: skip
    found = [0] * len(values)
    for place, step in enumerate(ordered):
        found[step] = place
    return found


def _upward_rank(weighed: Weighed) -> Sequence[int]:
    return weighed.tails


def _latest_finish(weighed: Weighed) -> list[int]:
    # The latest finish is the makespan without limits less what comes after the step; that of the start is its rank.
    return [tail - own for tail, own in zip(weighed.tails, weighed.nanoseconds, strict=True)]


def _least_slack(weighed: Weighed) -> list[int]:
    # Slack is what the longest chain through a step is shorter than the longest of all.
    return [start + tail for start, tail in zip(weighed.earliest_starts(), weighed.tails, strict=True)]


def _resource_aware_rank(weighed: Weighed) -> list[int]:
    return weighed.longest_from(
        [own * parts for own, parts in zip(weighed.nanoseconds, weighed.load_parts, strict=True)]
    )  # fmt: skip


def _most_total_successors(weighed: Weighed) -> list[int]:
    behind = [0] * len(weighed.parents)
    found = [0] * len(behind)
    for step in reversed(weighed.order):
        for child in weighed.children[step]:
            behind[step] |= behind[child] | 1 << child
        found[step] = behind[step].bit_count()
    return found


def _most_immediate_successors(weighed: Weighed) -> list[int]:
    return [len(children) for children in weighed.children]


def _rank_positional_weight(weighed: Weighed) -> list[int]:
    own = weighed.nanoseconds
    return [own[step] + sum(own[child] for child in children) for step, children in enumerate(weighed.children)]


def _longest_first(weighed: Weighed) -> Sequence[int]:
    return weighed.nanoseconds


def _shortest_first(weighed: Weighed) -> list[int]:
    return [-one for one in weighed.nanoseconds]


# In the order in which each gained most beside those before it, over the 480 projects of PSPLIB's j30: a small budget
# tries the first.
RULES: Final[Mapping[str, Callable[[Weighed], Sequence[int]]]] = {
    "upward rank": _upward_rank,
    "latest finish": _latest_finish,
    "resource-aware upward rank": _resource_aware_rank,
    "most total successors": _most_total_successors,
    "shortest first": _shortest_first,
    "rank positional weight": _rank_positional_weight,
    "most immediate successors": _most_immediate_successors,
    "longest first": _longest_first,
    "least slack": _least_slack,
}
