"""Outputs that stayed where they were made: known here by size and type, fetched when somebody reads them.

Rules of this module:
- Reading an output by its step's id fetches it, each time: nothing large is kept here.
- What refers to it holds it on the cluster; when the last reference is gone, so is the output.
- Pickled, an output is a name: a call takes the value along where it runs (:func:`naming`, :func:`values_at_hand`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_named: ContextVar[list[RemoteOutput] | None] = ContextVar("_named", default=None)
_at_hand: ContextVar[Mapping[str, Callable[[], Any]] | None] = ContextVar("_at_hand", default=None)


class OutputGoneError(Exception):
    """An output that stayed on a cluster cannot be fetched any more: the message says why."""

    retryable = False


class RemoteOutput:
    """An output that is elsewhere. ``fetch`` brings its value; ``reference`` is what the executor knows it by."""

    def __init__(
        self, name: str, size_bytes: int, type_name: str, reference: Any, fetch: Callable[[RemoteOutput], Any]
    ) -> None:
        self.name = name
        self.size_bytes = size_bytes
        self.type_name = type_name
        self.reference = reference
        self.gone: str | None = None
        self._fetch = fetch

    def fetch(self) -> Any:
        """The value.

        Raises:
            OutputGoneError: it cannot be had any more.
        """
        if self.gone is not None:
            raise OutputGoneError(f"the output ({self}) {self.gone}")
        return self._fetch(self)

    def let_go(self, why: str) -> None:
        """It cannot be fetched any more."""
        self.gone = why
        self.reference = None

    def __reduce__(self) -> tuple[Any, ...]:
        named = _named.get()
        if named is None:
            return _itself, (self.fetch(),)
        named.append(self)
        return _value_of, (self.name,)

    def __str__(self) -> str:
        return f"{self.type_name}, {self.size_bytes / 1e6:.1f} MB"


class RemoteOutputs(dict[str, Any]):
    """Outputs by step id. Those that are :class:`RemoteOutput` are fetched when they are read."""

    def remote(self, step_id: str) -> RemoteOutput | None:
        """The output of a step, if it is elsewhere; it is not fetched."""
        value = super().get(step_id)
        return value if isinstance(value, RemoteOutput) else None

    def all_remote(self) -> dict[str, RemoteOutput]:
        """All that are elsewhere, by step id."""
        return {step_id: value for step_id, value in super().items() if isinstance(value, RemoteOutput)}

    def __getitem__(self, step_id: str) -> Any:
        value = super().__getitem__(step_id)
        return value.fetch() if isinstance(value, RemoteOutput) else value

    def get(self, step_id: str, default: Any = None) -> Any:
        return self[step_id] if step_id in self else default  # noqa: SIM401  # it would call itself

    def values(self) -> Any:
        return [self[step_id] for step_id in self]

    def items(self) -> Any:
        return [(step_id, self[step_id]) for step_id in self]


@contextmanager
def naming() -> Iterator[Sequence[RemoteOutput]]:
    """Outputs that are pickled in this block travel as names; they are what it gives."""
    named: list[RemoteOutput] = []
    token = _named.set(named)
    try:
        yield named
    finally:
        _named.reset(token)


@contextmanager
def values_at_hand(values: Mapping[str, Callable[[], Any]]) -> Iterator[None]:
    """In this block names become values."""
    token = _at_hand.set(values)
    try:
        yield
    finally:
        _at_hand.reset(token)


def _value_of(name: str) -> Any:
    return (_at_hand.get() or {})[name]()


def _itself(value: Any) -> Any:
    return value
