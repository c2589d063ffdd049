"""Documents in WfCommons' WfFormat, 1.4 and 1.5, made from a random graph that is known."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Known:
    """What a document says: run times and cores of tasks, edges (parent, child), the cores of each machine."""

    seconds: dict[str, float]
    cores: dict[str, int]
    edges: set[tuple[str, str]]
    machines: dict[str, int]

    @property
    def critical_path_seconds(self) -> float:
        """The longest chain; tasks are numbered so that parents come first."""
        ends: dict[str, float] = {}
        for task in sorted(self.seconds):
            before = [ends[parent] for parent, child in self.edges if child == task]
            ends[task] = self.seconds[task] + max(before, default=0.0)
        return max(ends.values())


def known(seed: int, *, tasks: int = 12, several_cores: bool = False) -> Known:
    """A random graph. Times are whole milliseconds."""
    draw = random.Random(seed)
    names = [f"work_ID{number:05d}" for number in range(draw.randrange(1, tasks + 1))]
    edges = {
        (parent, child)
        for place, child in enumerate(names)
        for parent in draw.sample(names[:place], min(place, draw.randrange(4)))
    }
    machines = {f"worker-{number}": draw.choice((4, 8, 48)) for number in range(draw.randrange(1, 4))}
    return Known(
        {name: draw.randrange(0, 5000) / 1000 for name in names},
        {name: draw.randrange(1, 5) if several_cores else 1 for name in names},
        edges,
        machines,
    )


def document_1_4(truth: Known, seed: int = 0) -> dict[str, Any]:
    """Version 1.4: tasks are called by their names, or by ids; the document may list them in any order."""
    draw = random.Random(seed)
    by_id = draw.random() < 0.5
    tasks = [
        {
            "name": name,
            "id": name.removeprefix("work_"),
            "type": "compute",
            "parents": [
                parent.removeprefix("work_") if by_id else parent
                for parent in sorted(truth.seconds)
                if (parent, name) in truth.edges
            ],
            "files": [{"name": f"{name}.out", "sizeInBytes": 10, "link": "output"}],
            "runtimeInSeconds": truth.seconds[name],
            "cores": truth.cores[name],
            "machine": draw.choice(sorted(truth.machines)),
        }
        for name in truth.seconds
    ]
    draw.shuffle(tasks)
    machines = [
        {"nodeName": name, "system": "linux", "cpu": {"count": cores}} for name, cores in truth.machines.items()
    ]
    return {
        "name": "made",
        "schemaVersion": "1.4",
        "wms": {"name": "made", "version": "1"},
        "workflow": {
            "makespanInSeconds": 1, "executedAt": "20240101T000000+00:00", "machines": machines, "tasks": tasks,
        },
    }  # fmt: skip


def document_1_5(truth: Known, seed: int = 0) -> dict[str, Any]:
    """Version 1.5. Each edge is in the parents of one side, in the children of the other, or in both."""
    draw = random.Random(seed)
    written = {edge: draw.choice(("parents", "children", "both")) for edge in sorted(truth.edges)}
    specification = [
        {
            "name": "work",
            "id": name,
            "parents": [parent for (parent, child), how in written.items() if child == name and how != "children"],
            "children": [child for (parent, child), how in written.items() if parent == name and how != "parents"],
            "inputFiles": [],
            "outputFiles": [f"{name}.out"],
        }
        for name in truth.seconds
    ]
    execution = [
        {
            "id": name,
            "runtimeInSeconds": truth.seconds[name],
            **({"coreCount": truth.cores[name]} if truth.cores[name] > 1 else {}),
            "machines": [draw.choice(sorted(truth.machines))],
        }
        for name in truth.seconds
    ]
    draw.shuffle(specification)
    draw.shuffle(execution)
    return {
        "name": "made",
        "schemaVersion": "1.5",
        "workflow": {
            "specification": {
                "tasks": specification,
                "files": [{"id": f"{name}.out", "sizeInBytes": 10} for name in truth.seconds],
            },
            "execution": {
                "makespanInSeconds": 1,
                "executedAt": "2024-01-01T00:00:00Z",
                "tasks": execution,
                "machines": [{"nodeName": name, "cpu": {"coreCount": cores}} for name, cores in truth.machines.items()],
            },
        },
    }
