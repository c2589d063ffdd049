"""Optional hooks into a run: to watch it, never to steer it.

Rules of this module:
- Only hooks that an instrument overrides are called: one that watches nothing costs nothing.
- An instrument that raises is switched off, once, with a warning that names it; the run goes on.
- Hooks run under the engine's lock, except ``worker_started``: they must be short and must not call the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from executor.child_steps.step_context import Place
from executor.dependencies import Graph
from executor.record.outcomes import StepError
from executor.record.timeline import Attempt, StepStatus, Timeline
from executor.scheduler import Scheduler
from executor.tools.tool import RunContext

LOGGER_NAME = "makespan.instruments"
HOOKS = ("run_started", "worker_started", "attempt_started", "attempt_finished", "run_finished", "run_left")


class WatchedRun(Protocol):
    """A run as an instrument sees it: an :class:`executor.engine.engine.Engine`, to be read and not to be changed.

    Outputs and errors are by step id. ``facts`` are span attributes that tools wrote beside their attempts.
    """

    @property
    def graph(self) -> Graph:
        """The steps that the run began with."""

    @property
    def context(self) -> RunContext:
        """What all steps share."""

    @property
    def scheduler(self) -> Scheduler:
        """The steps and their states."""

    @property
    def outputs(self) -> Mapping[str, Any]:
        """Of the steps that have succeeded."""

    @property
    def errors(self) -> Mapping[str, StepError]:
        """Of the steps whose last attempt failed."""

    @property
    def facts(self) -> Mapping[Attempt, Mapping[str, Any]]:
        """Of the attempts whose tool wrote any."""

    @property
    def origin(self) -> int:
        """The instant t = 0 on the backend's clock, in nanoseconds."""

    @property
    def backend_name(self) -> str:
        """Where the steps run."""

    @property
    def simulates(self) -> bool:
        """Whether its clock is not the machine's."""

    @property
    def done(self) -> bool:
        """Whether every step is final."""

    def now(self) -> int:
        """Nanoseconds since t = 0."""

    def timeline(self, startup_seconds: float = 0.0) -> Timeline:
        """The record so far."""

    def cancel(self) -> None:
        """Cancel the run: from another thread, never from a hook."""


class Instrument:
    """Override what you want to see. Times are nanoseconds from the run's t = 0.

    ``traces``: it sees to the run's tracing, and `run` adds none of its own. ``carrier``: what worker processes need so
    that spans of their code return (:func:`executor.tracing.step_spans.carrier_of`); asked for before they are
    started. ``captures_content``: tools may record prompts and answers, and failures what they say.
    """

    traces: ClassVar[bool] = False
    carrier: Mapping[str, str] | None = None
    captures_content: bool = False

    def run_started(self, engine: WatchedRun) -> None:
        """The workers are up; nothing has started yet."""

    def worker_started(self, place: Place) -> None:
        """A worker of this process begins, in its own thread or task (so not under the engine's lock, and several may
        at once): the place where its steps will run.
        """

    def attempt_started(self, attempt: Attempt) -> None:
        """An attempt was granted its slot (or, with ``blocked`` intervals, resumes)."""

    def attempt_finished(self, attempt: Attempt, status: StepStatus) -> None:
        """An attempt came to its end; ``status`` is the step's state after it."""

    def run_finished(self, engine: WatchedRun) -> None:
        """Every step is final."""

    def run_left(self, engine: WatchedRun) -> None:
        """Called in place of ``run_finished`` where the run was left before that: by an error, or by its caller."""


class Untraced(Instrument):
    """Keeps `run` from tracing by itself, even under an active span."""

    traces = True


class Instruments:
    """The instruments of a run, by hook."""

    def __init__(self, instruments: Sequence[Instrument] = ()) -> None:
        self._by_hook: dict[str, list[Instrument]] = {}
        self.warnings: list[str] = []
        for instrument in instruments:
            for hook in HOOKS:
                if getattr(type(instrument), hook, None) is not getattr(Instrument, hook):
                    self._by_hook.setdefault(hook, []).append(instrument)

    def watches(self, hook: str) -> bool:
        """Whether any instrument overrides the hook."""
        return hook in self._by_hook

    def call(self, hook: str, *arguments: Any) -> None:
        """Call the hook of each instrument that has it."""
        for instrument in self._by_hook.get(hook, ())[:]:
            method: Callable[..., None] = getattr(instrument, hook)
            try:
                method(*arguments)
            except Exception as error:  # noqa: BLE001  # an instrument may raise anything and must not harm the run
                self._switch_off(instrument, hook, error)

    def _switch_off(self, instrument: Instrument, hook: str, error: Exception) -> None:
        for hook_name in list(self._by_hook):
            remaining = [other for other in self._by_hook[hook_name] if other is not instrument]
            if remaining:
                self._by_hook[hook_name] = remaining
            else:
                del self._by_hook[hook_name]
        name = type(instrument).__name__
        message = f"instrument {name} raised {type(error).__name__} in {hook} and was switched off: {error}"
        self.warnings.append(message)
        import logging  # noqa: PLC0415  # few runs have anything to log

        logging.getLogger(LOGGER_NAME).warning(message)
