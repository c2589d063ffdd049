"""Runs on Parsl: an app whose futures are inputs of other apps."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.benchmarks.peers.work import Aside, Prepare, Runner, Work, at_once


def call(step: Any, place: int, seconds: float, inputs: Any = ()) -> Any:
    """The body of the app."""
    return step(place, seconds)


@contextmanager
def apps_on(executor: Any) -> Iterator[Prepare]:
    """Parsl with one executor, its log files left out."""
    import parsl
    from parsl.config import Config

    with (
        tempfile.TemporaryDirectory() as folder,
        parsl.load(Config(executors=[executor], run_dir=folder, initialize_logging=False, usage_tracking=0)),
    ):
        app = parsl.python_app(call)

        def prepare(work: Work) -> Runner:
            def run(_: Aside) -> list[Any]:
                ends: list[Any] = []
                for place, above in enumerate(work.parents):
                    ends.append(app(work.step, place, work.seconds[place], inputs=[ends[parent] for parent in above]))
                return [end.result() for end in ends]

            return run

        # Workers that are processes start with the first tasks.
        prepare(Work([()] * 8, abs_of, (0.0,) * 8))(at_once)
        yield prepare


def abs_of(place: int, seconds: float) -> int:
    """Something to start workers with."""
    return abs(place)
