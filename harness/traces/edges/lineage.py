"""Which two siblings a relation between two steps comes down to, however deep they stand: O(log steps) a question.

Rules of this module:
- No recursion and no climbing step by step: heavy paths, so that a trace 100,000 deep costs no more.

Source: heavy-path decomposition (Sleator and Tarjan 1983).
"""

from __future__ import annotations

from collections.abc import Sequence


class Lineage:
    """Questions about a forest, given each member's parent (-1 for none)."""

    def __init__(self, nested_in: Sequence[int]) -> None:
        self.parent = nested_in
        self._flat = all(parent < 0 for parent in nested_in)
        if not self._flat:
            self._decompose()

    def _decompose(self) -> None:
        count = len(self.parent)
        children: list[list[int]] = [[] for _ in range(count)]
        order = []
        for member, parent in enumerate(self.parent):
            if parent < 0:
                order.append(member)
            else:
                children[parent].append(member)
        for member in order:
            order.extend(children[member])
        size = [1] * count
        self._heavy = [-1] * count
        for member in reversed(order):
            parent = self.parent[member]
            if parent >= 0:
                size[parent] += size[member]
                if self._heavy[parent] < 0 or size[member] > size[self._heavy[parent]]:
                    self._heavy[parent] = member
        self._head = list(range(count))
        self._depth = [0] * count
        for member in order:
            parent = self.parent[member]
            if parent >= 0:
                self._depth[member] = self._depth[parent] + 1
                if self._heavy[parent] == member:
                    self._head[member] = self._head[parent]

    def siblings(self, one: int, other: int) -> tuple[int, int] | None:
        """The ancestors (or selves) of both that have the same parent; None where one is the other's ancestor."""
        if one == other:
            return None
        if self._flat or self.parent[one] == self.parent[other]:
            return one, other
        head, depth, parent = self._head, self._depth, self.parent
        below = [-1, -1]  # the highest head that was left, of each
        at = [one, other]
        while head[at[0]] != head[at[1]]:
            side = 0 if depth[head[at[0]]] >= depth[head[at[1]]] else 1
            below[side] = head[at[side]]
            at[side] = parent[head[at[side]]]
            if at[side] < 0:
                break
        if at[0] < 0 or at[1] < 0:  # different trees
            return self._root(one), self._root(other)
        if at[0] == at[1]:
            meeting = at[0]
            sides = [below[0] if one != meeting else -1, below[1] if other != meeting else -1]
        else:
            upper = 0 if depth[at[0]] < depth[at[1]] else 1
            meeting = at[upper]
            sides = [-1, -1]
            sides[upper] = below[upper] if (one, other)[upper] != meeting else -1
            sides[1 - upper] = self._heavy[meeting]
        return None if -1 in sides else (sides[0], sides[1])

    def _root(self, member: int) -> int:
        while True:
            top = self._head[member]
            if self.parent[top] < 0:
                return top
            member = self.parent[top]
