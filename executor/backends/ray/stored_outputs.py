"""Outputs that stay on Ray: objects of its store, and how they were made.

Rules of this module:
- This process owns the objects: they outlive the worker that made one, which a stop may end. Ray drops an object when
  nothing here refers to it.
- Ray makes an object again only if it may run the call again by itself, which it may not. Where its nodes are gone, it
  is made again here: the call is kept, without what it took along.
"""

from __future__ import annotations

import pickle
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from executor.backends.cluster_resources import Amounts
from executor.record.remote_outputs import OutputGoneError, RemoteOutput

# An output that a call takes along: its name, its reference, its bytes, and the nodes on which it lies.
Input: TypeAlias = "tuple[str, Any, int, frozenset[str]]"


@dataclass(frozen=True, slots=True)
class LostInputs:
    """The answer of a call that could not have these outputs, by name."""

    names: tuple[str, ...]


@dataclass(slots=True, eq=False)
class Stored:
    """An output that stays. ``reference`` holds the object, on ``nodes``: None where nobody can read it any more, or it
    is lost. ``data`` is the pickled call that made it, ``inputs`` what that took along, ``asked`` what it asked of its
    node.
    """

    name: str
    size_bytes: int
    reference: Any
    nodes: set[str]
    data: bytes
    inputs: Sequence[Stored]
    asked: Amounts = field(default_factory=dict)
    # While it is made again.
    making: Future[Any] | None = field(default=None)

    def input(self) -> Input:
        """It as what a call takes along."""
        return self.name, self.reference, self.size_bytes, frozenset(self.nodes)

    def drop(self) -> None:
        """Nobody can read it any more."""
        self.reference = None

    def end_making(self) -> None:
        """It has been made again, or cannot be."""
        self.making = None


def remote_output(
    stored: Stored, size_bytes: int, type_name: str, make_again: Callable[[Stored], Future[Any]]
) -> RemoteOutput:
    """What the record holds of an output that has come to be."""
    stored.name, stored.size_bytes = stored.reference.hex(), size_bytes

    def fetch(remote: RemoteOutput) -> Any:
        return pickle.loads(_object(remote, stored, make_again))  # noqa: S301  # from a worker of ours

    remote = RemoteOutput(stored.name, stored.size_bytes, type_name, stored, fetch)
    weakref.finalize(remote, stored.drop).atexit = False
    return remote


def _object(remote: RemoteOutput, stored: Stored, make_again: Callable[[Stored], Future[Any]]) -> Any:
    import ray  # noqa: PLC0415  # a run has imported it

    try:
        if stored.reference is not None:
            with suppress(ray.exceptions.ObjectLostError):
                return ray.get(stored.reference)
        make_again(stored).result()
        return ray.get(stored.reference)
    except (ray.exceptions.RayError, OutputGoneError) as error:
        raise OutputGoneError(f"the output ({remote}) cannot be fetched: {type(error).__name__}: {error}") from error


def values_of(references: Sequence[Any]) -> list[Any]:
    """In a worker: these objects, with None for each that is lost."""
    import ray  # noqa: PLC0415  # who runs no step on Ray does not pay for it

    def value(reference: Any) -> Any:
        try:
            return ray.get(reference)
        except ray.exceptions.ObjectLostError:
            return None

    try:
        found: list[Any] = ray.get(list(references))
    except ray.exceptions.ObjectLostError:
        return [value(reference) for reference in references]
    return found
