"""Hamilton with its thread pool adapter; names of parameters are the edges."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.benchmarks.peers.work import Aside, Prepare, Runner, Work

TITLE = "Hamilton, thread pool adapter"
PACKAGES = ("apache-hamilton",)
IMPORTS = ("hamilton.driver", "hamilton.plugins.h_threadpool")
REPORTS = "a drawing of the graph; a time of each function through adapters (its own UI, OpenTelemetry)"


def function(work: Work, place: int) -> Callable[..., Any]:
    """The function of a step, as if it had been written out."""

    def call(**parents: object) -> Any:
        return work.step(place, work.seconds[place])

    names = [f"s{parent}" for parent in work.parents[place]]
    keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, keyword, annotation=object) for name in names]
    call.__name__ = call.__qualname__ = f"s{place}"
    call.__annotations__ = {**dict.fromkeys(names, object), "return": object}
    call.__signature__ = inspect.Signature(parameters, return_annotation=object)  # type: ignore[attr-defined]  # any function may have one
    return call


@contextmanager
def ready(workers: int) -> Iterator[Prepare]:
    """Its adapter holds the pool."""
    from hamilton import ad_hoc_utils, driver
    from hamilton.plugins.h_threadpool import FutureAdapter

    adapter = FutureAdapter(max_workers=workers)

    def prepare(work: Work) -> Runner:
        functions = [function(work, place) for place in range(len(work.parents))]
        module = ad_hoc_utils.create_temporary_module(*functions, module_name=f"steps_{uuid.uuid4().hex}")
        built = driver.Builder().with_modules(module).with_adapters(adapter).build()
        names = [f"s{place}" for place in range(len(work.parents))]

        def run(_: Aside) -> list[Any]:
            outputs = built.execute(names)
            return [outputs[name] for name in names]

        return run

    yield prepare
    adapter.executor.shutdown()
