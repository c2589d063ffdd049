"""What makespan needs on this machine, whether it is there, and how to get it.

Rules of this module:
- A check looks at the thing itself (it runs a step, it converts a page), not at whether a package is listed.
- ``broken`` is what is needed and does not work; what is merely not installed is ``missing``, with the way to get it.
- What a check looks with is imported by it, so that the first line is there at once.
- Each check takes seconds at most, and one that fails in an unforeseen way is itself reported as broken.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import re
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from typing import TYPE_CHECKING, Final, Literal

from executor.model.findings import WorkflowError
from executor.running import Run, run
from harness.environment import cpu_limit_cores, memory_bytes, memory_limit_bytes, usable_cores
from harness.files.packaged import default_config_path, shipped_scenarios
from harness.version import DISTRIBUTION, package_version

if TYPE_CHECKING:
    from executor.backends import BackendError
    from harness.config import Config

State = Literal["ok", "missing", "broken"]

OLDEST_PYTHON: Final = (3, 11)
_EXECUTOR_SECONDS: Final = 20.0
# What takes seconds to start is started when it is named (`harness.executor_check`): the executor, and its package.
_STARTED_WHEN_NAMED: Final = {"dask": "distributed", "ray": "ray"}
_GIB: Final = 1024**3
_REQUIREMENT: Final = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?P<rest>[^;]*)(?:;\s*(?P<marker>.*))?")
_EXTRA: Final = re.compile(r"""extra\s*==\s*['"](?P<extra>[^'"]+)['"]""")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. ``remedy`` says what to do where it is not ``ok``."""

    name: str
    state: State
    detail: str
    remedy: str = ""


def diagnose(config_path: str | None = None) -> Iterator[Check]:
    """Every check, as it is made."""
    yield _python()
    yield from _each("packages", _packages)
    yield from _each("cores", _cores)
    yield from _each("memory", _memory)
    yield from _each("folder for temporary files", _temporary_folder)
    yield from _each("loopback", _loopback)
    yield from _each("shipped files", _shipped_files)
    from executor.backends import backend_names  # noqa: PLC0415 - as the head says
    from harness.config import load_config  # noqa: PLC0415 - the same

    for name in backend_names():
        yield from _each(f"executor {name}", lambda name=name: [_executor(name)])  # type: ignore[misc]  # the default binds the name of this round
    yield from _each("extra documents", _documents)
    yield from _each("extra testing", _testing)
    try:
        config = load_config(config_path)
    except WorkflowError as error:
        yield Check("configuration", "broken", str(error), "correct it, or name another one with --config")
        return
    yield Check("configuration", "ok", f"executor {config.executor}, {config.workers or 'default'} workers")
    yield from _each("local model", lambda: [_local_model(config)])
    yield from _each("model endpoint", lambda: [_endpoint(config)])


def _each(name: str, checks: Callable[[], list[Check]]) -> Iterator[Check]:
    try:
        yield from checks()
    except Exception as error:  # noqa: BLE001 - whatever stops a check is what it was made to find
        yield Check(name, "broken", f"{type(error).__name__}: {error}")


def _python() -> Check:
    text = f"{platform.python_implementation()} {platform.python_version()} at {sys.executable}"
    if sys.version_info < OLDEST_PYTHON:
        return Check("python", "broken", text, f"install Python {'.'.join(map(str, OLDEST_PYTHON))} or newer")
    return Check("python", "ok", text)


def _packages() -> list[Check]:
    """Every package that makespan cannot do without."""
    try:
        requirements = distribution(DISTRIBUTION).requires or []
    except PackageNotFoundError:
        return [
            Check("packages", "missing", "makespan itself is not installed; this is a source tree", "pip install -e .")
        ]
    absent: list[str] = []
    found = 0
    for requirement in requirements:
        match = _REQUIREMENT.match(requirement)
        if match is None or _EXTRA.search(match["marker"] or ""):
            continue
        try:
            version(match["name"])
            found += 1
        except PackageNotFoundError:
            absent.append(match["name"] + match["rest"].strip())
    if absent:
        quoted = " ".join(f"'{name}'" for name in absent)
        return [Check("packages", "broken", f"not installed: {', '.join(absent)}", f"pip install {quoted}")]
    return [Check("packages", "ok", f"makespan {package_version()} with {found} packages that it needs")]


