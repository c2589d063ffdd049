"""``python -m development.soak``: soak, say what it held, and fail where something grew, was left or hung."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from development.soak.footprint import growth
from development.soak.soaks import Soaked, many_runs, many_steps, slow_service
from development.soak.watchdog import Watchdog

_HEAD = ("soak", "steps", "attempts", "failed", "seconds", "memory", "threads, descriptors, children")
# With fewer, what is kept once (modules, caches) is more than what grows.
_STEPS_TO_JUDGE_MEMORY = 100_000


def main() -> int:
    """Parse, soak, report."""
    parser = argparse.ArgumentParser(prog="python -m development.soak", description=__doc__)
    parser.add_argument("--steps", type=int, default=1_000_000, help="on each executor")
    parser.add_argument("--runs", type=int, default=10_000, help="of twenty steps, in one process")
    parser.add_argument("--hours", type=float, default=24, help="of a slow service, simulated")
    parser.add_argument("--executors", default="threads,asyncio,processes")
    parser.add_argument("--patience", type=float, default=300, help="seconds without an attempt that are a hang")
    parser.add_argument("--folder", type=Path, default=Path("out/soak"), help="where a hang is saved")
    arguments = parser.parse_args()
    print(f"| {' | '.join(_HEAD)} |\n|{'---|' * len(_HEAD)}")
    faults = []
    with Watchdog(arguments.folder, arguments.patience) as watchdog:
        for soak in _soaks(arguments, watchdog):
            soaked = soak()
            print(_row(soaked), flush=True)
            found = soaked.faults + growth(soaked.tenths, judge_memory=soaked.steps >= _STEPS_TO_JUDGE_MEMORY)
            faults += [f"{soaked.name}: {fault}" for fault in found]
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


def _soaks(arguments: argparse.Namespace, watchdog: Watchdog) -> Iterator[Callable[[], Soaked]]:
    for executor in filter(None, arguments.executors.split(",")):
        yield partial(many_steps, executor, arguments.steps, watchdog)
    if arguments.runs:
        yield partial(many_runs, arguments.runs, watchdog)
    if arguments.hours:
        yield partial(slow_service, arguments.hours, watchdog)


def _row(soaked: Soaked) -> str:
    first, last = soaked.tenths[0], soaked.tenths[-1]
    most = max(one.memory_bytes for one in soaked.tenths)
    memory = f"{first.memory_bytes / 1e6:.0f} MB, at most {most / first.memory_bytes:.2f} × that"
    held = f"{last.threads}, {last.descriptors}, {last.children}"
    counts = (f"{soaked.steps:,}", f"{soaked.attempts:,}", f"{soaked.failures:,}", f"{soaked.seconds:.0f}")
    return f"| {' | '.join((soaked.name, *counts, memory, held))} |"


if __name__ == "__main__":
    sys.exit(main())
