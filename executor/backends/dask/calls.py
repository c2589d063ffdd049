"""Calls on a Dask cluster: submitted as tasks, answered by events.

::

    here ── client.map ──▶ scheduler ──▶ worker: the call ── event (the answer) ──▶ scheduler ──▶ here

Rules of this module:
- Calls that are submitted together travel in one graph (:meth:`DaskCalls.send`): of a graph for each, most of the time
  was Dask's. One that takes inputs along or asks for resources has a graph of its own.
- A small answer comes as an event, on the way that the end of its task takes, and before it. A result would be fetched
  from the worker when the end is known: two ways more. A large answer is the task's result.
- What the scheduler keeps of the events is thrown away at the end.
- An output that stays is the task's result, on the worker that made it. A call that takes it along has the task as an
  argument: Dask runs it where the largest lies, and moves the others from worker to worker. Where the worker that holds
  it dies, Dask runs its task again.
- A call that was called back before it began never begins (:meth:`DaskCalls.recall`). One that its submitter wants to
  hear the beginning of says it by an event, too.
- What a call asks of its worker (``--resources``) is the task's: Dask keeps the count.
- What has ended is let go of within a moment: Dask would run it again where its worker dies.
- Where a worker dies, the first of its calls had begun: workers take them in the order in which they were submitted.
  Those that waited there are submitted again, unless they must not run twice.
"""

from __future__ import annotations

import pickle
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any

import dask
from distributed import KilledWorker, get_worker

from executor.backends.call_thread import CallThread
from executor.backends.cluster_backend import SentCall
from executor.backends.pickling import PROTOCOL
from executor.backends.staying_outputs import has_stayed, run_call, with_remote, with_transfer
from executor.backends.window import RecallError
from executor.record.remote_outputs import OutputGoneError, RemoteOutput, naming

SMALL_BYTES = 10_000
# The ends of all calls of a worker that died are there after that.
TOGETHER_SECONDS = 0.05
# Arguments may be large, and Dask would warn of each; it reads this where a call is submitted. Settings are the whole
# process's: one thread at a time changes them and puts them back, so that other users of Dask keep their warning.
SUBMIT_SETTINGS = {"distributed.admin.large-graph-warning-threshold": "1 TiB"}
SUBMITTING = threading.Lock()
# In a worker that has one thread more than it runs calls at once: the one that runs them.
_thread = CallThread()
# In a worker: what was called back, and what has begun.
_recalled: set[tuple[str, int]] = set()
_RECALLED = "recalled"
_BEGUN = "begun"
# In a worker: the inputs that were moved to it and counted.
_counted: set[str] = set()


class ToldCall:
    """A call on a worker that tells its answer as an event."""

    def __init__(
        self, topic: str, number: int, call: bytes, stays_bytes: int | None, names: Sequence[str], says_begun: bool,
        in_turn: bool,
    ) -> None:  # fmt: skip
        self._said = (topic, number, call, stays_bytes, names, says_begun, in_turn)

    def __reduce__(self) -> tuple[Any, ...]:
        return ToldCall, self._said

    def __call__(self, *inputs: bytes) -> Any:
        topic, number, _, _, names, _, in_turn = self._said
        ran = _thread.run(partial(self._run, inputs)) if in_turn else self._run(inputs)
        if ran is None:
            get_worker().log_event(topic, (number, _RECALLED))
            return None
        began, answer, output = ran
        if names:
            answer = with_transfer(answer, began, *_moved(names))
        data = pickle.dumps(answer, PROTOCOL)
        if output is None and len(data) > SMALL_BYTES:
            return answer
        get_worker().log_event(topic, (number, data))
        return output

    def _run(self, inputs: Sequence[bytes]) -> tuple[int, Any, bytes | None] | None:
        """When it began, the answer, and what stays; None where it was called back."""
        topic, number, call, stays_bytes, names, says_begun, _ = self._said
        if (topic, number) in _recalled:
            _recalled.discard((topic, number))
            return None
        if says_begun:
            get_worker().log_event(topic, (number, _BEGUN))
        began = time.perf_counter_ns()
        return began, *run_call(call, stays_bytes, dict(zip(names, inputs, strict=True)))


def _moved(names: Sequence[str]) -> tuple[dict[str, int], float]:
    """Which outputs were moved to this worker and not counted yet, their bytes, and how many seconds that took."""
    moved: dict[str, int] = {}
    seconds = 0.0
    for entry in reversed(get_worker().transfer_incoming_log):
        for name in names:
            if name in entry["keys"] and name not in _counted:
                moved[name] = entry["keys"][name]
                seconds = max(seconds, entry["duration"])
    _counted.update(moved)
    return moved, seconds


