"""Ray as an executor: actors that run calls one after the other, each with those that wait for it.

Rules of this module:
- A call goes to the actor that has the fewest, where no other one has just died on its node; of these, to one that is
  up; of these, to one on a node where the largest output lies that it takes along. Ray sends it at once, so an actor
  goes on to the next without a way to here and back.
- A call gives two objects: its answer, and the output that stays, or None.
- A call fetches the outputs that it takes along itself: so it is known how long that took. Actors of one node share a
  store, from which they read: nothing is moved.
- An actor without work gets what waits for another: it is called back there first, so that nothing runs twice.
- Ray never runs a call again by itself. When an actor dies, the first of its calls had begun and fails. Those that
  waited, or whose actor never came up, are given to other actors, and a new actor takes the place.
- A call that is stopped takes its actor with it.
- A call that asks for resources of a node runs on an actor that holds them, without a core: the engine sees to how many
  run at once. Without work such an actor waits for calls that ask for the same, and ends where another waits for a part
  of what it holds.
"""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from itertools import count
from typing import Any

from executor.backends.call_thread import CallThread
from executor.backends.cluster_backend import SentCall
from executor.backends.cluster_resources import Amounts
from executor.backends.pickling import PROTOCOL
from executor.backends.ray.stored_outputs import Input, LostInputs, Stored, remote_output, values_of
from executor.backends.staying_outputs import call_to_repeat, has_stayed, run_call, with_remote, with_transfer
from executor.backends.window import DEEPEST, RecallError
from executor.backends.worker_facts import look
from executor.backends.worker_output import write_line_by_line
from executor.record.remote_outputs import OutputGoneError, RemoteOutput, naming

# How often the nodes are looked at while actors start.
LOOK_SECONDS = 1
# So many actors may fail to come up before a call fails.
MOST_MOVES = 3
_MAKING = "the step that made it"


