"""The nodes of a running Ray, as they come and go.

Ray has no public way to hear of them: this is the subscription that its own dashboard uses. Where a version of Ray
lacks it, the number of workers stays what it was at the start of the run.

Rules of this module:
- Nothing is polled: a thread waits for the next event of Ray's control store. While that cannot be reached, it is tried
  again, and then given up.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from executor.backends.cluster_resources import Amounts

# Ray's own names: memory in bytes, a mark of each node, of its kind of accelerator, and of placement groups.
COUNTED = re.compile(r"CPU$|memory$|object_store_memory$|node:|accelerator_type:|bundle$|.*_group_")
MOST_EVENTS = 1000
ENDING_SECONDS = 10
# For so long the control store may be away.
LOST_SECONDS = 10
RETRY_SECONDS = 0.5


class NodeWatch:
    """``changed(nodes)``: what each of the nodes has that are alive, by its name. ``lost()``: Ray is gone. Both are
    called in the watch's own thread.
    """

    def __init__(self, changed: Callable[[Mapping[str, Amounts]], None], lost: Callable[[], None]) -> None:
        self._changed = changed
        self._lost = lost
        self._ended = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._listening: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name="makespan-ray-nodes", daemon=True)

    def begin(self) -> bool:
        """Listen from now on; False: this Ray tells nobody."""
        try:
            from ray._private.gcs_pubsub import GcsAioNodeInfoSubscriber  # noqa: PLC0415  # Ray is imported by a run
        except ImportError:
            return False
        self._subscriber_class: Any = GcsAioNodeInfoSubscriber
        self._thread.start()
        return True

    def end(self) -> None:
        """Nothing is reported any more."""
        self._ended.set()
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stop)
        if self._thread.is_alive():
            self._thread.join(ENDING_SECONDS)

    def _stop(self) -> None:
        if self._listening is not None:
            self._listening.cancel()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._listening = self._loop.create_task(self._listen())
        # Where Ray itself is gone, the steps hear of it.
        with suppress(Exception, asyncio.CancelledError):
            self._loop.run_until_complete(self._listening)
        self._loop.close()

    async def _listen(self) -> None:
        import ray  # noqa: PLC0415  # as above

        address = ray.get_runtime_context().gcs_address
        subscriber = self._subscriber_class(address=address)
        await subscriber.subscribe()
        while not self._ended.is_set():
            # What came before the subscription counts, too.
            self._changed(await asyncio.to_thread(nodes_alive))
            # Where the store cannot be reached, Ray says nothing but that there are no events.
            while not await subscriber.poll(batch_size=MOST_EVENTS):
                if not await _answers(address):
                    self._lost()
                    return
                await subscriber.subscribe()


async def _answers(address: str) -> bool:
    """Whether a server listens there, or does so again soon."""
    host, _, port = address.rpartition(":")
    for _ in range(round(LOST_SECONDS / RETRY_SECONDS)):
        await asyncio.sleep(RETRY_SECONDS)
        with suppress(OSError):
            _, connection = await asyncio.open_connection(host.strip("[]"), int(port))
            connection.close()
            return True
    return False


def nodes_alive() -> dict[str, Amounts]:
    """What each node has that is alive, by its address and the beginning of its id."""
    import ray  # noqa: PLC0415  # as above

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]  # Ray has few types
    return {
        f"{node['NodeManagerAddress']} ({node['NodeID'][:8]})": node["Resources"] for node in nodes if node["Alive"]
    }


def cores_of(nodes: Mapping[str, Amounts]) -> int:
    """Their cores."""
    return int(sum(node.get("CPU", 0) for node in nodes.values()))


def stated_by(nodes: Mapping[str, Amounts]) -> dict[str, Amounts]:
    """What people have stated that they have, beside what Ray counts everywhere."""
    return {
        name: {resource: amount for resource, amount in node.items() if not COUNTED.match(resource)}
        for name, node in nodes.items()
    }