def run_told(told: ToldCall, *inputs: bytes) -> Any:
    """In a worker: the function of every task."""
    return told(*inputs)


def note_recalled(topic: str, numbers: Sequence[int]) -> None:
    """In a worker: these calls are not to begin any more."""
    _recalled.update((topic, number) for number in numbers)


class Call:
    """A call that was submitted."""

    __slots__ = ("answer", "data", "inputs", "may_run_again", "number", "sent", "stays_bytes", "task")

    def __init__(
        self,
        number: int,
        sent: SentCall,
        data: bytes,
        inputs: Sequence[RemoteOutput] = (),
        stays_bytes: int | None = None,
    ) -> None:
        self.inputs = inputs
        self.sent = sent
        self.stays_bytes = stays_bytes
        self.number = number
        self.data = data
        self.may_run_again = sent.may_run_again
        self.answer: Future[Any] = Future()
        self.task: Any = None


class DaskCalls:
    """A Dask client as an executor."""

    def __init__(self, client: Any, stays_bytes: int, *, in_turn: bool) -> None:
        """``in_turn``: a worker has one thread more than it runs calls at once, and that is one."""
        self._client = client
        self._in_turn = in_turn
        self._stays_bytes = stays_bytes
        self._topic = f"makespan-{uuid.uuid4().hex}"
        self._numbers = count()
        self._calls: dict[int, Call] = {}
        # Submitted, and not sent yet.
        self._unsent: list[Call] = []
        # Calls whose tasks have said their answer: what Dask's client writes for the end of each goes out together.
        self._answered: list[Call] = []
        self._lock = threading.Lock()
        # Of workers that have died: their calls that are not settled yet, and how many are that had begun.
        self._killed: dict[str, list[tuple[Call, KilledWorker]]] = {}
        self._dead: dict[str, int] = {}
        client.subscribe_topic(self._topic, self._heard)

    def submit(self, call: Callable[[], Any], /) -> Future[Any]:
        """Run it on a worker, from the next :meth:`send` on."""
        sent = SentCall.of(call)
        with naming() as inputs:
            data = pickle.dumps(sent.call, PROTOCOL)
        made = Call(next(self._numbers), sent, data, inputs, self._stays_bytes if sent.may_run_again else None)
        with self._lock:
            self._calls[made.number] = made
        made.answer.add_done_callback(lambda answer: self._over(made) if answer.cancelled() else None)
        self._unsent.append(made)
        return made.answer

    def send(self) -> None:
        """Send what was submitted since the last time."""
        calls, self._unsent = self._unsent, []
        if calls:
            # First: what is sent now may end the worker that they ran on.
            self._release_answered()
        alike: list[Call] = []
        for call in calls:
            if call.inputs or call.sent.asked:
                self._send([call])
            else:
                alike.append(call)
        if alike:
            self._send(alike)

    def _send(self, calls: Sequence[Call]) -> None:
        """Send calls in one graph; where it cannot be sent, that is their end."""
        try:
            inputs = [[_there(remote)] for remote in calls[0].inputs]
            # By itself Dask keeps no order among what comes within a tenth of a second.
            with SUBMITTING, dask.config.set(SUBMIT_SETTINGS):
                tasks = self._client.map(
                    run_told, [self._told(call) for call in calls], *inputs,
                    key=[f"{self._topic}-{call.number}" for call in calls], pure=False, priority=-calls[0].number,
                    resources=calls[0].sent.asked or None,
                )  # fmt: skip
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is the end of these calls
            for call in calls:
                self._settle(call, error)
            return
        for call, task in zip(calls, tasks, strict=True):
            call.task = task
            task.add_done_callback(partial(self._ended, call))

    def _told(self, call: Call) -> ToldCall:
        names = [remote.name for remote in call.inputs]
        says_begun = call.sent.begun is not None
        return ToldCall(self._topic, call.number, call.data, call.stays_bytes, names, says_begun, self._in_turn)

    def recall(self, answers: Iterable[Any]) -> None:
        """Have those of these calls end with :class:`RecallError` that have not begun."""
        wanted = set(answers)
        with self._lock:
            numbers = [call.number for call in self._calls.values() if call.answer in wanted]
        if numbers:
            self._client.loop.add_callback(self._tell_recalled, numbers)

    async def _tell_recalled(self, numbers: Sequence[int]) -> None:
        # Where a worker cannot be asked, its calls go on.
        with suppress(Exception):
            await self._client._run(note_recalled, self._topic, numbers, on_error="ignore")  # noqa: SLF001  # the coroutine of `run`

    def give_up(self, answer: Future[Any], error: Exception) -> None:
        """End a call that waits, with this error."""
        with self._lock:
            call = next((call for call in self._calls.values() if call.answer is answer), None)
        if call is not None:
            if call.task is not None:
                call.task.cancel()
            self._settle(call, error)

    def shutdown(self) -> None:
        """No more calls; what has not begun never will."""
        with self._lock:
            calls = list(self._calls.values())
            self._calls.clear()
        if self._client.status != "running":
            return
        self._release_answered()
        self._client.unsubscribe_topic(self._topic)
        if calls:
            self._client.cancel([call.task for call in calls if call.task is not None], force=True)
        with suppress(Exception):
            self._client.run_on_scheduler(_truncate, self._topic)

    # ------------------------------------------------------------------ in the client's threads

    def _heard(self, event: tuple[float, Any]) -> None:
        number, data = event[1]
        call = self._calls.get(number)
        if call is None:
            return
        if data == _RECALLED:
            self._settle(call, RecallError())
        elif data == _BEGUN:
            if call.sent.begun is not None:
                call.sent.begun()
        else:
            answer = pickle.loads(data)  # noqa: S301  # from a worker of ours
            if not has_stayed(answer):
                if not self._answered:
                    self._client.loop.asyncio_loop.call_later(TOGETHER_SECONDS, self._release_answered)
                self._answered.append(call)
            self._settle(call, with_remote(answer, lambda size, name: _remote(call, size, name)))

    def _release_answered(self) -> None:
        """Where a worker dies, Dask runs again what had ended there and is still held by anybody."""
        calls, self._answered = self._answered, []
        for call in calls:
            if call.task is not None:
                call.task.release()

    def _ended(self, call: Call, task: Any) -> None:
        if call.answer.done():
            call.task = None
            return
        if task.status == "cancelled":
            # The connection broke: Dask has forgotten what ran, and who listens.
            call.answer.cancel()
            with suppress(Exception):
                self._client.subscribe_topic(self._topic, self._heard)
            return
        try:
            answer = task.result()
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is the end of this call
            if isinstance(error, KilledWorker):
                self._note_killed(call, error)
            else:
                self._settle(call, error)
        else:
            if answer is None:
                # The event was lost with the connection.
                call.answer.cancel()
            else:
                self._settle(call, answer)

    def _note_killed(self, call: Call, error: KilledWorker) -> None:
        """Its worker died. Dask reports the calls of a worker in any order, so all of them are looked at together."""
        address = str(error.last_worker.address)
        with self._lock:
            together = self._killed.setdefault(address, [])
            together.append((call, error))
        if len(together) == 1:
            threads = 1 if self._in_turn else error.last_worker.nthreads
            loop = self._client.loop
            loop.add_callback(loop.call_later, TOGETHER_SECONDS, self._settle_killed, address, threads)

    def _settle_killed(self, address: str, threads: int) -> None:
        """Of the calls of a worker that died, those that had begun are at an end. Those that waited behind them go to
        another worker.
        """
        with self._lock:
            together = self._killed.pop(address, [])
            had_begun = min(len(together), max(0, threads - self._dead.get(address, 0)))
            self._dead[address] = self._dead.get(address, 0) + had_begun
        together.sort(key=lambda one: one[0].number)
        for place, (call, error) in enumerate(together):
            if place >= had_begun and call.may_run_again:
                self._send_again(call)
            else:
                self._settle(call, error)

    def _send_again(self, call: Call) -> None:
        with self._lock:
            if self._calls.pop(call.number, None) is None:
                return
            call.number = next(self._numbers)
            self._calls[call.number] = call
        self._send([call])

    def _settle(self, call: Call, answer: Any) -> None:
        self._over(call)
        if not call.answer.set_running_or_notify_cancel():
            return
        if isinstance(answer, BaseException):
            call.answer.set_exception(answer)
        else:
            call.answer.set_result(answer)

    def _over(self, call: Call) -> None:
        with self._lock:
            self._calls.pop(call.number, None)
        if call.answer.cancelled() and call.task is not None:
            # Where the connection is closed, there is nothing to cancel.
            with suppress(Exception):
                call.task.cancel()


def _there(remote: RemoteOutput) -> Any:
    if remote.reference is None:
        raise OutputGoneError("an output that this step takes along is gone")
    return remote.reference


def _remote(call: Call, size_bytes: int, type_name: str) -> RemoteOutput:
    return RemoteOutput(str(call.task.key), size_bytes, type_name, call.task, _fetched)


def _fetched(remote: RemoteOutput) -> Any:
    try:
        data = remote.reference.result()
    except Exception as error:
        raise OutputGoneError(f"the output ({remote}) cannot be fetched: {type(error).__name__}: {error}") from error
    return pickle.loads(data)  # noqa: S301  # from a worker of ours


def _truncate(topic: str, dask_scheduler: Any = None) -> None:
    dask_scheduler._broker.truncate(topic)  # noqa: SLF001  # there is no public way
