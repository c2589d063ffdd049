"""Rounds over all peers, and the medians of their figures.

Rules of this module:
- A round starts each peer in a process of its own, one after another, in an order that turns from round to round.
- A peer that is very slow is in the first round alone. Another round begins only where the time allows it.
- The import of a peer is measured in a process that does nothing else, as CPU time.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tests.benchmarks.peers.adapters import adapter
from tests.benchmarks.peers.process_tree import end, tree

ROUNDS = 3
MOST_SECONDS = 540.0
# Of one peer in one round; what it measured until then counts.
PEER_SECONDS = 180.0
SLOW_PEER_SECONDS = 45.0
ROOT = Path(__file__).parents[3]
_IMPORT = "import time; b = time.process_time(); import {}; print(time.process_time() - b)"


def compared(names: Sequence[str], *, quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """The figures of all peers, as data."""
    began = time.monotonic()
    loads = [os.getloadavg()[0]]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    slow: set[str] = set()
    for number in range(1 if quick else ROUNDS):
        round_began = time.monotonic()
        for name in [*names[number:], *names[:number]]:
            if name in slow:
                continue
            peer_began = time.monotonic()
            one = _one(name, quick)
            found[name].append(one)
            taken = time.monotonic() - peer_began
            if taken > SLOW_PEER_SECONDS or "failure" in one:
                slow.add(name)
            say(f"round {number + 1}: {adapter(name).TITLE}: {one.get('failure', 'measured')} ({taken:.0f} s)")
            loads.append(os.getloadavg()[0])
        now = time.monotonic()
        if now - began + (now - round_began) > MOST_SECONDS:
            break
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": [round(min(loads), 1), round(max(loads), 1)],
        "quick": quick,
        "peers": [_merged(name, found[name]) for name in names],
    }


def _one(name: str, quick: bool) -> dict[str, Any]:
    """A round of one peer. Its folder goes with it, and so does what it left running."""
    with tempfile.TemporaryDirectory(prefix="peers-", ignore_cleanup_errors=True) as folder:
        found = Path(folder, "found.json")
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        settings = {**os.environ, "PATH": path, "TMPDIR": folder, "HOME": folder, "PYTHONPATH": str(ROOT)}
        command = (
            sys.executable,
            "-m",
            "tests.benchmarks.peers.one_peer",
            name,
            str(found),
            "quick" if quick else "whole",
        )
        imported = _import_cpu_seconds(adapter(name).IMPORTS, settings)
        with Path(folder, "said.txt").open("wb") as said:
            process = subprocess.Popen(
                command, cwd=ROOT, env=settings, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                start_new_session=True,
            )  # fmt: skip
            below: set[int] = set()
            late = time.monotonic() + PEER_SECONDS
            while process.poll() is None and time.monotonic() < late:
                below |= tree(process.pid).keys()
                time.sleep(0.5)
            ended = process.poll() is not None
            # Numbers are given anew: of those that were seen, only what is in its session or still below it.
            end([one for one in below | tree(process.pid).keys() if one == process.pid or _is_left(one, process.pid)])
            process.wait()
        measured = json.loads(found.read_text(encoding="utf-8")) if found.exists() else {}
        if imported is not None:
            measured["import_cpu_seconds"] = imported
        if not ended and "costs" not in measured:
            measured["failure"] = f"did not end within {PEER_SECONDS:.0f} s"
        elif process.returncode and "costs" not in measured and "failure" not in measured:
            measured["failure"] = f"ended with status {process.returncode}"
        return measured


def _is_left(process: int, session: int) -> bool:
    """Whether it is of that session, or runs with its settings."""
    try:
        return os.getsid(process) == session or b"peers-" in Path(f"/proc/{process}/environ").read_bytes()
    except OSError:  # it has ended
        return False


def _import_cpu_seconds(modules: Sequence[str], settings: dict[str, str]) -> float | None:
    command = (sys.executable, "-c", _IMPORT.format(", ".join(modules)))
    # The first one may have to compile.
    for _ in range(2):
        done = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, check=False)
    return float(done.stdout) if done.returncode == 0 else None


def _merged(name: str, rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The medians over the rounds."""
    peer = adapter(name)
    head = {"name": name, "title": peer.TITLE, "versions": _versions(peer.PACKAGES), "reports": peer.REPORTS}
    whole = [one for one in rounds if "failure" not in one]
    if not whole:
        return {**head, "failure": rounds[-1]["failure"]}
    costs = {
        graph: {
            # Rounds may differ in how large a graph ended in time.
            "steps": max(one["costs"][graph]["steps"] for one in whole),
            "seconds": _median([one["costs"][graph]["seconds"] for one in whole]),
            "cpu_seconds": _median([one["costs"][graph]["cpu_seconds"] for one in whole]),
            "run_seconds": _median([one["costs"][graph]["run_seconds"] for one in whole]),
        }
        for graph in set.intersection(*(set(one["costs"]) for one in whole))
    }
    single = {
        figure: _median([one[figure] for one in whole if one.get(figure) is not None])
        for figure in ("import_cpu_seconds", "metg_seconds", "over_bound_ratio")
    }
    return {**head, "rounds": len(whole), "costs": costs, **single}


def _median(values: Sequence[float]) -> float | None:
    # Three digits are more than such a machine knows.
    return float(f"{statistics.median(values):.3g}") if values else None


def _versions(packages: Sequence[str]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
