"""From a project file to a scenario.

Rules of this module:
- The name says the format: ``.sm`` is PSPLIB's, ``.rcp`` is Patterson's.
- An activity is a step that sleeps; one unit of time is one second. A renewable resource is a resource with that
  capacity, and nothing else limits how many activities go on at once: there are as many workers as activities.
- The activities without duration that begin and end a project are steps like the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from executor.model.findings import WorkflowError
from harness.files.strict_file import Document, read_text
from harness.files.tree_builder import Place
from harness.plain_text import counted
from harness.scenario.imported_form import ImportedForm
from harness.scenario.projects.patterson_file import parse_patterson
from harness.scenario.projects.project import Faults, Project
from harness.scenario.projects.psplib_file import parse_psplib

_PARSERS: Final = {".sm": parse_psplib, ".rcp": parse_patterson}


def is_project_file(path: str | Path) -> bool:
    """Whether the name is that of a project file."""
    return Path(path).suffix.lower() in _PARSERS


@dataclass(slots=True)
class ProjectDocument(Document):
    """A project file as a document whose data is the scenario already. ``workers``: one for each activity."""

    workers: int = 1

    @property
    def form(self) -> ImportedForm:
        """What the file became."""
        return ImportedForm(dict(self.data), workers=self.workers)


def read_project(path: str | Path) -> ProjectDocument:
    """The document of a project file.

    Raises:
        WorkflowError: it cannot be read, or is no such project.

    """
    source = str(path)
    text = read_text(path)
    faults = Faults(source)
    project = _PARSERS[Path(path).suffix.lower()](text, faults)
    data = _data_of(project, Path(path).stem, faults)
    if faults.found:
        raise WorkflowError(faults.found)
    places: list[Place] = [Place(activity.line) for activity in project.activities]
    root = Place(1, {"steps": Place(1, places)})
    return ProjectDocument(data, source, "yaml", text, root, workers=len(project.activities))


def _data_of(project: Project, name: str, faults: Faults) -> dict[str, Any]:
    names = [f"R{place}" for place in range(1, len(project.capacities) + 1)]
    known = {activity.number for activity in project.activities}
    if not known:
        faults.add("no-activities", "there is no activity", "is the file complete?", 1)
    before: dict[int, list[str]] = {number: [] for number in known}
    for activity in project.activities:
        for successor in dict.fromkeys(activity.successors):
            if successor in known:
                before[successor].append(str(activity.number))
            else:
                message = f"the activity {activity.number} has the successor {successor}, which is not there"
                faults.add("unknown-successor", message, "name an activity of this file", activity.line)
    steps = []
    for activity in project.activities:
        step: dict[str, Any] = {
            "step_id": str(activity.number), "tool": "sleep", "expected_seconds": float(activity.duration)
        }  # fmt: skip
        if before[activity.number]:
            step["depends_on"] = before[activity.number]
        if len(activity.needs) != len(names):
            message = f"the activity {activity.number} has {counted(len(activity.needs), 'need')}"
            fix = f"give a number for each of {counted(len(names), 'resource')}"
            faults.add("wrong-count", message, fix, activity.line)
            continue
        needs = {name: units for name, units in zip(names, activity.needs, strict=True) if units}
        for place, capacity in enumerate(project.capacities):
            if activity.needs[place] > capacity:
                message = f"the activity {activity.number} needs {activity.needs[place]} of R{place + 1}"
                faults.add("too-little", f"{message}, which has {capacity}", "correct one of them", activity.line)
        if needs:
            step["needs"] = needs
        steps.append(step)
    capacities = zip(names, project.capacities, strict=True)
    resources = {name: {"capacity": capacity} for name, capacity in capacities if capacity}
    return {"scenario": name, "resources": resources, "steps": steps}
