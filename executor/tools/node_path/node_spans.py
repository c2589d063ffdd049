"""In a node: the spans that its code opens become part of the step's trace. Standard library alone, and nothing is done
before the code imports OpenTelemetry.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_WATCHED = "opentelemetry.trace"


def watch() -> None:
    """Where the run is traced, continue its trace as soon as the node's code imports OpenTelemetry."""
    if "MAKESPAN_SPANS" in os.environ:
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Waits for one import."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != _WATCHED:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    """Loads a module as its own loader does, and continues the trace then."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        # A node works without its spans: its interpreter may see another package by that name, or none.
        with suppress(Exception):
            # By its name, like all that a node's process takes from outside this folder.
            importlib.import_module("executor.tracing.child_programs").continue_trace()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)
