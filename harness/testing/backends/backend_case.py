"""What the facts about backends share: how a backend is made, watched and run, and what it may be unable to do.

Rules of this module:
- What a backend cannot do is in :data:`CANNOT` (or in its suite's ``cannot``), with the reason. Tests that need it
  are left out; that it is really impossible is tested.
- Every run is watched (:mod:`harness.testing.backends.protocol_watch`): a breach of the protocol fails whichever test
  it happens in.
"""

from __future__ import annotations

import functools
import itertools
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, ParamSpec, TypeVar

import executor
from executor import Backend, Run, Step, Workflow, find_backend
from harness.testing.backends.protocol_watch import watch
from harness.testing.backends.suite_steps import STEPS

CAPABILITIES = {
    "tools": "runs the tools (a simulation says what they would have done)",
    "parallel": "runs several steps at once",
    "interrupts": "sees to timeouts and cancellations while a call runs",
    "replaces": "has another worker at once in the place of one whose call is past its timeout",
    "stops_functions": "stops a plain function that is past its timeout or cancelled",
    "stops_coroutines": "stops a coroutine that is past its timeout or cancelled",
    "lets_go": "leaves no process behind when the program ends, however it ends, while a call goes on",
    "survives_death": "survives a step that ends its own process",
    "unpicklable": "carries outputs that cannot be pickled",
    "calls": "takes the calls that steps make while they run to the engine",
}
"""What a backend can do, unless it is said that it cannot."""

_THREADS = {
    "stops_functions": "a thread cannot be stopped",
    "stops_coroutines": "a coroutine runs to its end in its thread",
    "survives_death": "its threads are part of the program",
}
CANNOT: Mapping[str, Mapping[str, str]] = {
    "serial": {"parallel": "it has one worker, so that it is the baseline", **_THREADS},
    "threads": _THREADS,
    "asyncio": {"stops_functions": _THREADS["stops_functions"], "survives_death": "it runs in the program's own loop"},
    "processes": {"unpicklable": "outputs travel between processes"},
    "virtual": {"tools": "it simulates"},
    "dask": {
        "calls": "there is no way back from its workers",
        "replaces": "a call that goes on keeps its process",
        "stops_functions": "Dask does not stop what runs",
        "stops_coroutines": "Dask does not stop what runs",
        "unpicklable": "outputs travel between processes",
    },
    "ray": {
        "calls": "there is no way back from its workers",
        "unpicklable": "outputs travel between processes",
    },
}
"""By backend, what it cannot do, and why."""

P = ParamSpec("P")
T = TypeVar("T", bound=Callable[..., Any])
_SCRIPT_SECONDS = 120.0
_SCRIPT_HEAD = """
import pickle, sys
from executor import *
from harness.testing.backends.suite_steps import STEPS
made = pickle.loads(bytes.fromhex(sys.argv[1]))
backend = (find_backend(made) if isinstance(made, str) else made)(None if sys.argv[2] == "-" else int(sys.argv[2]))
"""


