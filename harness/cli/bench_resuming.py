"""``bench --resume``: which benchmark is meant, how it was started, and what of it is there.

Rules of this module:
- What is not said again is as it was; what figures depend on must be as it was, or the benchmark is refused and what
  differs is named.
- One session at a time: a benchmark that goes on is not resumed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from executor.journal.run_lock import RunLock
from harness.benchmark import Matrix, Measured
from harness.benchmark.bench_identity import SessionWords, differences, identity_of
from harness.benchmark.kept_repetitions import measured_again
from harness.benchmark.meter import machine_facts
from harness.cli.guard import UsageFault
from harness.cli.requests.running import BenchRequest
from harness.cli.resuming import typed_without_secrets
from harness.cli.stores import store_path
from harness.config import Config, LanguageModel
from harness.files.schema_check import SchemaFault
from harness.result import DocumentError
from harness.store.going_on import check_repetition
from harness.store.journals import Journals
from harness.store.run_store import Store
from harness.store.secrets import without_secrets
from harness.store.store_errors import StoreError
from harness.store.stored_run import StoredBench

_ID_SHOWN: Final = 12
_ONE_VALUE: Final = ("repetitions", "warmup", "until_width", "seed", "replay", "llm", "model", "config_path")
_NAMES: Final = ("executors", "workers", "policies")
_TYPED: Final = ("settings", "parameters", "backend_options")


@dataclass(frozen=True, slots=True)
class ResumedBench:
    """A benchmark that goes on, and the repetitions that it has."""

    stored: StoredBench
    kept: Sequence[Measured]


def check_bench_resume(request: BenchRequest) -> None:
    """See that the options go together.

    Raises:
        UsageFault: they do not.
    """
    if not request.scenarios and request.resume is None:
        raise UsageFault("give a SCENARIO, or --resume RUN")
    if request.resume is not None and request.no_store:
        raise UsageFault("a benchmark is resumed from the store, and goes on in it: leave --no-store out")
    if request.resume is not None and request.record is not None:
        raise UsageFault("--record and --resume at once: a recording holds a whole benchmark")


def bench_meant(request: BenchRequest, config: Config) -> StoredBench | None:
    """The benchmark that ``--resume`` means.

    Raises:
        UsageFault: it is finished.
        StoreError: none or several are meant.
    """
    if request.resume is None:
        return None
    path = store_path(request.store, config)
    if not path.exists():
        raise StoreError(f"there is no benchmark to resume: there is no store at {str(path)!r}")
    with Store.open(path) as store:
        stored = store.bench(request.resume)
    if stored.status == "finished":
        raise UsageFault(f"benchmark {stored.run_id[:_ID_SHOWN]} is finished: no repetition of it is missing")
    return stored


def bench_as_it_was(request: BenchRequest, stored: StoredBench) -> BenchRequest:
    """The request, with what it leaves out as it was."""
    was = stored.started_as.get("request", {})
    filled: dict[str, Any] = {
        name: was[name] for name in _ONE_VALUE if getattr(request, name) is None and was.get(name) is not None
    }
    for name in (*_NAMES, "scenarios"):
        if not getattr(request, name):
            filled[name] = tuple(was.get(name, ()))
    for name in _TYPED:
        given = getattr(request, name)
        names = {text.partition("=")[0] for text in given}
        filled[name] = (*(text for text in was.get(name, ()) if text.partition("=")[0] not in names), *given)
    if request.cache == "unique":
        filled["cache"] = was.get("cache", request.cache)
    return replace(request, **filled)


def started_as(request: BenchRequest, matrix: Matrix, seed: int, llm: LanguageModel) -> dict[str, Any]:
    """How a benchmark is started, and what has to be the same to go on with it. Asked for before a local model is
    started: its address is another each time.
    """
    base_url = None if llm.base_url is None else str(without_secrets({"llm": llm.base_url})["llm"])
    replay = None if request.replay is None else str(Path(request.replay).absolute())
    words: dict[str, Any] = {name: getattr(request, name) for name in (*_ONE_VALUE, *_NAMES, "cache")}
    words |= {name: typed_without_secrets(getattr(request, name)) for name in _TYPED}
    words["scenarios"] = [_absolute(name) for name in request.scenarios]
    words["replay"] = replay
    words["llm"] = None if request.llm is None else without_secrets({"llm": request.llm})["llm"]
    words["config_path"] = None if request.config_path is None else _absolute(request.config_path)
    session = SessionWords(request.until_width, request.cache, replay, base_url, llm.model)
    return {"request": words, **identity_of(matrix, seed, session)}


def resumed_bench(stored: StoredBench, now: Mapping[str, Any], matrix: Matrix, store: Path) -> ResumedBench:
    """The benchmark with its repetitions.

    Raises:
        UsageFault: it is another benchmark now; the message names what differs.
        StoreError: its repetitions cannot be read.
    """
    found = differences(stored.started_as, now, stored.head["environment"], machine_facts())
    if found:
        raise UsageFault(
            f"benchmark {stored.run_id[:_ID_SHOWN]} cannot go on, since its figures would not be of one piece: "
            f"{'; '.join(found)}. Put that back, or measure anew without --resume"
        )
    with Store.open(store) as opened:
        return ResumedBench(stored, list(_repetitions(opened, stored.run_id, matrix)))


def lock_bench(store: Path, run_id: str, open_things: ExitStack) -> None:
    """See that no other process measures for that benchmark, as long as this one does.

    Raises:
        JournalError: another one does.
    """
    folder = Journals(store).folder
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = RunLock(Journals(store).bench_path(run_id), run_id, f"benchmark {run_id[:_ID_SHOWN]}")
    except OSError:
        # Where no file can be made, the store says so itself.
        return
    open_things.callback(lock.release)


def _repetitions(store: Store, run_id: str, matrix: Matrix) -> Iterator[Measured]:
    for one in store.repetitions(run_id):
        try:
            check_repetition(one.record, one.sample)
            yield measured_again(one.record, one.sample, matrix)
        except (DocumentError, SchemaFault, KeyError, TypeError, IndexError) as error:
            raise StoreError(f"a repetition of run {run_id[:_ID_SHOWN]} in the store is damaged: {error}") from error


def _absolute(name: str) -> str:
    return str(Path(name).absolute()) if Path(name).exists() else name
