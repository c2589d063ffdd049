"""``run --resume``: which run is meant, how it was started, and how the new one is kept.

Rules of this module:
- What is not said again is as it was: the scenario, its settings, the executor, workers, policy, seed, configuration
  and model.
- What reads and writes journals is imported where a run is resumed or kept.
- A run that cannot be kept runs all the same: that costs a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli.guard import UsageFault
from harness.cli.requests.running import RunRequest
from harness.cli.stores import store_path
from harness.cli.typed_values import one_of
from harness.config import Config
from harness.execution import Keep
from harness.store.secrets import without_secrets

if TYPE_CHECKING:
    from executor.journal.finished_steps import Unsure
    from executor.journal.journal_writer import Durable
    from executor.journal.kept_run import Journal, Resume
    from executor.journal.resume_plan import ResumePlan
    from harness.store.journals import FoundJournal

_DURABLE: Mapping[str, Durable] = {"100ms": "within_100_ms", "each": "each"}


def check_resume_options(request: RunRequest) -> None:
    """See that options of a resumed run go with ``--resume``, and that they do not exclude each other.

    Raises:
        UsageFault: they do not.
    """
    one_of("--durable", request.durable, tuple(_DURABLE))
    given = {
        "--rerun": request.rerun, "--rerun-unsure": request.rerun_unsure, "--skip-unsure": request.skip_unsure,
        "--forget": request.forget,
    }  # fmt: skip
    if request.resume is None:
        for name, value in given.items():
            if value:
                raise UsageFault(f"{name} goes with --resume RUN")
    elif request.task is not None:
        raise UsageFault("give either --task or --resume: a run of a task is resumed with the plan that it had")
    elif request.no_store:
        raise UsageFault("a run is resumed from the journal beside its store, and goes on in it: leave --no-store out")
    if request.rerun_unsure and request.skip_unsure:
        raise UsageFault("--rerun-unsure and --skip-unsure exclude each other; --rerun STEP names single steps")


def journal_meant(request: RunRequest, config: Config) -> FoundJournal | None:
    """The journal that ``--resume`` means.

    Raises:
        StoreError: none or several are meant.
        JournalError: it cannot be read, or what it says of how it was started.
    """
    if request.resume is None:
        return None
    from executor.journal.journal_errors import JournalError  # noqa: PLC0415 - only where a run is resumed or kept
    from harness.files.schema_check import SchemaFault  # noqa: PLC0415 - the same
    from harness.store.going_on import check_started_run  # noqa: PLC0415 - the same
    from harness.store.journals import Journals  # noqa: PLC0415 - the same

    found = Journals(store_path(request.store, config)).find(request.resume)
    try:
        check_started_run(found.about)
    except SchemaFault as fault:
        raise JournalError(f"the journal {str(found.path)!r} is damaged: {fault}", "run without --resume") from fault
    return found


def as_it_was(request: RunRequest, journal: FoundJournal) -> RunRequest:
    """The request, with what it leaves out as it was in the run that is resumed.

    Raises:
        UsageFault: it is unknown which scenario it was.
    """
    was = journal.about
    if request.scenario is None and "scenario" not in was and "plan" not in was:
        raise UsageFault(f"run {journal.run_id[:12]} does not say what it ran; name its file: run FILE --resume …")
    filled = {
        name: was[name]
        for name in ("scenario", "executor", "workers", "policy", "seed", "llm", "model", "config_path")
        if getattr(request, name) is None and was.get(name) is not None
    }
    for name in ("settings", "backend_options"):
        given = getattr(request, name)
        names = {text.partition("=")[0] for text in given}
        filled[name] = (*(text for text in was.get(name, ()) if text.partition("=")[0] not in names), *given)
    return replace(request, **filled)


def plan_that_was(request: RunRequest, journal: FoundJournal | None) -> Mapping[str, Any] | None:
    """The plan that the run had, where it was one of a task and no file is named."""
    if journal is None or request.scenario is not None:
        return None
    plan = journal.about.get("plan")
    return plan if isinstance(plan, dict) else None


def started_as(request: RunRequest, config: Config, seed: int | None, plan: Mapping[str, Any] | None) -> dict[str, Any]:
    """How the run is started, so that it can be started like that again. ``plan``: that of a task."""
    words: dict[str, Any] = {
        "executor": config.executor, "workers": request.workers, "policy": config.policy, "seed": seed,
        "settings": typed_without_secrets(request.settings),
        "backend_options": typed_without_secrets(request.backend_options),
        "llm": None if request.llm is None else without_secrets({"llm": request.llm})["llm"], "model": request.model,
        "config_path": None if request.config_path is None else str(Path(request.config_path).absolute()),
    }  # fmt: skip
    if plan is not None:
        return {**words, "plan": dict(plan)}
    scenario = request.scenario or ""
    is_file = Path(scenario).exists()
    return {**words, "scenario": str(Path(scenario).absolute()) if is_file else scenario}


def typed_without_secrets(typed: Sequence[str]) -> list[str]:
    """``NAME=VALUE`` as it was typed, less what is a secret by its name or shape: that has to be given again."""
    values = {text: text.partition("=") for text in typed}
    return [text for text, (name, _, value) in values.items() if without_secrets({name: value})[name] == value]


def keeping(
    request: RunRequest,
    config: Config,
    journal: FoundJournal | None,
    words: Mapping[str, Any],
    show: Callable[[ResumePlan], None],
) -> Keep:
    """How a run is kept: anew, or in the journal of the run that it resumes."""
    from executor.journal.kept_run import Journal, Resume  # noqa: PLC0415 - only where a run is kept
    from harness.store.journals import Journals  # noqa: PLC0415 - the same

    journals = Journals(store_path(request.store, config))
    durable = _DURABLE[request.durable]
    unsure: Unsure | None = "rerun" if request.rerun_unsure else "skip" if request.skip_unsure else None

    def keep(run_id: str, trace_id: str | None) -> Journal | Resume:
        about = {"trace_id": trace_id, "started_as": dict(words)}
        if journal is None:
            return Journal(journals.path_of(run_id), durable, run_id, about)
        return Resume(journal.path, request.rerun, unsure, request.forget, show, durable, run_id, about)

    return keep
