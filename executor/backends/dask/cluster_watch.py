"""A running Dask cluster as a run goes on: its workers, as they come and go, and its scheduler, until it is gone.

Rules of this module:
- Nothing is polled: the scheduler reports of workers (its topic ``all``), and Dask's client ends its reading of reports
  when it has given the scheduler up.
- What is found is handed over in the thread of Dask's client; the receiver sees to the rest.
"""

from __future__ import annotations

import asyncio
import pickle
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import cloudpickle

from executor.backends.clocks.worker_clock import RoundTrip
from executor.backends.cluster_resources import Amounts
from executor.backends.dask import single_tries
from executor.backends.dask.single_tries import SingleTries
from executor.backends.worker_facts import portable_look

TOPIC = "all"
ACTIONS = ("add-worker", "remove-worker")
ROUNDS = 3
# So many workers are asked one after the other, which shows their clocks best; more are asked at once.
ASKED_SINGLY = 32
RETRY_SECONDS = 0.1
# A worker that does not answer for so long is looked at no further: it may be gone.
LOOK_SECONDS = 30

Looked = Mapping[str, Any]


@contextmanager
def _by_value() -> Iterator[None]:
    """What the scheduler is given travels by value."""
    cloudpickle.register_pickle_by_value(single_tries)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(single_tries)


class ClusterWatch:
    """``changed(threads, resources)``: how many threads the workers have now, and what each states, by address.
    ``looked(facts, trip)``: what a worker that came has (:func:`executor.backends.worker_facts.look`), and the round
    trip of that. ``lost()``: the scheduler is gone.
    """

    def __init__(
        self,
        client: Any,
        *,
        changed: Callable[[int, Mapping[str, Amounts]], None],
        looked: Callable[[Looked, RoundTrip], None],
        lost: Callable[[], None],
    ) -> None:
        self._client = client
        self._changed = changed
        self._looked = looked
        self._lost = lost
        self._data = portable_look()
        self._ended = False
        self._rejoining = False
        self._tasks: set[asyncio.Task[None]] = set()

    def look(self) -> dict[str, Looked | Exception]:
        """What each worker has, by its address; of one that cannot say it, why. Rounds of it, for their clocks."""
        found: dict[str, Looked | Exception] = {}
        for _ in range(ROUNDS):
            addresses = list(self._client.nthreads())
            size = 1 if len(addresses) <= ASKED_SINGLY else len(addresses)
            for begin in range(0, len(addresses), size):
                asked = addresses[begin : begin + size]
                sent = time.perf_counter_ns()
                answers = self._client.run(pickle.loads, self._data, workers=asked, on_error="return")
                for where, answer in answers.items():
                    found[where] = self._noted(answer, sent)
        return found

    def resources(self) -> dict[str, Amounts]:
        """What each worker states that it has, by its address."""
        return _resources(self._client.sync(self._client.scheduler.identity))

    def begin(self) -> None:
        """From now on changes are reported; what changed until now is reported first."""
        with _by_value():
            self._client.sync(self._listen)
        reading = self._client._handle_report_task  # noqa: SLF001  # Dask says in no other way that it gave up
        self._client.loop.add_callback(reading.add_done_callback, self._over)

    def connection_broke(self) -> None:
        """What ran is lost. Dask joins the scheduler again, if it can: then it is told once more what is wanted."""
        if not self._rejoining and not self._ended:
            self._rejoining = True
            self._client.loop.add_callback(lambda: self._spawn(self._rejoin()))

    def end(self) -> None:
        """Nothing is reported any more."""
        self._ended = True
        with suppress(Exception):
            self._client.unsubscribe_topic(TOPIC)

    async def _listen(self) -> None:
        """Raises whatever keeps the scheduler from doing what is asked."""
        plugin = SingleTries(self._client.id)
        await self._client.register_plugin(plugin, name=plugin.name)
        self._client.subscribe_topic(TOPIC, self._heard)
        await self._count()

    async def _rejoin(self) -> None:
        try:
            # Dask tells nobody when it is there again.
            while self._client.status == "connecting":  # noqa: ASYNC110  # as the line above says
                await asyncio.sleep(RETRY_SECONDS)
            if self._client.status == "running":
                with _by_value():
                    await self._listen()
        finally:
            self._rejoining = False

    def _over(self, _: Any) -> None:
        if not self._ended:
            self._ended = True
            self._lost()

    def _heard(self, event: Any) -> None:
        what = event[1] if isinstance(event, (tuple, list)) and len(event) == 2 else None  # a pair
        if self._ended or not isinstance(what, Mapping) or what.get("action") not in ACTIONS:
            return
        if what["action"] == "add-worker" and "worker" in what:
            self._spawn(self._look_at(str(what["worker"])))
        self._spawn(self._count())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _count(self) -> None:
        # Where the scheduler does not answer, it is found out elsewhere.
        with suppress(OSError, asyncio.TimeoutError):
            identity = await self._client.scheduler.identity()
            if not self._ended:
                threads = sum(one["nthreads"] for one in identity["workers"].values())
                self._changed(threads, _resources(identity))

    async def _look_at(self, address: str) -> None:
        # One that is gone again, or cannot be asked, fails its first step and says why.
        with suppress(Exception):
            for _ in range(ROUNDS):
                sent = time.perf_counter_ns()
                asked = self._client._run(pickle.loads, self._data, workers=[address], on_error="return")  # noqa: SLF001  # the coroutine of `run`
                for answer in (await asyncio.wait_for(asked, LOOK_SECONDS)).values():
                    self._noted(answer, sent)

    def _noted(self, answer: Any, sent: int) -> Looked | Exception:
        if isinstance(answer, Exception):
            return answer
        trip = RoundTrip(sent, answer["received"], answer["answered"], time.perf_counter_ns())
        facts: Looked = answer
        if not self._ended:
            self._looked(facts, trip)
        return facts


def _resources(identity: Mapping[str, Any]) -> dict[str, Amounts]:
    return {address: one["resources"] for address, one in identity["workers"].items()}
