"""Where steps run: built-in backends, and those of other packages (entry point group `makespan.backends`).

Rules of this module:
- The engine is imported when a backend is asked for: worker processes import modules of this package, and no engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from executor.lazy_names import lazy_names

if TYPE_CHECKING:
    from executor.backends.base import Backend, BackendError

GROUP = "makespan.backends"

# The built-in backends. No other one can replace them.
BUILT_IN = {
    "serial": "executor.backends.serial:SerialBackend",
    "threads": "executor.backends.threads:ThreadsBackend",
    "processes": "executor.backends.processes.process_backend:ProcessesBackend",
    "asyncio": "executor.backends.asyncio:AsyncioBackend",
    "virtual": "executor.backends.virtual:VirtualBackend",
    "dask": "executor.backends.dask.dask_backend:DaskBackend",
    "ray": "executor.backends.ray.ray_backend:RayBackend",
}


def backend_names() -> list[str]:
    """All backends that can be asked for; ours first, in the order in which reports list them."""
    foreign = sorted(set(_foreign()) - set(BUILT_IN))
    return [*BUILT_IN, *foreign]


def find_backend(name: str) -> type[Backend]:
    """The class of a backend; its module is imported now and not before.

    Raises:
        BackendError: there is no such backend, or it cannot be imported.
    """
    from executor.backends.base import Backend, BackendError  # noqa: PLC0415  # as the head says

    reference = BUILT_IN.get(name) or _foreign().get(name)
    if reference is None:
        raise BackendError(f"there is no executor {name!r}: choose one of {', '.join(backend_names())}")
    try:
        found = _load(reference)
    except Exception as error:  # another package's code may raise anything while it is imported
        raise BackendError(f"executor {name!r} ({reference}) cannot be imported: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Backend)):
        raise BackendError(f"executor {name!r} ({reference}) is no subclass of executor.backends.Backend")
    return found


def _foreign() -> dict[str, str]:
    """Name to reference of the backends of other packages."""
    # It imports as much as a small run.
    from importlib.metadata import entry_points  # noqa: PLC0415

    return {point.name: point.value for point in entry_points(group=GROUP)}


def _load(reference: str) -> Any:
    """What ``module:attribute.path`` of an entry point names."""
    module, _, path = reference.partition("[")[0].strip().partition(":")
    found: Any = import_module(module)
    for name in filter(None, path.split(".")):
        found = getattr(found, name)
    return found


def make_backend(name: str, workers: int | None = None, options: Mapping[str, str] | None = None) -> Backend:
    """A backend, ready for one run. ``options`` are those of its class (:attr:`Backend.options`).

    Raises:
        BackendError: there is no such backend or option, or it cannot be had.
    """
    from executor.backends.base import BackendError  # noqa: PLC0415  # as the head says

    found = find_backend(name)
    for option in options or {}:
        if option not in found.options:
            there = f"it has {', '.join(found.options)}" if found.options else "it has none"
            raise BackendError(f"executor {name!r} has no option {option!r}: {there}")
    return found(workers, **(options or {}))


__all__ = ["BUILT_IN", "GROUP", "Backend", "BackendError", "backend_names", "find_backend", "make_backend"]

__getattr__, __dir__ = lazy_names(__name__, {"executor.backends.base": ("Backend", "BackendError")})