def needs(*capabilities: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Marks a test that makes sense only for backends that have all of these. Where it fails, it names them."""

    def mark(test: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(test)
        def explained(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                test(*args, **kwargs)
            except Exception as error:
                error.add_note(_needed(capabilities))
                raise

        explained.__dict__["needs"] = capabilities
        return explained

    return mark


def _needed(capabilities: Sequence[str]) -> str:
    named = "\n".join(f"  {name}: {CAPABILITIES[name]}" for name in capabilities)
    return f"This test needs of a backend (if it cannot do one of these, say why in `cannot`):\n{named}"


def unless(capability: str) -> Callable[[T], T]:
    """Marks a test for backends that do not have this."""

    def mark(test: T) -> T:
        test.__dict__["unless"] = capability
        return test

    return mark


class BackendFacts:
    """The base of all groups of facts. See :class:`harness.testing.backends.backend_suite.BackendConformance`."""

    backend: ClassVar[Any] = None
    workers: ClassVar[int] = 3
    many_steps: ClassVar[int] = 10_000
    random_workflows: ClassVar[int] = 12
    patience_seconds: ClassVar[float] = 60.0
    cannot: ClassVar[Mapping[str, str] | None] = None
    # Steps wait at workers that are busy: a slot is in use while its step runs there, not until its end is known here.
    hands_out_ahead: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.backend is None:
            return
        lacking = cls.lacking()
        unknown = sorted(set(lacking) - set(CAPABILITIES))
        if unknown:
            raise TypeError(
                f"{cls.__name__}.cannot: no such capability: {', '.join(unknown)}; there are {CAPABILITIES}"
            )
        for name in dir(cls):
            test = getattr(cls, name)
            if name.startswith("test_") and not _applies(test, lacking):
                setattr(cls, name, None)

    @classmethod
    def lacking(cls) -> Mapping[str, str]:
        """What the backend cannot do."""
        if cls.cannot is not None:
            return cls.cannot
        return CANNOT.get(cls.backend, {}) if isinstance(cls.backend, str) else {}

    @classmethod
    def can(cls, capability: str) -> bool:
        """Whether the backend has this capability."""
        return capability not in cls.lacking()

    # ------------------------------------------------------------------ for the facts

    def make(self, workers: int | None = None) -> Backend:
        """A new backend with so many workers (by default the suite's; one, where there is never another)."""
        # A function that is a class attribute would be bound to the test.
        backend = type(self).__dict__.get("backend", type(self).backend)
        backend = getattr(backend, "__func__", backend)
        made = find_backend(backend) if isinstance(backend, str) else backend
        found: Backend = made(self.worker_count(workers))
        return found

    def worker_count(self, workers: int | None = None) -> int:
        """How many workers :meth:`make` asks for."""
        return (workers or self.workers) if self.can("parallel") else 1

    def run(self, *steps: Step, workers: int | None = None, **options: Any) -> Run:
        """Run these steps, watched."""
        watched = watch(self.make(workers), patience_seconds=self.patience_seconds)
        options.setdefault("tools", STEPS)
        return executor.run(Workflow(steps=steps), backend=watched, **options)

    def script(self, text: str, *arguments: object, workers: int | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program that finds ``backend``, ``STEPS`` and all of :mod:`executor`; ``sys.argv[3:]`` are the
        arguments.
        """
        return subprocess.run(  # noqa: S603  # a program written here
            self.script_command(text, *arguments, workers=workers),
            capture_output=True,
            text=True,
            timeout=_SCRIPT_SECONDS,
            check=False,
            env=script_environment(),
        )

    def script_command(self, text: str, *arguments: object, workers: int | None = None) -> list[str]:
        """The command line of :meth:`script`."""
        made = _travelling(type(self).__dict__.get("backend", type(self).backend))
        count = str(self.worker_count(workers))
        return [sys.executable, "-c", _SCRIPT_HEAD + text, made.hex(), count, *map(str, arguments)]


def script_environment() -> dict[str, str]:
    """The environment of a program that finds the modules that are found here."""
    path = os.pathsep.join(str(Path(place or ".").resolve()) for place in sys.path)
    return {**os.environ, "PYTHONPATH": path}


def step(step_id: str, tool: str = "echo", **fields: Any) -> Step:
    """A step; fields that are no words of a step are its arguments."""
    words = {name: value for name, value in fields.items() if name in Step.model_fields}
    args = {name: value for name, value in fields.items() if name not in Step.model_fields}
    return Step(step_id=step_id, tool=tool, args=args or None, **words)


def _applies(test: Any, lacking: Mapping[str, str]) -> bool:
    wanted = getattr(test, "needs", ())
    unwanted = getattr(test, "unless", None)
    return not any(name in lacking for name in wanted) and (unwanted is None or unwanted in lacking)


def _travelling(made: Any) -> bytes:
    """What makes the backend, for another program: a name, or the class or function itself, by value."""
    import cloudpickle  # noqa: PLC0415  # for scripts alone

    function = getattr(made, "__func__", made)
    module = sys.modules.get(getattr(function, "__module__", ""))
    by_value = module is not None and not module.__name__.startswith(("executor.", "harness."))
    if by_value:
        cloudpickle.register_pickle_by_value(module)
    try:
        data: bytes = cloudpickle.dumps(function)
    except (TypeError, pickle.PicklingError) as error:
        raise TypeError(
            f"what makes the backend ({getattr(function, '__qualname__', function)}) is sent to a program of its own "
            f"by value, with all of its module that it uses, and a part of that cannot travel: {error}; have it make "
            f"pools, locks and files itself, rather than use those of its module"
        ) from error
    finally:
        if by_value:
            cloudpickle.unregister_pickle_by_value(module)
    return data


def most_at_once(run: Run, *, handed_out_ahead: bool = False) -> int:
    """The largest number of attempts that held a slot at once: from their grant until their end was known, or until
    their end where steps wait at their workers.
    """
    until = "ended" if handed_out_ahead else "known"
    changes = [(attempt.granted, 1) for attempt in run.timeline.attempts]
    changes += [(getattr(attempt, until) or 0, -1) for attempt in run.timeline.attempts]
    return max(itertools.accumulate(change for _, change in sorted(changes)), default=0)
