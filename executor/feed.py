"""Steps that arrive while a run goes on: a plan that is still being written, say.

::

    feed (a thread of its own) ── add(steps) ──▶ Engine.ask ──▶ the run's waiting thread: add, start what may start

Rules of this module:
- The run is held open until the feed returns; it does not end because nothing is left to do.
- A step that arrives names what it depends on in ``depends_on``; the sender checks it.
- Once the run is over (cancelled, broken) :meth:`Arrivals.add` raises, and ``over`` is true: the feed has to come to
  its end. An error of the feed cancels the run, and is raised when that has ended.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeAlias

from executor.child_steps.child_request import ChildRequest
from executor.engine.engine import Engine
from executor.model.workflow import Step
from executor.record.outcomes import Failure
from executor.scheduler import SchedulerError
from executor.tools.tool import ToolOptionsError

_LOOK_EVERY_SECONDS = 0.1
# How long the end of a run waits for its feed to stop.
_JOIN_SECONDS = 5.0


class RunOverError(Exception):
    """The run has ended, or was cancelled: nothing can arrive any more."""


class Arrivals:
    """What a feed adds its steps to."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._stops: list[Callable[[], None]] = []
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self.error: BaseException | None = None

    @property
    def over(self) -> bool:
        """Whether the run does not wait for the feed any more."""
        return self._over.is_set() or self._engine.done

    def on_over(self, stop: Callable[[], None]) -> None:
        """Call ``stop``, from another thread, if the run ends before the feed does."""
        self._stops.append(stop)

    def add(self, steps: Sequence[Step]) -> list[str]:
        """Add steps to the run; those that may start do so at once. Returns their ids.

        Raises:
            RunOverError: see above.
            SchedulerError: a step has an id that is there, depends on what is not there, or needs what is not there.
            ToolOptionsError: a step's tool cannot be made.

        """
        for name in dict.fromkeys(step.tool for step in steps if step.tool is not None):
            made = self._engine.toolbox.step(ChildRequest(name))
            if isinstance(made, Failure):
                raise ToolOptionsError(made.message, field="tool")
        answers: list[list[str] | SchedulerError] = []
        answered = threading.Event()

        def request(now: int) -> None:
            try:
                answers.append(self._engine.scheduler.add(steps, now))
            except SchedulerError as error:
                answers.append(error)
            answered.set()

        if self.over:
            raise RunOverError("the run is over")
        self._engine.ask(request)
        while not answered.wait(_LOOK_EVERY_SECONDS):
            if self.over:
                raise RunOverError("the run is over")
        answer = answers[0]
        if isinstance(answer, SchedulerError):
            raise answer
        return answer

    def cancel(self) -> None:
        """Cancel the run: nothing more can come, and what is missing is needed."""
        self._engine.cancel_later()

    def start(self, feed: Feed) -> None:
        """Begin to feed the run, which is held open: it is released when the feed returns."""
        thread = threading.Thread(target=self._work, args=(feed,), name="makespan-arrivals", daemon=True)
        thread.start()
        # Not before: Ctrl-C may come here, and a thread that has not started cannot be waited for.
        self._thread = thread

    def end(self) -> None:
        """The run has ended: stop the feed, and wait for it a little."""
        self._over.set()
        if self._thread is None:
            return
        if self._thread.is_alive():
            for stop in self._stops:
                stop()
        self._thread.join(_JOIN_SECONDS)

    def _work(self, feed: Feed) -> None:
        try:
            feed(self)
        except RunOverError:
            pass
        except BaseException as error:  # noqa: BLE001  # the thread that waits for the run raises it
            self.error = error
            self._engine.cancel_later()
        finally:
            self._engine.ask(lambda _now: self._engine.scheduler.release())


Feed: TypeAlias = Callable[[Arrivals], None]
