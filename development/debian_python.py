"""``make test-python PYTHON_SUITE=trixie``: the demo and the quick tests on the Python of another Debian.

``debootstrap`` lays that Debian into ``.debian-python/SUITE`` once; the working tree is cloned into it, and runs there
as ``nobody``. What pip fetched is kept for the next time.

Rules: processes and mounts are in namespaces of their own, so none is left when it ends. Nothing outside that folder
is written. Root is needed, since a change of root is.
"""

from __future__ import annotations

import argparse
import os
import pwd
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from development.bare_machine import NETWORK, give
from development.working_tree import clone

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[1]
SUITES = ROOT / ".debian-python"
PACKAGES = ("python3", "python3-venv", "make", "git", "ca-certificates")
TARGETS = ("demo", "test-quick")
PROGRAMS_NEEDED = {"debootstrap": "debootstrap", "unshare": "util-linux", "mount": "mount", "chroot": "coreutils"}
# Inside of the other Debian.
HOME = "srv/makespan"
# What runs there: proc and dev as programs expect them, gone with the namespace. The shell stays its first process,
# which inherits what others leave behind: it takes their ends, where make would turn in a circle over them.
_INSIDE = """
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
status=0
chroot --userspec=nobody:nogroup "$1" /usr/bin/env -i "${@:2}" || status=$?
exit "$status"
"""


class CannotRunError(Exception):
    """Says in one line what is missing, and what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="make test-python", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("suite", help="a release of Debian: trixie, sid")
    parser.add_argument("--targets", default=" ".join(TARGETS), help="what make is asked for (default: %(default)s)")
    given = parser.parse_args(arguments)
    # A shell starts what it puts into the background with this signal ignored, and tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        folder = debian(given.suite)
        print(f"Testing {refresh(folder)} on {version(folder)} of Debian {given.suite}:", flush=True)
        return run_inside(folder, ["make", "-C", f"/{HOME}/makespan", *shlex.split(given.targets)])
    except CannotRunError as error:
        print(f"test-python: {error}", file=sys.stderr)
        return 1


def check(suite: str) -> None:
    """That it can run here at all.

    Raises:
        CannotRunError: it cannot.
    """
    if not re.fullmatch(r"[a-z]+", suite):
        raise CannotRunError(
            f"{suite!r} is no release of Debian: name one, as in `make test-python PYTHON_SUITE=trixie`."
        )
    if os.geteuid() != 0:
        raise CannotRunError("only root may change the root folder: run it as root, as in `sudo make test-python …`.")
    missing = [package for program, package in PROGRAMS_NEEDED.items() if shutil.which(program) is None]
    if missing:
        raise CannotRunError(
            f"{missing[0]} is not on this machine. Debian, Ubuntu: apt-get install {' '.join(missing)}."
        )


def debian(suite: str) -> Path:
    """The folder with that Debian; made if it is not there.

    Raises:
        CannotRunError: it cannot be made.
    """
    check(suite)
    folder, made = SUITES / suite, SUITES / f"{suite}.made"
    if made.exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    print(f"Laying Debian {suite} into {folder.relative_to(ROOT)} (once; some minutes, about 450 MB) …", flush=True)
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", suite, str(folder)]
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        last = ([*done.stdout.splitlines(), *done.stderr.splitlines()] or ["it said nothing"])[-1]
        raise CannotRunError(f"debootstrap cannot lay Debian {suite}: {last}. See that its archive can be reached.")
    made.touch()
    return folder


def refresh(folder: Path) -> str:
    """Put the working tree, and how this machine reaches the network, into that Debian; say in words what was taken."""
    home = folder / HOME
    home.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(home / "makespan", ignore_errors=True)
    taken = clone(ROOT, home / "makespan")
    nobody = pwd.getpwnam("nobody")
    give(home, nobody.pw_uid, nobody.pw_gid)
    files = ["/etc/resolv.conf", "/etc/hosts", *(os.environ.get(name, "") for name in NETWORK)]
    for one in files:
        if Path(one).is_file():
            target = folder / one.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            shutil.copyfile(one, target)
    return taken


def version(folder: Path) -> str:
    """``Python 3.13.5``."""
    command = ["chroot", str(folder), "/usr/bin/python3", "--version"]
    return subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout.strip()


def run_inside(folder: Path, command: Sequence[str]) -> int:
    """Run a command in that Debian as ``nobody``, and return its status. None of its processes is left."""
    kept = {name: os.environ[name] for name in (*NETWORK, "HTTPS_PROXY", "https_proxy", "CI") if name in os.environ}
    seen = {**kept, "PATH": "/usr/bin:/bin", "HOME": f"/{HOME}", "LANG": "C.UTF-8"}
    inside = [
        "unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-euc", _INSIDE, "bash",
        str(folder), *(f"{name}={value}" for name, value in seen.items()), *command,
    ]  # fmt: skip
    return subprocess.run(inside, check=False, stdin=subprocess.DEVNULL).returncode


if __name__ == "__main__":
    sys.exit(main())
