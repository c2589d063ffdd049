"""A run that is kept, or that goes on from one that was: from what its caller asked for to the parts that do it.

Rules of this module:
- Everything that is wrong with a journal is said before anything runs.
- A resumed run goes on in the journal of the run that it resumes, as another session of it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from executor.dependencies import Graph
from executor.engine.engine import Engine
from executor.journal.earlier_run import EarlierRun, read_earlier_run
from executor.journal.finished_steps import FinishedSteps, Unsure
from executor.journal.journal_errors import JournalError
from executor.journal.journal_file import JournalFile, damaged_journal
from executor.journal.journal_writer import Durable, JournalWriter, head_of_session
from executor.journal.output_files import OutputFiles
from executor.journal.resume_plan import ResumePlan, check_resume, plan_resume, unsure_error, unsure_steps
from executor.journal.run_lock import RunLock
from executor.tools.tool import RunContext, Tool


@dataclass(frozen=True, slots=True)
class Journal:
    """Where a run is kept while it goes on: a file that is made, with large outputs in a folder beside it.

    ``durable``: what happened is on the disk within 100 ms, or before the run goes on (``each``). ``run_id`` names the
    run, ``about`` is kept with it (JSON values).
    """

    path: str | PathLike[str]
    durable: Durable = "within_100_ms"
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resume:
    """The journal of a run that did not come to its end, and how it goes on.

    ``rerun``: steps that are done again although they are finished, with all that they call. ``unsure``: what is done
    with steps that must not be done twice (``idempotent: false``) and were running when the run ended; None: an error
    names them. ``forget``: steps of the journal that the workflow no longer has. ``show`` gets the plan before anything
    runs; what it raises ends the run before it begins.
    """

    path: str | PathLike[str]
    rerun: Sequence[str] = ()
    unsure: Unsure | None = None
    forget: Sequence[str] = ()
    show: Callable[[ResumePlan], None] | None = None
    durable: Durable = "within_100_ms"
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    about: Mapping[str, Any] = field(default_factory=dict)


class KeptRun:
    """One run with a journal. Made by :func:`kept_run`; :meth:`end` is called however the run ends."""

    def __init__(
        self, file: JournalFile, lock: RunLock, options: Journal | Resume, earlier: FinishedSteps | None = None
    ) -> None:
        self.earlier = earlier
        self._file = file
        self._lock = lock
        self._options = options
        self._writer: JournalWriter | None = None

    def attach(self, engine: Engine) -> None:
        """Have the engine's run kept."""
        self._writer = JournalWriter(self._file, engine, engine.toolbox.tools, self._options.durable)
        engine.keep_with(self._writer)

    def begin(self) -> None:
        """Start writing: the run begins."""
        if self._writer is not None:
            self._writer.begin()

    def end(self, how: str) -> list[str]:
        """Write the rest, and let go of the journal. Answers what is to be said."""
        try:
            if self._writer is None:
                self._file.close()
                return []
            said = self._writer.end(how)
            self._writer = None
            return [] if said is None else [said]
        finally:
            self._lock.release()

    def reused(self, step_ids: Iterable[str]) -> dict[str, str]:
        """With each of these steps, which were reused, the id of the run that did them. A mapped step was done by
        those that did its items: it has the last of them.
        """
        if self.earlier is None:
            return {}
        earlier, reused = self.earlier.earlier, self.earlier.reused
        runs = [str(head.get("run_id", "")) for head in earlier.heads]
        return {step_id: runs[reused[step_id].session] if step_id in reused else runs[-1] for step_id in step_ids}


def kept_run(
    journal: str | PathLike[str] | Journal | None,
    resume: str | PathLike[str] | Resume | None,
    graph: Graph,
    tools: Mapping[str, Tool],
    context: RunContext,
) -> KeptRun | None:
    """The run with its journal, opened and checked; None where nothing is kept.

    Raises:
        JournalError: the journal cannot be used, or does not fit.
    """
    if resume is not None:
        if journal is not None:
            raise JournalError("a resumed run goes on in its own journal", "leave journal= out")
        return _resumed(resume if isinstance(resume, Resume) else Resume(resume), graph, tools, context)
    if journal is None:
        return None
    options = journal if isinstance(journal, Journal) else Journal(journal)
    path = Path(options.path).expanduser()
    file = JournalFile.create(path)
    lock: RunLock | None = None
    try:
        lock = RunLock(path, options.run_id)
        about = {**options.about, "steps": len(graph.steps)}
        file.begin_session(head_of_session(options.run_id, context.workflow_id, about))
    except BaseException:
        file.close()
        if lock is not None:
            lock.release()
        raise
    return KeptRun(file, lock, options)


def read_journal(path: str | PathLike[str]) -> EarlierRun:
    """What a journal says. Its run may still write it.

    Raises:
        JournalError: it cannot be used.
    """
    place = Path(path).expanduser()
    file = JournalFile.open(place)
    try:
        return _earlier_run(file, place)
    finally:
        file.close()


def _earlier_run(file: JournalFile, path: Path) -> EarlierRun:
    try:
        return read_earlier_run(file.sessions(), OutputFiles(path))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        # Its checksums are right, so that it is whole, and yet it holds something else than a journal of this version.
        raise damaged_journal(path) from error


def _resumed(options: Resume, graph: Graph, tools: Mapping[str, Tool], context: RunContext) -> KeptRun:
    path = Path(options.path).expanduser()
    if not path.is_file():
        raise JournalError(f"there is no journal {str(path)!r}")
    lock = RunLock(path, options.run_id)
    file: JournalFile | None = None
    try:
        file = JournalFile.open(path)
        earlier = _earlier_run(file, path)
        finished = what_is_finished(earlier, options, graph, tools, context)
        file.begin_session(head_of_resume(earlier, options, graph, context))
        return KeptRun(file, lock, options, finished)
    except BaseException:
        if file is not None:
            file.close()
        lock.release()
        raise


def what_is_finished(
    earlier: EarlierRun, options: Resume, graph: Graph, tools: Mapping[str, Tool], context: RunContext
) -> FinishedSteps:
    """What a run that goes on from an earlier one takes from it, once that is checked and shown.

    Raises:
        JournalError: the earlier run does not fit the workflow, or it is not said what becomes of unsure steps.
    """
    rerun = list(options.rerun)
    check_resume(earlier, graph, context.workflow_id, rerun, options.forget)
    steps = {step.step_id: step for step in graph.steps}
    unsure = unsure_steps(earlier, steps, rerun, options.forget)
    _see_that_is_decided(earlier, unsure, options)
    skipped = unsure if options.unsure == "skip" else ()
    if options.show is not None:
        options.show(plan_resume(graph, tools, context, earlier, rerun=rerun, skipped=skipped))
    return FinishedSteps(earlier, rerun, skipped)


def head_of_resume(earlier: EarlierRun, options: Resume, graph: Graph, context: RunContext) -> dict[str, Any]:
    """What the session of a run that goes on from an earlier one says of itself."""
    seam = {"steps": len(graph.steps), "resumes": earlier.run_id, "rerun": list(options.rerun)}
    return head_of_session(options.run_id, context.workflow_id, {**options.about, **seam})


def _see_that_is_decided(earlier: EarlierRun, unsure: Sequence[str], options: Resume) -> None:
    if unsure and options.unsure is None:
        raise unsure_error(earlier.run_id, unsure)
