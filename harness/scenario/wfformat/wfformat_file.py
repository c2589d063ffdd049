"""From a WfFormat document to a scenario: recorded durations, dependencies, and the machines with their cores.

Rules of this module:
- A step is a task: it sleeps as long as the recorded run time, and needs the recorded number of cores.
- Dependencies are what tasks say in ``parents`` and in ``children``; one that is on one side alone counts.
- The cores of all recorded machines are one pool: which machine a task was put on is that run's choice. Where a task
  needs several cores they are the resource ``cores``; where none does, the number of workers says the same.
- A task without a recorded run time takes no time, and a warning says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from executor.model.findings import Path
from harness.plain_text import counted
from harness.scenario.imported_form import ImportedForm
from harness.scenario.wfformat.wfformat_fields import Fields

VERSIONS: Final = ("1.4", "1.5")
CORES: Final = "cores"
_TOOL: Final = "sleep"
_VERSION_FIELD: Final = "schemaVersion"


@dataclass(slots=True)
class _Task:
    """One task. ``before`` and ``after``: the tasks named as parents and children, with the places of the names."""

    step_id: str
    path: Path
    parents_path: Path
    before: list[tuple[Path, str]]
    after: list[tuple[Path, str]]
    seconds: float | None = None
    cores: int = 1
    depends_on: dict[str, None] = field(default_factory=dict)


def is_wfformat(data: Mapping[str, Any]) -> bool:
    """Whether it is a document of WfFormat, of whatever version."""
    workflow = data.get("workflow")
    if not isinstance(workflow, Mapping) or "steps" in data:
        return False
    return _VERSION_FIELD in data or any(name in workflow for name in ("specification", "tasks", "jobs"))


def import_wfformat(data: Mapping[str, Any]) -> ImportedForm:
    """Turn such a document into native data. Raises nothing: faults are among the findings."""
    form = ImportedForm({})
    top = Fields(data, (), form, "the document")
    name = top.text("name", required=True)
    if name is not None:
        form.data["scenario"] = name
    description = top.text("description")
    if description is not None:
        form.data["description"] = description
    version = _version(top, form)
    workflow = top.object("workflow", required=True)
    if version is None or workflow is None:
        return form
    if version == "1.4":
        tasks, machines = _tasks_of_1_4(workflow, form), _machines(workflow, "count", form)
    else:
        execution = workflow.object("execution")
        machines = {} if execution is None else _machines(execution, "coreCount", form)
        tasks = _tasks_of_1_5(workflow, execution, machines, form)
    _join(tasks, form)
    _write(tasks, machines, form)
    return form


def _version(top: Fields, form: ImportedForm) -> str | None:
    version = top.text(_VERSION_FIELD, required=True)
    if version is None or version in VERSIONS:
        return version
    form.fault(
        "unknown-version",
        f"this is WfFormat {version}, and versions {' and '.join(VERSIONS)} are read",
        "migrate it to 1.5 with WfCommons' wfcommons-migrate-instance.py",
        (_VERSION_FIELD,),
    )
    return None


def _machines(holder: Fields, cores: str, form: ImportedForm) -> dict[str, int | None]:
    """The number of cores of each machine by its name; None where it is not said."""
    found: dict[str, int | None] = {}
    for machine in holder.objects("machines", "a machine"):
        name = machine.text("nodeName", required=True)
        processor = machine.object("cpu")
        if name is None:
            continue
        if name in found:
            form.fault("duplicate-machine", f"the machine {name!r} is there twice", "keep one of them", machine.path)
        found[name] = None if processor is None else processor.count(cores)
    return found


def _tasks_of_1_4(workflow: Fields, form: ImportedForm) -> list[_Task]:
    """Tasks are named by their names, where these are unique, and by their ids."""
    listed = [each for each in _listed(workflow.data.get("machines")) if isinstance(each, Mapping)]
    machines = {name for each in listed if isinstance(name := each.get("nodeName"), str)}
    entries = list(workflow.objects("tasks", "a task", required=True))
    named = [(entry, entry.text("name", required=True), entry.text("id")) for entry in entries]
    often: dict[str, int] = {}
    for _, name, _ in named:
        often[name or ""] = often.get(name or "", 0) + 1
    tasks, known = [], _Known(form)
    for entry, name, task_id in named:
        if name is None:
            continue
        step_id = name if often[name] == 1 or task_id is None else task_id
        if not known.add(step_id, entry.path, *(word for word in (name, task_id) if word is not None)):
            continue
        task = _Task(step_id, entry.path, (*entry.path, "parents"), _said(entry, "parents"), _said(entry, "children"))
        task.seconds = entry.seconds("runtimeInSeconds")
        task.cores = entry.count("cores") or 1
        machine = entry.text("machine")
        if machine is not None and machine not in machines:
            _unknown_machine(machine, machines, (*entry.path, "machine"), form)
        tasks.append(task)
    known.resolve(tasks)
    return tasks


def _tasks_of_1_5(
    workflow: Fields, execution: Fields | None, machines: Mapping[str, int | None], form: ImportedForm
) -> list[_Task]:
    """Tasks are named by their ids; how long they ran is apart, in ``execution``."""
    specification = workflow.object("specification", required=True)
    tasks, known = [], _Known(form)
    for entry in () if specification is None else specification.objects("tasks", "a task", required=True):
        entry.text("name", required=True)
        step_id = entry.text("id", required=True)
        if step_id is None or not known.add(step_id, entry.path, step_id):
            continue
        before, after = _said(entry, "parents", required=True), _said(entry, "children", required=True)
        tasks.append(_Task(step_id, entry.path, (*entry.path, "parents"), before, after))
    known.resolve(tasks)
    if execution is not None:
        _read_execution(execution, {task.step_id: task for task in tasks}, machines, form)
    return tasks


def _read_execution(
    execution: Fields, tasks: Mapping[str, _Task], machines: Mapping[str, int | None], form: ImportedForm
) -> None:
    seen: set[str] = set()
    for entry in execution.objects("tasks", "a task of `execution`", required=True):
        task_id = entry.text("id", required=True)
        seconds = entry.seconds("runtimeInSeconds", required=True)
        cores = entry.count("coreCount")
        for place, machine in entry.names("machines"):
            if machine not in machines:
                _unknown_machine(machine, machines, (*entry.path, "machines", place), form)
        if task_id is None:
            continue
        task = tasks.get(task_id)
        if task is None:
            fix = form.near(task_id, tasks, "name a task of `specification`")
            form.fault("unknown-task", f"`execution` has the task {task_id!r}, and `specification` has not", fix,
                       (*entry.path, "id"))  # fmt: skip
        elif task_id in seen:
            form.fault("duplicate-task", f"the task {task_id!r} was executed twice", "keep one of them", entry.path)
        else:
            seen.add(task_id)
            task.seconds, task.cores = seconds, cores or 1


class _Known:
    """Which task a name means."""

    def __init__(self, form: ImportedForm) -> None:
        self._form = form
        self._steps: dict[str, None] = {}
        self._meant: dict[str, str | None] = {}

    def add(self, step_id: str, path: Path, *names: str) -> bool:
        """Take up a task; False where another one has its id. ``names``: what others may call it."""
        if step_id in self._steps:
            self._form.fault(
                "duplicate-task", f"the task {step_id!r} is there twice", "give each an id of its own", path
            )
            return False
        self._steps[step_id] = None
        for name in dict.fromkeys(names):
            self._meant[name] = None if name in self._meant else step_id
        # What a step is called by itself is never in doubt.
        self._meant[step_id] = step_id
        return True

    def resolve(self, tasks: list[_Task]) -> None:
        """Replace the names of parents and children by ids of steps; those that mean nothing become findings."""
        for task in tasks:
            task.before = list(self._resolved(task, task.before, "parent"))
            task.after = list(self._resolved(task, task.after, "child"))

    def _resolved(self, task: _Task, said: list[tuple[Path, str]], word: str) -> list[tuple[Path, str]]:
        found = []
        for path, name in said:
            meant = self._meant.get(name)
            if meant is not None:
                found.append((path, meant))
            elif name in self._meant:
                message = f"the {word} {name!r} may be several tasks"
                self._form.fault("ambiguous-task", message, "name it by its id", path, task.step_id)
            else:
                fix = self._form.near(name, self._steps, "name a task of this file")
                self._form.fault("unknown-task", f"there is no {word} {name!r}", fix, path, task.step_id)
        return found


def _said(entry: Fields, name: str, *, required: bool = False) -> list[tuple[Path, str]]:
    return [((*entry.path, name, place), each) for place, each in entry.names(name, required=required)]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _unknown_machine(name: str, machines: Any, path: Path, form: ImportedForm) -> None:
    known = (each for each in machines if isinstance(each, str))
    fix = form.near(name, known, "name one of `machines`, or leave the field out")
    form.fault("unknown-machine", f"there is no machine {name!r}", fix, path)


def _join(tasks: list[_Task], form: ImportedForm) -> None:
    """Make the dependencies of what both sides say. ``origins``: where each of them was said."""
    by_id = {task.step_id: task for task in tasks}
    index = {task.step_id: place for place, task in enumerate(tasks)}
    for task in tasks:
        for path, parent in task.before:
            _depend(task, parent, path, index, form)
    for task in tasks:
        for path, child in task.after:
            _depend(by_id[child], task.step_id, path, index, form)


def _depend(task: _Task, parent: str, path: Path, index: Mapping[str, int], form: ImportedForm) -> None:
    if parent not in task.depends_on:
        place = len(task.depends_on)
        task.depends_on[parent] = None
        form.origins["steps", index[task.step_id], "depends_on", place] = path


def _write(tasks: list[_Task], machines: Mapping[str, int | None], form: ImportedForm) -> None:
    shared = any(task.cores > 1 for task in tasks)
    total = sum(cores or 0 for cores in machines.values())
    unknown = [name for name, cores in machines.items() if cores is None]
    path: Path = ("workflow",)
    if unknown:
        form.warn("missing-cores", f"{counted(len(unknown), 'machine')} ({unknown[0]}) do not say how many cores they "
                  "have: they count none", "add `cpu` with its number of cores", path)  # fmt: skip
    silent = sum(1 for task in tasks if task.seconds is None)
    if silent:
        form.warn("missing-runtime", f"{counted(silent, 'task')} of {len(tasks)} have no `runtimeInSeconds`: they take "
                  "no time here", "use a recorded instance, not a recipe alone", path)  # fmt: skip
    if shared and total:
        largest = max(tasks, key=lambda task: task.cores)
        most = max(cores or 0 for cores in machines.values())
        if largest.cores > most:
            form.fault("too-few-cores", f"it needs {largest.cores} cores, and the largest machine has {most}",
                       "correct one of the two", largest.path, largest.step_id)  # fmt: skip
        form.data["resources"] = {CORES: {"capacity": total}}
    steps = []
    for place, task in enumerate(tasks):
        step: dict[str, Any] = {"step_id": task.step_id, "tool": _TOOL, "expected_seconds": float(task.seconds or 0)}
        if task.depends_on:
            step["depends_on"] = list(task.depends_on)
        if shared and total:
            step["needs"] = {CORES: task.cores}
        form.origins["steps", place] = task.path
        steps.append(step)
    form.origins["steps",] = ("workflow",)
    form.data["steps"] = steps
    form.workers = total or None
