"""Outputs that stay on a cluster until somebody reads them: what `dask` and `ray` have in common.

::

    worker: run_call() ─▶ answer (size and type) ─▶ driver: with_remote() ─▶ record: RemoteOutput
                      └─▶ output ─▶ where the cluster keeps it ─▶ another worker: run_call()

Rules of this module:
- An output above ``stays_bytes`` stays. A cluster may have to make it again where it is lost, so that of a step with
  ``idempotent: false`` does not stay (:attr:`.SentCall.may_run_again`).
- A call leaves at most one: a batch ends with the step that made it. Where it is made again, that step runs alone.
  A tool whose outputs are large travels in no further batch.
- When a run leaves its cluster, what stayed is fetched, for the record can still be read. Inside of a `with` block the
  run does not leave it.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar
from weakref import WeakSet

from executor.backends.base import BackendError
from executor.backends.batches import BatchCall
from executor.backends.cluster_backend import MISSING_WORKER_SECONDS, ClusterBackend
from executor.backends.pickling import PROTOCOL
from executor.backends.short_steps import SHORT_NANOSECONDS
from executor.backends.submit import Answer
from executor.engine.engine import Engine
from executor.record.outcomes import Completion
from executor.record.remote_outputs import OutputGoneError, RemoteOutput, RemoteOutputs, values_at_hand
from executor.record.timeline import NANOSECONDS, Attempt, Wait
from executor.tracing import attribute_names

STAYS_BYTES = 1_000_000
OPTION: Mapping[str, str] = {
    "output_stays_bytes": "outputs above so many bytes stay on the cluster until they are read (1000000)"
}
# Among the facts of an answer: nanoseconds, and by name of an input the bytes that were moved.
_TRANSFER = "transfer"


# ---------------------------------------------------------------------- in a worker


@dataclass(frozen=True, slots=True)
class _Stayed:
    """In an answer: its output is elsewhere, and how large it is, pickled."""

    size_bytes: int


def run_call(
    call: bytes, stays_bytes: int | None, inputs: Mapping[str, bytes], *, of_batches: bool = False
) -> tuple[Any, bytes | None]:
    """Run a pickled call whose arguments name ``inputs``: its answer (of a batch, the list), and the pickled output
    that is to stay, which is that of the last step; ``stays_bytes`` None: none is. ``of_batches``: also one of several
    steps.
    """

    def is_large(answer: Answer) -> bool:
        return stays_bytes is not None and answer[1].is_larger_than(stays_bytes)

    with values_at_hand({name: partial(pickle.loads, data) for name, data in inputs.items()}):
        made = pickle.loads(call)  # noqa: S301  # the words of the submitter
        if isinstance(made, BatchCall) and not made.is_single and not of_batches:
            return made(), None
        answer = made(is_large) if isinstance(made, BatchCall) else made()
    last = _last(answer)
    if not is_large(last):
        return answer, None
    times, result = last
    return _with_last(answer, (times, replace(result, value=_Stayed(len(result.value)), packed=False))), result.value


def with_transfer(answer: Any, began: int, moved: Mapping[str, int], seconds: float = 0.0) -> Any:
    """The answer to a call that took outputs along: which were moved to its worker (name: bytes), and how long it took
    until the call had them, since ``began`` (nanoseconds) and ``seconds`` before that.
    """
    if isinstance(answer, list):
        return answer
    times, result = answer
    nanoseconds = round(seconds * NANOSECONDS) + max(0, times.started - began)
    return times, replace(result, facts={**(result.facts or {}), _TRANSFER: (nanoseconds, dict(moved))})


# ---------------------------------------------------------------------- in the driver


def has_stayed(answer: Any) -> bool:
    """Whether the output of an answer (of a batch, of its last step) is elsewhere."""
    return isinstance(_last(answer)[1].value, _Stayed)


def with_remote(answer: Any, remote: Callable[[int, str], RemoteOutput]) -> Any:
    """The answer with ``remote(size_bytes, type_name)`` as its output, if that has stayed."""
    if not has_stayed(answer):
        return answer
    times, result = _last(answer)
    return _with_last(answer, (times, replace(result, value=remote(result.value.size_bytes, result.type_name))))


def call_to_repeat(call: bytes, answer: Any) -> bytes:
    """What makes the output of an answer that has stayed once more: of a batch, its step alone."""
    if not isinstance(answer, list):
        return call
    batch: BatchCall = pickle.loads(call)  # noqa: S301  # our own words; its calls stay pickled
    return pickle.dumps(batch.alone(len(answer) - 1), PROTOCOL)


def _last(answer: Any) -> Answer:
    last: Answer = answer[-1] if isinstance(answer, list) else answer
    return last


def _with_last(answer: Any, last: Answer) -> Any:
    return [*answer[:-1], last] if isinstance(answer, list) else last


class StayingOutputsBackend(ClusterBackend):
    """A :class:`.ClusterBackend` on whose workers large outputs stay."""

    outputs_may_stay = True
    # What outputs stay on, in words.
    cluster: ClassVar[str] = ""

    def __init__(
        self,
        workers: int | None = None,
        output_stays_bytes: str | int = STAYS_BYTES,
        missing_worker_seconds: str | float = MISSING_WORKER_SECONDS,
    ) -> None:
        super().__init__(workers, missing_worker_seconds)
        self._stays_bytes = self._whole(output_stays_bytes)
        self._engine: Engine | None = None
        # By name of an output that stays: the step that made it.
        self._made_by: dict[str, str] = {}
        # Of all runs since the cluster was begun.
        self._staying: WeakSet[RemoteOutput] = WeakSet()

    def _whole(self, value: str | int) -> int:
        try:
            found = int(value)
        except ValueError:
            found = -1
        if found < 0:
            raise BackendError(f"{self.name}: output_stays_bytes {value!r} is no number of bytes: write {STAYS_BYTES}")
        return found

    def open(self, engine: Engine) -> None:
        self._engine = engine
        self._made_by.clear()
        super().open(engine)

    def _answered(self, engine: Engine, attempt: Attempt, answer: Answer, started: int, ended: int) -> Completion:
        _, result = answer
        transfer = result.facts.pop(_TRANSFER, None) if result.facts else None
        completion = super()._answered(engine, attempt, answer, started, ended)
        if result.is_larger_than(self._stays_bytes) or isinstance(result.value, RemoteOutput):
            self._short.note(attempt.index, SHORT_NANOSECONDS)
        if isinstance(result.value, RemoteOutput):
            self._staying.add(result.value)
            self._made_by[result.value.name] = attempt.step_id
            engine.facts.setdefault(attempt, {})[attribute_names.OUTPUT_BYTES] = result.value.size_bytes
        if transfer is not None:
            nanoseconds, moved = transfer
            begin = max(attempt.granted, started - nanoseconds)
            if begin < started:
                attempt.add_wait(Wait("transfer", begin, started))
            if moved:
                facts = engine.facts.setdefault(attempt, {})
                facts[attribute_names.TRANSFER_FROM] = [self._made_by[name] for name in moved]
                facts[attribute_names.TRANSFER_BYTES] = list(moved.values())
        return completion

    def bring_home(self) -> None:
        """The cluster is left, unless it is kept, and the record can still be read: what stayed there is fetched."""
        if self._kept:
            return
        if self._engine is not None and isinstance(outputs := self._engine.outputs, RemoteOutputs):
            for step_id, remote in outputs.all_remote().items():
                try:
                    outputs[step_id] = remote.fetch()
                except OutputGoneError as error:
                    # It says so when it is read.
                    remote.let_go(str(error).removeprefix(f"the output ({remote}) "))
        for remote in list(self._staying):
            if remote.gone is None:
                remote.let_go(f"stayed on {self.cluster}, which the program has left")
