"""Python runs this when a program starts that is recorded: it starts the community's instrumentation, if it is there.

Rules of this module:
- Standard library alone, and silent: whatever is missing or wrong, the program runs as it would have.
- A ``sitecustomize`` of the user's comes first.
- With a tracer provider in place, one span holds the program, so that what it does is one trace; processes that it
  starts hang below that span.
"""

import atexit
import os
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

_HERE = str(Path(__file__).resolve().parent)
_PARENT = "TRACEPARENT"
_LONGEST_NAME = 100


def _run_the_users() -> None:
    """Run the ``sitecustomize`` that this one hides."""
    for folder in sys.path:
        place = Path(folder or ".", "sitecustomize.py")
        if str(place.parent.resolve()) != _HERE and place.is_file():
            spec = spec_from_file_location("sitecustomize", place)
            if spec is not None and spec.loader is not None:
                spec.loader.exec_module(module_from_spec(spec))
            return


def _instrument() -> bool:
    """Start the community's instrumentation; whether it is there."""
    try:
        import opentelemetry.instrumentation.auto_instrumentation as start  # noqa: PLC0415  # may be missing
    except ImportError:
        return False
    initialize = getattr(start, "initialize", None)
    if initialize is not None:
        initialize()
        return True
    from opentelemetry.instrumentation.auto_instrumentation import (  # noqa: PLC0415  # older versions
        sitecustomize,
    )

    return isinstance(sitecustomize, ModuleType)


def _hold_the_program() -> None:
    """Begin one span for the whole program."""
    from opentelemetry import context, trace  # noqa: PLC0415  # only where there is a provider
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    if not hasattr(trace.get_tracer_provider(), "add_span_processor"):
        return
    propagator = TraceContextTextMapPropagator()
    above = propagator.extract({"traceparent": os.environ.get(_PARENT, "")})
    given = [Path(one).name for one in sys.orig_argv[1:] if not one.startswith("-")]
    name = given[0] if given and "-c" not in sys.orig_argv else "python"
    span = trace.get_tracer("makespan.record").start_span(name[:_LONGEST_NAME], context=above)
    token = context.attach(trace.set_span_in_context(span, above))
    carried: dict[str, str] = {}
    propagator.inject(carried)
    os.environ[_PARENT] = carried.get("traceparent", "")

    def end() -> None:
        context.detach(token)
        span.end()

    atexit.register(end)


def _start() -> None:
    try:
        _run_the_users()
    except Exception as error:  # noqa: BLE001  # as Python itself does: a warning, and the program runs
        sys.stderr.write(f"sitecustomize: {type(error).__name__}: {error}\n")
    if os.environ.get("MAKESPAN_RECORD_INSTRUMENT") != "1":
        return
    try:
        if _instrument() and os.environ.get("MAKESPAN_RECORD_ONE_TRACE") == "1":
            _hold_the_program()
    except Exception as error:  # noqa: BLE001  # the same
        sys.stderr.write(f"makespan record: instrumentation did not start: {type(error).__name__}: {error}\n")


_start()