def _cores() -> list[Check]:
    limit = cpu_limit_cores()
    limited = "no CPU limit" if limit is None else f"CPU limit of {limit:g} cores"
    usable = usable_cores()
    detail = f"{os.cpu_count()} in the machine, {usable} usable, {limited}"
    remedy = "" if usable > 1 else "computing steps gain nothing from more workers here"
    return [Check("cores", "ok", detail, remedy)]


def _memory() -> list[Check]:
    whole, limit = memory_bytes(), memory_limit_bytes()
    machine = "unknown" if whole is None else f"{whole / _GIB:.1f} GiB in the machine"
    return [Check("memory", "ok", f"{machine}, {'no limit' if limit is None else f'limit of {limit / _GIB:.1f} GiB'}")]


def _temporary_folder() -> list[Check]:
    try:
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"makespan")
            file.flush()
    except OSError as error:
        return [Check("temporary files", "broken", str(error), "set TMPDIR to a writable folder with free space")]
    return [Check("temporary files", "ok", f"can be written in {tempfile.gettempdir()}")]


def _loopback() -> list[Check]:
    """The stand-in service listens there."""
    try:
        with socket.create_server(("127.0.0.1", 0)):
            pass
    except OSError as error:
        return [
            Check("loopback", "broken", f"cannot listen on 127.0.0.1: {error}", "allow it, or configure llm.base_url")
        ]
    return [Check("loopback", "ok", "can listen on 127.0.0.1, for the stand-in model service")]


def _shipped_files() -> list[Check]:
    scenarios = shipped_scenarios()
    if not scenarios or not default_config_path().is_file():
        return [
            Check(
                "shipped files", "broken", "scenarios or config.yaml are not in the package", "install makespan again"
            )
        ]
    return [Check("shipped files", "ok", f"{len(scenarios)} scenarios and the default configuration")]


def _executor(name: str) -> Check:
    """Run two steps on it."""
    from executor.backends import BackendError, find_backend  # noqa: PLC0415 - the same
    from executor.model.workflow import Step, Workflow  # noqa: PLC0415 - the same

    label = f"executor {name}"
    workflow = Workflow(
        workflow_id="doctor",
        steps=(Step(step_id="one", tool="noop"), Step(step_id="two", tool="noop", depends_on=("one",))),
    )
    package = _STARTED_WHEN_NAMED.get(name)
    if package is not None and importlib.util.find_spec(package) is not None:
        return Check(label, "ok", f"is installed; to see it run steps: makespan doctor --executor {name}")
    try:
        found = find_backend(name)
        done = _within(_EXECUTOR_SECONDS, lambda: run(workflow, backend=found(1)))
    except BackendError as error:
        absent = absent_package(error)
        if absent is not None:
            return Check(label, "missing", str(absent), "install it, or use another executor")
        return Check(label, "broken", str(error), "install what it names, or use another executor")
    if done is None:
        detail = f"two steps that do nothing had no end after {_EXECUTOR_SECONDS:g} s"
        return Check(label, "broken", detail, "use another executor, and report this")
    if not done.ok:
        errors = "; ".join(str(error) for error in done.errors.values())
        return Check(
            label, "broken", f"a step that does nothing failed: {errors}", "use another executor, and report this"
        )
    return Check(label, "ok", f"runs steps; up in {done.startup_seconds * 1000:.0f} ms")


def absent_package(error: BackendError) -> ImportError | None:
    """Why an executor cannot be imported, if nothing but a package that is not installed keeps it from that."""
    cause = error.__cause__
    if not isinstance(cause, ImportError) or cause.name is None:
        return None
    return cause if importlib.util.find_spec(cause.name.partition(".")[0]) is None else None


