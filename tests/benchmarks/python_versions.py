"""What a step costs on one Python, relative to another: ``python -m tests.benchmarks.python_versions PYTHON PYTHON …``.

Each PYTHON is a command that starts an interpreter in which makespan is installed, the first being what the others are
compared with; ``"chroot folder /path/to/python"`` is one as well. They run in turns, each measurement in a process of
its own. CPU seconds are measured, not those of the wall, so that a machine that does something else matters little.
"""

from __future__ import annotations

import json
import shlex
import statistics
import subprocess
import sys

REPETITIONS = 15
SCRIPT = """
import gc, json, sys, time
from executor import Step, Workflow, run
layers, width = 10, 100
steps = tuple(
    Step(step_id=f"s{layer}-{number}", tool="noop",
         depends_on=tuple(f"s{layer - 1}-{(number + k) % width}" for k in range(2)) if layer else ())
    for layer in range(layers) for number in range(width)
)
workflow, found = Workflow(steps=steps), {}
for backend in ("threads", "asyncio", "virtual"):
    costs = []
    for _ in range(4):
        gc.collect()
        began = time.process_time()
        run(workflow, backend=backend, workers=4)
        costs.append((time.process_time() - began) / len(steps) * 1e6)
    found[backend] = min(costs)
print(json.dumps([sys.version.split()[0], found]))
"""


def measured(command: str) -> tuple[str, dict[str, float]]:
    """The version, and CPU µs a step for each executor, in one fresh process."""
    done = subprocess.run([*shlex.split(command), "-c", SCRIPT], check=True, capture_output=True, text=True)
    version, found = json.loads(done.stdout.splitlines()[-1])
    return version, found


def main() -> None:
    commands = sys.argv[1:]
    rounds = [[measured(command) for command in commands] for _ in range(REPETITIONS)]
    for place in range(len(commands)):
        version = rounds[0][place][0]
        for name in rounds[0][place][1]:
            own = [one[place][1][name] for one in rounds]
            ratios = [one[place][1][name] / one[0][1][name] for one in rounds]
            low, middle, high = statistics.quantiles(ratios, n=4)
            print(f"| {version}, {name} | {statistics.median(own):.1f} | {middle:.2f} | {low:.2f} – {high:.2f} |")


if __name__ == "__main__":
    main()
