"""Any Python callable as a tool: ``{kind: python, callable: "module:function"}``, or a callable given in code.

Rules of this module:
- A step's ``args`` are keyword arguments; its prompt, if it has one, is the first positional argument.
- A coroutine function has only ``call_async``, any other callable only ``call``: each tool says for itself.
- The call adds nothing but the call: this is the hot path.
- To other processes a callable travels by name where it can be imported there, else by value (cloudpickle).
"""

from __future__ import annotations

import functools
import importlib
import importlib.machinery
import inspect
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from executor.model.findings import did_you_mean
from executor.tools.source_code import code_of
from executor.tools.tool import Tool, ToolContext, ToolOptionsError

if TYPE_CHECKING:
    from executor.model.workflow import ToolDeclaration


class PythonTool(Tool):
    """Calls a Python function."""

    kind = "python"
    may_call = True
    summary = "calls any importable Python callable, sync or async; args are its keyword arguments"

    def __init__(self, name: str, function: Callable[..., Any], *, cpu_bound: bool = False) -> None:
        super().__init__(name)
        self.function = function
        self.cpu_bound = cpu_bound
        # What was found to fit: whether there is no prompt, and the names of the arguments.
        self._fitting: set[tuple[object, ...]] = set()
        # Closures and not methods: no look-up of `self.function` per call, and no reference cycle.
        if _is_async(function):

            async def call_async(_context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Any:
                return await (function(**args) if prompt is None else function(prompt, **args))

            self.call_async = call_async
        else:

            def call(_context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Any:
                return function(**args) if prompt is None else function(prompt, **args)

            self.call = call

    @classmethod
    def from_declaration(cls, name: str, declaration: ToolDeclaration) -> Tool:
        """Import the callable and make the tool; see :meth:`Tool.from_declaration`."""
        # A worker process that starts needs no models.
        from executor.tools.options import read_options  # noqa: PLC0415
        from executor.tools.python_options import PythonOptions  # noqa: PLC0415

        options = read_options(PythonOptions, name, declaration)
        return cls(name, import_callable(name, options.callable), cpu_bound=options.cpu_bound)

    def call_faults(self, prompt: str | None, args: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Arguments that the function does not take, or does without."""
        if self._signature is not None and (key := (prompt is None, *args)) not in self._fitting:
            try:
                self._signature.bind(*(() if prompt is None else (prompt,)), **args)
            except TypeError as error:
                fix = f"it takes {', '.join(self._signature.parameters) or 'nothing'}; a prompt is its first argument"
                yield "args" if args else "tool", f"does not fit the function of its tool {self.name!r}: {error}", fix
            else:
                self._fitting.add(key)

    @functools.cached_property
    def _signature(self) -> inspect.Signature | None:
        """What the function takes, as far as it can be known: a wrapper may give some of it."""
        try:
            return inspect.signature(self.function, follow_wrapped=False)
        except (TypeError, ValueError):
            return None

    def direct(self, prompt: str | None, args: Mapping[str, Any]) -> Callable[[], Any]:
        """The function itself, bound to its arguments: it never sees a context."""
        if prompt is None:
            return functools.partial(self.function, **args) if args else self.function
        return functools.partial(self.function, prompt, **args)

    def code_words(self) -> Any:
        """The function's source, and what it uses of its module."""
        return code_of(self.function)

    def __reduce__(self) -> tuple[Any, ...]:
        reference = importable_reference(self.function)
        travelling = reference if reference is not None else _by_value(self.name, self.function)
        return _rebuild, (self.name, travelling, self.cpu_bound)


def is_reference(text: str) -> bool:
    """Whether ``text`` looks like ``module:function``."""
    module, colon, function = text.partition(":")
    return bool(colon) and all(part.isidentifier() for part in [*module.split("."), *function.split(".")])


def import_callable(name: str, reference: str) -> Callable[..., Any]:
    """The callable that ``module:function`` names.

    Raises:
        ToolOptionsError: it does not look like one, cannot be imported, does not exist, or cannot be called.

    """

    def wrong(message: str, fix: str) -> ToolOptionsError:
        return ToolOptionsError(f"tool {name!r}: callable: {message}", field="callable", fix=fix)

    if not is_reference(reference):
        raise wrong(f"{reference!r} is not of the form 'module:function'", "write it as 'package.module:function'")
    module_name, _, path = reference.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        top = module_name.partition(".")[0]
        fix = f"install it, put it beside the workflow file, or put the folder that holds {top!r} on the Python path"
        raise wrong(f"there is no module {error.name!r}", fix) from error
    except Exception as error:  # a module's own code may raise anything
        raise wrong(
            f"importing {module_name!r} failed with {type(error).__name__}: {error}", "make the module importable"
        ) from error
    for part in path.split("."):
        names = [known for known in dir(found) if not known.startswith("_")]
        if not hasattr(found, part):
            fix = did_you_mean(part, names, "name a function that is there")
            raise wrong(f"{module_name!r} has no {path!r}", fix)
        found = getattr(found, part)
    if not callable(found):
        raise wrong(f"{reference!r} is a {type(found).__name__}, which cannot be called", "name a function")
    function: Callable[..., Any] = found
    return function


def importable_reference(function: Callable[..., Any]) -> str | None:
    """``module:function`` if another process that has the same path finds this very object there, else None."""
    module_name = getattr(function, "__module__", None)
    path = getattr(function, "__qualname__", None)
    if not isinstance(module_name, str) or not isinstance(path, str) or module_name == "__main__" or "<" in path:
        return None
    found: Any = sys.modules.get(module_name)
    for part in path.split("."):
        found = getattr(found, part, None)
    if found is not function or not _is_importable(module_name):
        return None
    return f"{module_name}:{path}"


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or (
        not inspect.isroutine(function)
        and not inspect.isclass(function)
        and inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004 - asked for its kind
    )


@functools.lru_cache(maxsize=1024)
def _is_importable(module_name: str) -> bool:
    """Whether the import system would find the module afresh: a test or notebook may hold modules that exist only
    in this process.
    """
    path: Sequence[str] | None = None
    so_far = ""
    for part in module_name.split("."):
        so_far = f"{so_far}.{part}" if so_far else part
        spec = _find_spec(so_far, path)
        if spec is None:
            return False
        path = list(spec.submodule_search_locations or ())
    return True


def _find_spec(module_name: str, path: Sequence[str] | None) -> importlib.machinery.ModuleSpec | None:
    for finder in sys.meta_path:
        find_spec = getattr(finder, "find_spec", None)
        spec = find_spec(module_name, path) if find_spec is not None else None
        if isinstance(spec, importlib.machinery.ModuleSpec):
            return spec
    return None


def _by_value(name: str, function: Callable[..., Any]) -> bytes:
    import cloudpickle  # noqa: PLC0415 - only for functions that cannot be imported

    module = sys.modules.get(getattr(function, "__module__", None) or "")
    # cloudpickle sends what has a module by name; this module does not exist where it is going.
    only_here = module is not None and module.__name__ != "__main__" and not _is_importable(module.__name__)
    already = module is not None and module.__name__ in cloudpickle.list_registry_pickle_by_value()
    try:
        if only_here and not already:
            cloudpickle.register_pickle_by_value(module)
        data: bytes = cloudpickle.dumps(function)
    except Exception as error:
        raise pickle.PicklingError(
            f"tool {name!r}: {getattr(function, '__qualname__', function)!r} cannot be sent to another process: {error}"
        ) from error
    finally:
        if only_here and not already:
            cloudpickle.unregister_pickle_by_value(module)
    return data


def _rebuild(name: str, travelling: str | bytes, cpu_bound: bool) -> PythonTool:
    if isinstance(travelling, str):
        return PythonTool(name, import_callable(name, travelling), cpu_bound=cpu_bound)
    function = pickle.loads(travelling)  # noqa: S301 - written by `_by_value` in the process that started this one
    return PythonTool(name, function, cpu_bound=cpu_bound)
