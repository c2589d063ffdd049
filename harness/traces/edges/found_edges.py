"""The edges of a trace while they are found: which relations hold, and what is still open.

Rules of this module:
- An edge joins siblings: a relation between spans in different parents is one between the ancestors that are.
- What the user states wins, both ways: what is denied is no edge, and a step of which the user says what it needs is
  given nothing that is inferred or assumed.
- An edge goes from an earlier-listed step to a later one that began after the first had ended: so there are no cycles.
  A relation that the times contradict is no edge, and is counted.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.traces.edges.lineage import Lineage
from harness.traces.edges.stated_edges import StatedEdges
from harness.traces.spans.span_steps import Steps
from harness.traces.trace_model import DECLARED, Edge, EdgeLabel

# Two clocks, or two readings of one, may differ by this much where it is stated that one span followed the other.
TOLERANCE_NANOSECONDS = 1_000_000


@dataclass(slots=True)
class Edges:
    """The edges found so far. ``covered``: steps that need no assumption; ``levels``: by step, the level of a
    framework that runs level by level. ``unsettled``: by step, those of which it needs one or more, and it is unknown
    which. ``stated``: what the user says, ``settled``: steps of which the user says what they need, ``overruled``: how
    many declared edges the user denied. ``begun_in``: by step, the one beside it in which it began and which it
    outlasts. ``inferred_triggers``: how many steps follow what a framework's trigger does not name.
    """

    steps: Steps
    lineage: Lineage
    by_pair: dict[tuple[int, int], Edge] = field(default_factory=dict)
    covered: set[int] = field(default_factory=set)
    levels: dict[int, int] = field(default_factory=dict)
    contradicted: dict[str, int] = field(default_factory=dict)
    unsettled: dict[int, list[int]] = field(default_factory=dict)
    inferred_triggers: int = 0
    stated: StatedEdges = field(default_factory=StatedEdges)
    settled: set[int] = field(default_factory=set)
    overruled: int = 0
    begun_in: dict[int, int] = field(default_factory=dict)

    def add(self, before: int, after: int, label: EdgeLabel, source: str) -> bool:
        """Note that ``after`` needs ``before``, if there is something to note. Returns whether it holds."""
        pair = self.lineage.siblings(before, after)
        if pair is None:
            return False
        before, after = pair
        if before == after:
            return False
        if self._is_overruled(before, after, label):
            return False
        steps = self.steps
        if before > after or steps.ends[before] > steps.starts[after] + TOLERANCE_NANOSECONDS:
            self.contradicted[source] = self.contradicted.get(source, 0) + 1
            return False
        if pair not in self.by_pair:
            self.by_pair[pair] = Edge(before, after, label, source)
        if label == DECLARED:
            self.covered.update(pair)
        return True

    def _is_overruled(self, before: int, after: int, label: EdgeLabel) -> bool:
        """Whether the user says otherwise."""
        denied = self.stated.denies(before, after)
        self.overruled += denied and label == DECLARED
        return denied or (label != DECLARED and after in self.settled)
