"""What running code asks for when it calls tools, what it hears back, and the interface that carries both.

Each of its calls becomes a child step of the step that runs.

::

    node_runtime ─▶ current_place().caller ─▶ engine (the same process, or over a channel) ─▶ steps `<parent>/<n>`

Rules of this module:
- Data and one interface: it knows no engine, so that tools may use it.
- Each batch of requests is answered exactly once: the outcomes in the order of the requests, or None if the step is
  over (cancelled, timed out, ended) and no longer wants them.
- A wrong request (an unknown tool) fails by itself; the others of its batch run.
"""

from __future__ import annotations

from _thread import allocate_lock, get_ident
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from executor.record.outcomes import Failure

if TYPE_CHECKING:
    import asyncio


class ChildRequest(NamedTuple):
    """One tool by name with what it is given. Prompt and arguments are values: no template in them is rendered."""

    tool: str
    prompt: str | None = None
    args: Mapping[str, Any] = {}


class Outcome(NamedTuple):
    """How a child step ended: ``failure`` is None where it succeeded, ``step_id`` is None where it never was a step."""

    step_id: str | None
    output: Any
    failure: Failure | None = None


Outcomes: TypeAlias = "list[Outcome] | None"
Done: TypeAlias = Callable[[Outcomes], None]
# Gives up child steps that their step no longer waits for: they are cancelled. `Done` is called all the same.
Withdraw: TypeAlias = Callable[[], None]


class Caller:
    """Starts the child steps of what runs at one place. Subclasses implement :meth:`begin`."""

    def begin(self, running: Any, requests: Sequence[ChildRequest], at_once: int | None, done: Done) -> Withdraw:
        """Start these child steps of the step that is ``running``, at most ``at_once`` of them at a time, and return.

        ``done`` is called once, from any thread, maybe before this returns.
        """
        raise NotImplementedError

    def call(self, running: Any, requests: Sequence[ChildRequest], at_once: int | None = None) -> Outcomes:
        """The same for code that waits for the outcomes."""
        found: list[Outcomes] = []
        arrived = allocate_lock()
        arrived.acquire()

        def done(outcomes: Outcomes) -> None:
            found.append(outcomes)
            arrived.release()

        self.begin(running, requests, at_once, done)
        arrived.acquire()
        return found[0]

    async def call_async(self, running: Any, requests: Sequence[ChildRequest], at_once: int | None = None) -> Outcomes:
        """The same for coroutines. If the awaiting task is cancelled, so are the child steps; it waits for their end:
        until then the step has no slot to go on with.
        """
        import asyncio  # noqa: PLC0415  # who runs no coroutine does not pay for its import

        loop = asyncio.get_running_loop()
        thread = get_ident()
        future: asyncio.Future[Outcomes] = loop.create_future()

        def done(outcomes: Outcomes) -> None:
            if get_ident() == thread:
                _set_outcomes(future, outcomes)
                return
            # No coroutine waits in a closed loop.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(_set_outcomes, future, outcomes)

        withdraw = self.begin(running, requests, at_once, done)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            withdraw()
            await asyncio.wait([future])
            raise


def _set_outcomes(future: asyncio.Future[Outcomes], outcomes: Outcomes) -> None:
    if not future.done():
        future.set_result(outcomes)
