"""``make test-bare``: what a new user sees who clones the project onto a machine that has nothing.

The working tree (the last commit and every change over it) is cloned into an empty folder, for a user with an empty
home: ``nobody`` where root runs this. The PATH has the programs of :data:`PROGRAMS` alone, so no compiler; of this
process's environment only what says how to reach the network is kept. So no cache helps, and nothing can be compiled.
Then it runs ``make demo``, the same once more, ``make environment`` and ``make test-quick``. For each it prints the
seconds, the megabytes fetched and the packages. A proxy, through which all traffic goes, counts the megabytes.

Rules: it fails when a command fails, or fetches more than the README says; seconds are printed, never judged.
"""

from __future__ import annotations

import argparse
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from development.counting_proxy import CountingProxy
from development.working_tree import clone

__all__ = ["NETWORK", "PROGRAMS", "BareMachine", "Measured", "give", "main"]

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("python3", "python3.11", "python3.12", "python3.13", "python3.14")
# What the smallest Debian has, and what README says is needed: make and Python; git cloned the project.
PROGRAMS = (
    *("bash", "sh", "make", "git", "awk", "sed", "grep", "find", "xargs", "flock", "ps", "kill", "tar", "gzip"),
    *("[", "basename", "cat", "chmod", "cksum", "cp", "cut", "date", "df", "dirname", "du", "echo", "env", "expr"),
    *("false", "head", "id", "install", "ln", "ls", "mkdir", "mktemp", "mv", "nproc", "paste", "printf", "pwd"),
    *("readlink", "realpath", "rm", "rmdir", "seq", "sleep", "sort", "stat", "tail", "tee", "test", "timeout", "touch"),
    *("tr", "true", "uname", "uniq", "wc", "which", "yes"),
)
# How this machine reaches package indexes. Where wheels may lie on its disk is left out: nothing must be there yet.
NETWORK = (
    *("PIP_CERT", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT", "PIP_RETRIES"),
    *("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_NATIVE_TLS", "UV_HTTP_TIMEOUT"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)
DEMO_MEGABYTES_AT_MOST = 120.0
DEMO_ENDS_WITH = "Summary of joke_translations"
_COUNT_PACKAGES = "import importlib.metadata as m; print(len({d.name for d in m.distributions()}))"


@dataclass(frozen=True)
class Measured:
    """What one command cost. ``megabytes`` are millions of bytes; ``packages`` is how many are installed after it."""

    command: str
    seconds: float
    megabytes: float
    packages: int


class BareMachine:
    """An empty home with a clone in it, a PATH without compilers, and a user to whom both belong."""

    def __init__(self, folder: Path, programs: Sequence[str] = PROGRAMS, pythons: Sequence[str] = PYTHONS):
        self.checkout = folder / "makespan"
        self._home, self._temporary, self._path = folder / "home", folder / "tmp", folder / "programs"
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        folder.chmod(0o755)
        for one in (self._home, self._temporary, self._path):
            one.mkdir()
        for name in programs:
            found = shutil.which(name)
            if found is not None:
                (self._path / name).symlink_to(found)
        for name in pythons:
            self._add_python(name)

    def _add_python(self, name: str) -> None:
        """A script that starts it: through a link an interpreter would not find its own modules."""
        usual = os.pathsep.join(("/usr/local/bin", "/usr/bin", "/bin"))
        found = shutil.which(name, path=usual) or shutil.which(name)
        if found is not None:
            script = self._path / name
            script.write_text(f'#!/bin/sh\nexec "{found}" "$@"\n', encoding="utf-8")
            script.chmod(0o755)

    def take(self, source: Path) -> str:
        """Clone the working tree, and say in words what was taken."""
        taken = clone(source, self.checkout)
        if self._user is not None:
            for one in (self.checkout, self._home, self._temporary):
                give(one, self._user.pw_uid, self._user.pw_gid)
        return taken

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Everything that a command sees of the machine."""
        kept = {name: os.environ[name] for name in NETWORK if name in os.environ}
        return {
            **kept,
            "PATH": str(self._path),
            "HOME": str(self._home),
            "TMPDIR": str(self._temporary),
            "LANG": "C.UTF-8",
            **(more or {}),
        }

    def run(self, command: Sequence[str], more: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Run a command in the checkout, show what it prints, and return its status and that. Nothing of it is left."""
        user = None if self._user is None else self._user.pw_uid
        group = None if self._user is None else self._user.pw_gid
        printed: list[str] = []
        with subprocess.Popen(
            list(command), cwd=self.checkout, env=self.environment(more), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
            user=user, group=group, extra_groups=None if user is None else [],
        ) as process:  # fmt: skip
            try:
                for line in process.stdout or ():
                    printed.append(line)
                    print(line, end="", flush=True)
                return process.wait(), "".join(printed)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def measure(self, *command: str, ends_with: str = "", more: Mapping[str, str] | None = None) -> Measured:
        """Run a command that fetches what it needs, and say what that cost.

        Raises:
            RuntimeError: the command failed, or did not print ``ends_with``.
        """
        with CountingProxy() as proxy:
            began = time.monotonic()
            status, printed = self.run(command, {"HTTPS_PROXY": proxy.url, "https_proxy": proxy.url, **(more or {})})
            seconds = time.monotonic() - began
        words = " ".join(command)
        if status != 0:
            raise RuntimeError(f"`{words}` ended with status {status}")
        if ends_with not in printed:
            raise RuntimeError(f"`{words}` did not print {ends_with!r}")
        return Measured(words, seconds, proxy.fetched_bytes / 1e6, self._packages())

    def _packages(self) -> int:
        python = self.checkout / ".venv" / "bin" / "python"
        done = subprocess.run(
            [python, "-I", "-c", _COUNT_PACKAGES], check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        return int(done.stdout)


def table(rows: Sequence[Measured]) -> str:
    """The figures as lines, widths fitted."""
    words = [("command", "seconds", "MB fetched", "packages")]
    words += [(one.command, f"{one.seconds:.1f}", f"{one.megabytes:.1f}", str(one.packages)) for one in rows]
    widths = [max(len(row[column]) for row in words) for column in range(4)]
    return "\n".join("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in words)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="make test-bare", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--demo-only", action="store_true", help="leave out the tests")
    parser.add_argument("--keep", action="store_true", help="keep the folder, and say where it is")
    given = parser.parse_args(arguments)
    # A shell starts what it puts into the background with this signal ignored, and tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="makespan-bare-"))
    rows: list[Measured] = []
    try:
        machine = BareMachine(folder)
        print(f"A bare machine with {machine.take(ROOT)}:", flush=True)
        rows.append(machine.measure("make", "demo", ends_with=DEMO_ENDS_WITH))
        rows.append(machine.measure("make", "demo", ends_with=DEMO_ENDS_WITH))
        if not given.demo_only:
            rows.append(machine.measure("make", "environment"))
            rows.append(machine.measure("make", "test-quick", more={"CI": "1"}))
    except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
        print(f"test-bare: {error}", file=sys.stderr)
        return 1
    finally:
        if rows:
            print(table(rows), flush=True)
        if given.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    if rows[0].megabytes > DEMO_MEGABYTES_AT_MOST:
        print(
            f"test-bare: make demo fetched {rows[0].megabytes:.0f} MB, more than {DEMO_MEGABYTES_AT_MOST:.0f}",
            file=sys.stderr,
        )
        return 1
    return 0


def give(folder: Path, user: int, group: int) -> None:
    """Make a folder and all in it someone's."""
    os.chown(folder, user, group)
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(place, name), user, group, follow_symlinks=False)


if __name__ == "__main__":
    sys.exit(main())