class CallRunner:
    """In a worker process of Ray."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._begun = -1
        self._called_back: set[int] = set()
        self._thread = CallThread()
        write_line_by_line()

    def run(
        self, place: int, number: int, call: bytes, stays_bytes: int | None, inputs: Sequence[Input], seconds: float
    ) -> tuple[Any, bytes | None]:
        """Run what was submitted, pickled, unless it was called back. Numbers rise, places count the calls of this
        worker. In one of several threads, of which the others have the next calls at hand. The answer, and what stays.
        ``seconds``: how long it has waited for inputs that were lost.
        """
        return self._thread.run(lambda: self._run(number, call, stays_bytes, inputs, seconds), place)

    def _run(
        self, number: int, call: bytes, stays_bytes: int | None, inputs: Sequence[Input], seconds: float
    ) -> tuple[Any, bytes | None]:
        with self._lock:
            self._begun = number
            self._lock.notify_all()
            if number in self._called_back:
                return None, None
        if not inputs:
            return run_call(call, stays_bytes, {}, of_batches=True)
        began = time.perf_counter_ns()
        names = [name for name, *_ in inputs]
        values = values_of([reference for _, reference, *_ in inputs])
        if None in values:
            return LostInputs(tuple(name for name, value in zip(names, values, strict=True) if value is None)), None
        answer, output = run_call(call, stays_bytes, dict(zip(names, values, strict=True)))
        here = self.node_id()
        moved = {name: size_bytes for name, _, size_bytes, nodes in inputs if here not in nodes}
        return with_transfer(answer, began, moved, seconds), output

    def call_back(self, number: int) -> bool:
        """Whether a call had not begun; then it never will. In a thread of its own, while another call runs."""
        with self._lock:
            if number <= self._begun:
                return False
            self._called_back.add(number)
            self._lock.notify_all()
            return True

    def wait_until_begun(self, number: int) -> bool:
        """Whether it has begun and was not called back. In a thread of its own."""
        with self._lock:
            self._lock.wait_for(lambda: number <= self._begun or number in self._called_back)
            return number not in self._called_back

    def node_id(self) -> str:
        """Of this worker: it is there. In a thread of its own."""
        import ray  # noqa: PLC0415  # as in the driver

        found: str = ray.get_runtime_context().get_node_id()
        return found

    def look(self) -> dict[str, Any]:
        """What this worker has, and its clock."""
        return look()


class Call:
    """A call that was submitted, while it waits or runs."""

    __slots__ = (
        "answer", "asked", "begun", "data", "goes_back", "has_begun", "held", "inputs", "makes_again", "may_run_again",
        "moves", "number", "stays_bytes", "waited_seconds", "waits_for", "worker",
    )  # fmt: skip

    def __init__(
        self,
        data: bytes,
        may_run_again: bool,
        stays_bytes: int | None = None,
        inputs: Sequence[Stored] = (),
        asked: Amounts | None = None,
    ) -> None:
        self.data = data
        self.may_run_again = may_run_again
        self.stays_bytes = stays_bytes
        # Outputs that it takes along; and what holds them until it has ended.
        self.inputs = inputs
        self.held: Sequence[RemoteOutput] = ()
        # What it asks of its node, and who wants to hear that it has begun.
        self.asked = dict(asked or {})
        self.begun: Callable[[], None] | None = None
        # The output that was lost and is made again by it.
        self.makes_again: Stored | None = None
        # How many of its inputs are made again before it can run, and how long it has waited for such ones.
        self.waits_for = 0
        self.waited_seconds = 0.0
        # How many actors died of it that never came up.
        self.moves = 0
        self.answer: Future[Any] = Future()
        # By the worker's count: another one where it is given to another.
        self.number = -1
        self.worker: Worker | None = None
        # Where a worker died: whether this was the call that it ran.
        self.has_begun = True
        # It is called back, and whether for another worker.
        self.goes_back: bool | None = None


class Worker:
    """An actor and its calls, in the order in which it runs them."""

    __slots__ = ("actor", "calls", "held", "is_doubtful", "is_gone", "is_up", "node", "sent")

    def __init__(self, actor: Any, held: dict[str, float]) -> None:
        self.actor = actor
        # How many calls it was given: the place of the next one.
        self.sent = 0
        # What it holds of its node beside a core.
        self.held = held
        self.calls: list[Call] = []
        self.is_gone = False
        # Ray has found a place for it: it may have begun a call.
        self.is_up = False
        # Where it is, and whether another actor has died there since it was heard of.
        self.node = ""
        self.is_doubtful = False


class RayWorkers:
    """``workers`` actors of one core each. They are there when the first calls come, or soon after. ``given_up(what,
    asked)``: why ``what`` does not wait any more for a node that has what it asks for, or None.
    """

    def __init__(
        self,
        workers: int,
        stays_bytes: int,
        given_up: Callable[[str, Amounts], Exception | None] = lambda _what, _asked: None,
    ) -> None:
        import ray  # noqa: PLC0415  # it is imported when a run begins

        self._ray = ray
        calling_back = ray.method(concurrency_group="calling_back")
        telling = ray.method(concurrency_group="telling")
        parts = {
            "run": ray.method(num_returns=2, concurrency_group="running")(CallRunner.run),
            "call_back": calling_back(CallRunner.call_back),
            "node_id": calling_back(CallRunner.node_id),
            "wait_until_begun": telling(CallRunner.wait_until_begun),
        }
        runner = type("CallRunner", (CallRunner,), parts)
        options: Any = {
            "num_cpus": 1,
            "max_restarts": 0,
            "max_task_retries": 0,
            "concurrency_groups": {"running": 1 + DEEPEST, "calling_back": 1, "telling": 1},
        }
        self._class: Any = ray.remote(**options)(runner)
        self.stays_bytes = stays_bytes
        self.given_up = given_up
        self._numbers = count()
        self._lock = threading.RLock()
        self._closed = False
        # Calls that no worker has, since their inputs are made again.
        self._without_inputs: set[Call] = set()
        self.size = workers
        self._workers = [self._new() for _ in range(workers)]
        # Those that hold resources of their nodes.
        self._holders: list[Worker] = []

    def wait_until_ready(self, seconds: float, cores: Callable[[], int] | None = None) -> None:
        """Until all are there that find a place. Raises what Ray raises. ``cores``: how many there are on the nodes by
        now: Ray hears of a lost node after some time.
        """
        until = time.monotonic() + seconds
        waiting = {worker.actor.node_id.remote(): worker for worker in self._workers}
        while waiting:
            left = until - time.monotonic()
            ready, _ = self._ray.wait(list(waiting), num_returns=len(waiting), timeout=max(0, min(left, LOOK_SECONDS)))
            for reference in ready:
                worker = waiting.pop(reference)
                worker.node, worker.is_up = self._ray.get(reference), True
            if waiting and cores is not None and (there := max(1, cores())) < self.size:
                self.resize(there)
                waiting = {reference: worker for reference, worker in waiting.items() if not worker.is_gone}
            if waiting and left <= 0:
                raise self._ray.exceptions.GetTimeoutError

    def look(self, seconds: float) -> list[dict[str, Any]]:
        """What each worker has (:func:`executor.backends.worker_facts.look`). Raises what Ray raises."""
        found: list[dict[str, Any]] = self._ray.get([one.actor.look.remote() for one in self._workers], timeout=seconds)
        return found

    def resize(self, workers: int) -> None:
        """There are places for so many. What runs goes on; calls of workers that have no place go to others."""
        with self._lock:
            self.size = workers
            without_place: list[Worker] = []
            while len(self._workers) < workers:
                self._workers.append(self._new())
            for worker in sorted(self._workers, key=_is_up):
                if len(self._workers) <= max(1, workers):
                    break
                if not worker.is_up or not worker.calls:
                    self._workers.remove(worker)
                    worker.is_gone = True
                    for call in worker.calls:
                        call.has_begun = False
                    without_place.append(worker)
            self._balance()
        self._kill(without_place)

    def submit(self, call: Callable[[], Any], /) -> Future[Any]:
        """Run it on a worker."""
        sent = SentCall.of(call)
        with naming() as held:
            data = pickle.dumps(sent.call, PROTOCOL)
        inputs = [remote.reference for remote in held]
        if None in inputs:
            raise OutputGoneError("an output that this step takes along is gone")
        stays_bytes = self.stays_bytes if sent.may_run_again else None
        made = Call(data, sent.may_run_again, stays_bytes, inputs, sent.asked)
        made.held, made.begun = held, sent.begun
        with self._lock:
            self._give(made)
        return made.answer

    def give_up(self, answer: Future[Any], error: Exception) -> None:
        """End a call that waits, with this error."""
        with self._lock:
            call = self._call_of(answer)
            if call is None or call.worker is None:
                return
            worker, call.worker, call.number = call.worker, None, -1
            worker.calls.remove(call)
            self._note_death(worker)
        self._kill([worker])
        _settle(answer, None, error)

    def give_up_makings(self) -> None:
        """End the calls that make lost outputs again and wait in vain for a node that has what they ask for."""
        with self._lock:
            waiting = [
                (call.answer, error)
                for worker in self._holders
                for call in worker.calls
                if call.makes_again is not None and (error := self.given_up(_MAKING, call.asked)) is not None
            ]
        for answer, error in waiting:
            self.give_up(answer, OutputGoneError(str(error)))

    def let_go(self) -> None:
        """Give back what actors without work hold of their nodes."""
        with self._lock:
            self._forget([worker for worker in self._holders if not worker.calls])

    def stop(self, answer: Any) -> None:
        """End a call, with its worker if it may have begun."""
        with self._lock:
            for waiting in self._without_inputs:
                if waiting.answer is answer:
                    self._without_inputs.remove(waiting)
                    answer.cancel()
                    return
            call = self._call_of(answer)
            if call is None or call.worker is None:
                return
            # What waits behind it goes to another worker.
            worker = call.worker
            self._note_death(worker)
        self._kill([worker])

    def recall(self, answers: Iterable[Any]) -> None:
        """Have those of these calls end with :class:`.RecallError` that have not begun."""
        with self._lock:
            for answer in answers:
                call = self._call_of(answer)
                if call is not None and call.worker is not None:
                    self._call_back(call, goes_back=True)

    @property
    def runs_something(self) -> bool:
        """Whether a call has not ended."""
        return bool(self._without_inputs) or any(worker.calls for worker in [*self._workers, *self._holders])

    def shutdown(self) -> None:
        """End all workers, and what they run."""
        with self._lock:
            self._closed = True
            workers = [*self._workers, *self._holders]
        self._kill(workers)

    def _kill(self, workers: Iterable[Worker]) -> None:
        """Never under the lock: Ray answers in the thread that calls :meth:`_ended`, which may be waiting for it."""
        for worker in workers:
            with suppress(self._ray.exceptions.RayError, ValueError, RuntimeError):
                self._ray.kill(worker.actor, no_restart=True)

    # ------------------------------------------------------------------ under the lock

    def _give(self, call: Call) -> None:
        if gone := [stored for stored in call.inputs if stored.reference is None]:
            self._wait_for(call, gone)
            return
        worker = self._worker_for(call)
        call.worker = worker
        worker.calls.append(call)
        call.number = next(self._numbers)
        call.goes_back = None
        number = call.number
        inputs = [stored.input() for stored in call.inputs]
        reference, output = worker.actor.run.remote(
            worker.sent, number, call.data, call.stays_bytes, inputs, call.waited_seconds
        )
        worker.sent += 1
        reference.future().add_done_callback(lambda ended: self._ended(call, number, ended, output))
        if call.begun is not None:
            asked = worker.actor.wait_until_begun.remote(number)
            asked.future().add_done_callback(lambda told: self._begun(call, number, told))

    def _worker_for(self, call: Call) -> Worker:
        """Who is to run a call."""
        if not call.asked:
            largest = max(call.inputs, key=_size_bytes, default=None)
            nodes = () if largest is None else largest.nodes
            return min(self._workers, key=lambda one: (_wait(one), one.node not in nodes))
        without_work = [worker for worker in self._holders if not worker.calls]
        for worker in without_work:
            if worker.held == call.asked:
                return worker
        self._forget([worker for worker in without_work if worker.held.keys() & call.asked.keys()])
        self._holders.append(self._new(call.asked))
        return self._holders[-1]

    def _is_in_the_way(self, worker: Worker) -> bool:
        """Whether an actor without work holds what another one waits for."""
        return (
            worker in self._holders
            and not worker.calls
            and any(worker.held.keys() & other.held.keys() for other in self._holders if not other.is_up)
        )

    def _forget(self, holders: Iterable[Worker]) -> None:
        """Ray ends an actor that nobody knows any more. To kill it would wait for a thread of Ray, and may be asked for
        in that very thread.
        """
        for worker in holders:
            worker.is_gone = True
            self._holders.remove(worker)
            worker.actor = None

    def _new(self, held: dict[str, float] | None = None) -> Worker:
        if held:
            own = {name: amount for name, amount in held.items() if name != "GPU"}
            maker = self._class.options(num_cpus=0, num_gpus=held.get("GPU"), resources=own)
        else:
            maker = self._class
        worker = Worker(maker.remote(), held or {})
        self._ask_where(worker)
        return worker

    def _ask_where(self, worker: Worker) -> None:
        worker.actor.node_id.remote().future().add_done_callback(lambda came: self._is_there(worker, came))

    def _is_there(self, worker: Worker, came: Any) -> None:
        if came.exception() is None:
            with self._lock:
                worker.is_up, worker.is_doubtful, worker.node = True, False, came.result()
                self._balance()

    def _doubt(self, dead: Worker) -> None:
        """An actor died: its node may be lost, and Ray does not know it yet of others there, or of one that starts."""
        for worker in self._workers:
            if not worker.is_up:
                worker.is_doubtful = True
            elif worker.node == dead.node:
                worker.is_doubtful = True
                self._ask_where(worker)

    def _call_of(self, answer: Any) -> Call | None:
        workers = [*self._workers, *self._holders]
        return next((call for worker in workers for call in worker.calls if call.answer is answer), None)

    def _call_back(self, call: Call, *, goes_back: bool) -> None:
        if call.goes_back is not None or call.worker is None:
            return
        call.goes_back = goes_back
        number = call.number
        reference = call.worker.actor.call_back.remote(number)
        reference.future().add_done_callback(lambda asked: self._called_back(call, number, asked))

    def _note_death(self, worker: Worker) -> None:
        """Its first call is lost with it; a new one takes the place."""
        if worker.is_gone:
            return
        worker.is_gone = True
        for call in worker.calls[1:]:
            call.has_begun = not call.may_run_again
        if worker.held:
            self._holders.remove(worker)
        elif not self._closed:
            self._workers[self._workers.index(worker)] = self._new()

    def _balance(self) -> None:
        """Have a worker without work get the last call that waits for another."""
        if self._closed or all(worker.calls for worker in self._workers):
            return
        most = max(self._workers, key=_load)
        if len(most.calls) > 1:
            self._call_back(most.calls[-1], goes_back=False)

    # ------------------------------------------------------------------ in a thread of Ray

    def _called_back(self, call: Call, number: int, asked: Any) -> None:
        """The worker has said whether it will leave a call out."""
        if asked.exception() is not None:
            # It is gone: the end of the call says so as well.
            return
        if asked.result():
            self._left_out(call, number)
            return
        with self._lock:
            if call.number == number:
                call.goes_back = None

    def _left_out(self, call: Call, number: int) -> None:
        """The worker leaves a call out that was called back. Its end and the answer may come in either order."""
        with self._lock:
            if call.number != number or call.worker is None:
                return
            goes_back, call.goes_back = call.goes_back, None
            call.worker.calls.remove(call)
            call.worker = None
            call.number = -1
            if not goes_back and not self._closed:
                self._give(call)
                return
        _settle(call.answer, None, RecallError())

    def _begun(self, call: Call, number: int, told: Any) -> None:
        begun = call.begun
        if told.exception() is None and told.result() and call.number == number and begun is not None:
            call.begun = None
            begun()

    def _ended(self, call: Call, number: int, ended: Any, output: Any) -> None:
        error = ended.exception()
        if error is None and ended.result() is None:
            # Calls give something.
            self._left_out(call, number)
            return
        with self._lock:
            worker = call.worker
            if call.number != number or worker is None:
                # It was called back.
                return
            died = isinstance(error, self._ray.exceptions.RayActorError)
            if died:
                self._note_death(worker)
                # It may only be out of reach: where it lives on, it ends.
                worker.actor = None
                self._doubt(worker)
            worker.calls.remove(call)
            if died and not worker.is_up and call.may_run_again and call.moves < MOST_MOVES:
                call.moves += 1
                call.has_begun = False
            if died and not call.has_begun and not self._closed:
                call.has_begun = True
                self._give(call)
                return
            call.worker = None
            self._balance()
            if self._is_in_the_way(worker):
                self._forget([worker])
            if error is None and isinstance(ended.result(), LostInputs):
                names = ended.result().names
                self._wait_for(call, [stored for stored in call.inputs if stored.name in names])
                return
            for stored in call.inputs:
                stored.nodes.add(worker.node)
        if error is None:
            answer = ended.result()
            if call.makes_again is None:
                answer = with_remote(answer, self._stayed(call, answer, output, worker.node))
            elif has_stayed(answer):
                call.makes_again.reference, call.makes_again.nodes = output, {worker.node}
            else:
                error = OutputGoneError("its step was run again, and has failed")
        _settle(call.answer, None if error is not None else answer, error)

    def _stayed(self, call: Call, answer: Any, output: Any, node: str) -> Callable[[int, str], RemoteOutput]:
        """Makes what the record holds of an output of a call that has stayed."""

        def remote(size_bytes: int, type_name: str) -> RemoteOutput:
            stored = Stored("", 0, output, {node}, call_to_repeat(call.data, answer), call.inputs, call.asked)
            return remote_output(stored, size_bytes, type_name, self.make_again)

        return remote

    # ------------------------------------------------------------------ outputs that are lost

    def make_again(self, stored: Stored) -> Future[Any]:
        """Run the call that made a lost output once more. Its end: an answer of no use, or an error."""
        with self._lock:
            if stored.making is None:
                call = Call(stored.data, True, self.stays_bytes, stored.inputs, stored.asked)
                call.makes_again = stored
                stored.reference, stored.making = None, call.answer
                call.answer.add_done_callback(lambda _: stored.end_making())
                if self._closed:
                    call.answer.set_exception(OutputGoneError("the workers that could make it again are gone"))
                elif (error := self.given_up(_MAKING, stored.asked)) is not None:
                    call.answer.set_exception(OutputGoneError(str(error)))
                else:
                    self._give(call)
                return call.answer
            return stored.making

    def _wait_for(self, call: Call, gone: Sequence[Stored]) -> None:
        """Give a call to a worker when these of its inputs have been made again."""
        self._without_inputs.add(call)
        call.waits_for = len(gone)
        since = time.perf_counter()

        def came(made: Future[Any]) -> None:
            with self._lock:
                call.waits_for -= 1
                if call not in self._without_inputs or (made.exception() is None and call.waits_for):
                    return
                self._without_inputs.remove(call)
                if made.exception() is None and not self._closed:
                    call.waited_seconds += time.perf_counter() - since
                    self._give(call)
                    return
            message = f"an output that this step takes along was lost, and is not to be had again: {made.exception()}"
            _settle(call.answer, None, OutputGoneError(message))

        for stored in gone:
            self.make_again(stored).add_done_callback(came)


def _size_bytes(stored: Stored) -> int:
    return stored.size_bytes


def _settle(answer: Future[Any], result: Any, error: BaseException | None) -> None:
    if not answer.set_running_or_notify_cancel():
        return
    if error is None:
        answer.set_result(result)
    else:
        answer.set_exception(error)


def _is_up(worker: Worker) -> bool:
    return worker.is_up


def _load(worker: Worker) -> int:
    return len(worker.calls)


def _wait(worker: Worker) -> float:
    """How many calls a new one would wait for. One that starts is before those at work, a doubtful one after them."""
    return len(worker.calls) + (1.5 if worker.is_doubtful else 0 if worker.is_up else 0.5)