def _within(seconds: float, work: Callable[[], Run]) -> Run | None:
    """What ``work`` gives, or None if it takes longer; it goes on in a thread that ends with the command."""
    results: list[Run] = []
    errors: list[BaseException] = []

    def run_it() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - handed over to the caller below
            errors.append(error)

    thread = threading.Thread(target=run_it, name="makespan-doctor", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    return results[0] if results else None


def _documents() -> list[Check]:
    """The converters of `multi_format_export`."""
    install = "pip install 'makespan[documents]'"
    checks: list[Check] = []
    for label, module, distribution_name in (("pandoc", "pypandoc", "pypandoc-binary"), ("typst", "typst", "typst")):
        try:
            loaded = importlib.import_module(module)
        except ImportError as error:
            if isinstance(error, ModuleNotFoundError) and error.name == module:
                checks.append(Check(label, "missing", "not installed; multi_format_export needs it", install))
            else:
                checks.append(Check(label, "broken", f"cannot be imported: {error}", install))
            continue
        try:
            detail = _converter_version(label, loaded, distribution_name)
        except Exception as error:  # noqa: BLE001 - another package's code, asked whether it works
            checks.append(Check(label, "broken", f"does not work: {error}", install))
        else:
            checks.append(Check(label, "ok", detail))
    return checks


def _converter_version(label: str, module: object, distribution_name: str) -> str:
    if label == "pandoc":
        return f"pandoc {module.get_pandoc_version()}"  # type: ignore[attr-defined]  # pypandoc brings no types
    module.compile(b"makespan")  # type: ignore[attr-defined]  # typst brings no types
    return f"typst {version(distribution_name)} sets a page"


def _testing() -> list[Check]:
    try:
        return [Check("extra testing", "ok", f"hypothesis {version('hypothesis')}")]
    except PackageNotFoundError:
        detail = "hypothesis is not installed; property tests of schedulers need it"
        return [Check("extra testing", "missing", detail, "pip install 'makespan[testing]'")]


def _local_model(config: Config) -> Check:
    """Whether the program runs and the weights are there. Only users who ask for the local model need them."""
    from harness.config import LOCAL  # noqa: PLC0415 - the same
    from harness.local_llm.files import find_program, find_weights  # noqa: PLC0415 - the same
    from harness.local_llm.installing import tried  # noqa: PLC0415 - the same
    from harness.local_llm.local_llm_errors import LocalModelError  # noqa: PLC0415 - the same

    llm = config.llm
    is_asked_for = llm.base_url == LOCAL or llm.local.program is not None or llm.local.model is not None
    try:
        program, weights = find_program(llm.local.program), find_weights(llm.local.model)
    except LocalModelError as error:
        return Check("local model", "broken" if is_asked_for else "missing", str(error), error.fix)
    try:
        said = tried(program)
    except LocalModelError as error:
        return Check("local model", "broken", str(error), error.fix)
    return Check("local model", "ok", f"{program.name} ({said}) with {weights.name}")


def _endpoint(config: Config) -> Check:
    """Whether the model endpoint answers; without one the stand-in does."""
    from executor.tools.connections import safe_url  # noqa: PLC0415 - the same
    from harness.config import LOCAL  # noqa: PLC0415 - the same
    from harness.model_endpoint import (  # noqa: PLC0415 - the same
        NAME_IT,
        ModelEndpointError,
        listing_words,
        models_listed,
    )

    llm = config.llm
    if llm.base_url is None:
        detail = "none configured: the stand-in service answers, and says so"
        return Check(
            "model endpoint", "ok", detail, "for a real model set MAKESPAN_LLM__BASE_URL and MAKESPAN_LLM__MODEL"
        )
    if llm.base_url == LOCAL:
        return Check("model endpoint", "ok", "the local model, started for each run")
    try:
        names = models_listed(llm)
    except ModelEndpointError as error:
        return Check("model endpoint", "broken", str(error), error.fix)
    shown = safe_url(llm.base_url)
    if llm.model is None:
        if names is not None and len(names) == 1:
            return Check("model endpoint", "ok", f"{shown} answers; model {names[0]}, the only one that it lists")
        return Check("model endpoint", "broken", f"{shown} answers; no model is named, {listing_words(names)}", NAME_IT)
    if names is not None and llm.model not in names:
        detail = f"{shown} answers; it does not list model {llm.model}, {listing_words(names)}"
        return Check("model endpoint", "missing", detail, "check llm.model in the configuration")
    return Check("model endpoint", "ok", f"{shown} answers; model {llm.model}")
