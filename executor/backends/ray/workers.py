"""Ray as an executor: actors that run calls one after the other, each with those that wait for it.

Rules of this module:
- A call goes to the actor that has the fewest. Ray sends it at once, so an actor goes on to the next without a way to
  here and back.
- An actor without work gets what waits for another: it is called back there first, so that nothing runs twice.
- Ray never runs a call again by itself. When an actor dies, the first of its calls had begun and fails. Those that
  were submitted ahead of free workers are given to other actors, and a new actor takes the place.
- A call that is stopped takes its actor with it.
- A call that asks for resources of a node runs on an actor that holds them, without a core: the engine sees to how many
  run at once. Without work such an actor waits for calls that ask for the same, and ends where another waits for a part
  of what it holds.
"""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from itertools import count
from typing import Any

from executor.backends.batches import BatchCall
from executor.backends.call_thread import CallThread
from executor.backends.cluster_backend import SentCall
from executor.backends.pickling import PROTOCOL
from executor.backends.window import DEEPEST, RecallError
from executor.backends.worker_facts import look


class CallRunner:
    """In a worker process of Ray."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._begun = -1
        self._called_back: set[int] = set()
        self._thread = CallThread()

    def run(self, place: int, number: int, call: bytes) -> Any:
        """Run what was submitted, pickled, unless it was called back. Numbers rise, places count the calls of this
        worker. In one of several threads, of which the others have the next calls at hand.
        """
        return self._thread.run(lambda: self._run(number, call), place)

    def _run(self, number: int, call: bytes) -> Any:
        with self._lock:
            self._begun = number
            self._lock.notify_all()
            if number in self._called_back:
                return None
        return pickle.loads(call)()  # noqa: S301  # the words of the submitter

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

    def process_id(self) -> int:
        """Of this worker: it is there, and has imported what it needs."""
        return os.getpid()

    def look(self) -> dict[str, Any]:
        """What this worker has, and its clock."""
        return look()


class Call:
    """A call that was submitted, while it waits or runs."""

    __slots__ = ("answer", "asked", "begun", "data", "goes_back", "has_begun", "may_run_again", "number", "worker")

    def __init__(self, sent: SentCall) -> None:
        self.data = pickle.dumps(sent.call, PROTOCOL)
        self.may_run_again = isinstance(sent.call, BatchCall)
        self.asked = dict(sent.asked)
        self.begun = sent.begun
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

    __slots__ = ("actor", "calls", "held", "is_gone", "is_up", "places")

    def __init__(self, actor: Any, held: dict[str, float]) -> None:
        self.actor = actor
        self.places = count()
        # What it holds of its node beside a core.
        self.held = held
        self.calls: list[Call] = []
        self.is_gone = False
        # Ray has found a place for it: it may have begun a call.
        self.is_up = False


class RayWorkers:
    """``workers`` actors of one core each. They are there when the first calls come, or soon after."""

    def __init__(self, workers: int) -> None:
        import ray  # noqa: PLC0415  # it is imported when a run begins

        self._ray = ray
        groups = {"run": "running", "call_back": "calling_back", "wait_until_begun": "telling"}
        parts = {name: ray.method(concurrency_group=group)(getattr(CallRunner, name)) for name, group in groups.items()}
        runner = type("CallRunner", (CallRunner,), parts)
        options: Any = {
            "num_cpus": 1,
            "max_restarts": 0,
            "max_task_retries": 0,
            "concurrency_groups": {"running": 1 + DEEPEST, "calling_back": 1, "telling": 1},
        }
        self._class: Any = ray.remote(**options)(runner)
        self._numbers = count()
        self._lock = threading.RLock()
        self._closed = False
        self.size = workers
        self._workers = [self._new() for _ in range(workers)]
        # Those that hold resources of their nodes.
        self._holders: list[Worker] = []

    def wait_until_ready(self, seconds: float) -> list[int]:
        """Their process ids. Raises what Ray raises."""
        pids: list[int] = self._ray.get([worker.actor.process_id.remote() for worker in self._workers], timeout=seconds)
        return pids

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
        made = Call(SentCall.of(call))
        with self._lock:
            self._give(made, self._worker_for(made.asked))
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

    def let_go(self) -> None:
        """Give back what actors without work hold of their nodes."""
        with self._lock:
            self._forget([worker for worker in self._holders if not worker.calls])

    def stop(self, answer: Any) -> None:
        """End a call, with its worker if it may have begun."""
        with self._lock:
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
        return any(worker.calls for worker in [*self._workers, *self._holders])

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

    def _give(self, call: Call, worker: Worker) -> None:
        call.worker = worker
        worker.calls.append(call)
        call.number = next(self._numbers)
        call.goes_back = None
        number = call.number
        reference = worker.actor.run.remote(next(worker.places), number, call.data)
        reference.future().add_done_callback(lambda ended: self._ended(call, number, ended))
        if call.begun is not None:
            asked = worker.actor.wait_until_begun.remote(number)
            asked.future().add_done_callback(lambda told: self._begun(call, number, told))

    def _worker_for(self, asked: dict[str, float]) -> Worker:
        """Who is to run a call that asks for this."""
        if not asked:
            return min(self._workers, key=_load)
        without_work = [worker for worker in self._holders if not worker.calls]
        for worker in without_work:
            if worker.held == asked:
                return worker
        self._forget([worker for worker in without_work if worker.held.keys() & asked.keys()])
        self._holders.append(self._new(asked))
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
        worker.actor.process_id.remote().future().add_done_callback(lambda came: self._is_there(worker, came))
        return worker

    @staticmethod
    def _is_there(worker: Worker, came: Any) -> None:
        worker.is_up = worker.is_up or came.exception() is None

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
                self._give(call, min(self._workers, key=_load))
                return
        _settle(call.answer, None, RecallError())

    def _begun(self, call: Call, number: int, told: Any) -> None:
        if told.exception() is None and told.result() and call.number == number and call.begun is not None:
            call.begun()

    def _ended(self, call: Call, number: int, ended: Any) -> None:
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
            worker.calls.remove(call)
            if died and not call.has_begun and not self._closed:
                call.has_begun = True
                self._give(call, min(self._workers, key=_load))
                return
            call.worker = None
            self._balance()
            if self._is_in_the_way(worker):
                self._forget([worker])
        _settle(call.answer, None if error is not None else ended.result(), error)


def _settle(answer: Future[Any], result: Any, error: BaseException | None) -> None:
    if not answer.set_running_or_notify_cancel():
        return
    if error is None:
        answer.set_result(result)
    else:
        answer.set_exception(error)


def _is_up(worker: Worker) -> bool:
    return worker.is_up


def _load(worker: Worker) -> tuple[int, bool]:
    """Of two with as many calls the one that is up is to have the next."""
    return len(worker.calls), not worker.is_up
