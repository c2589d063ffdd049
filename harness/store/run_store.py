"""The history of runs: one SQLite file in the user's data folder, written as results come.

Rules of this module:
- Each call that writes is one transaction: after it the result is there, whatever happens to the process.
- Safe with several processes at once: writers wait for each other, readers never wait.
- Every failure is a :class:`StoreError`. It loses nothing that was stored, and nothing that the caller holds;
  :mod:`harness.store.recording` keeps what could not be written and tries again.
- No secrets are kept (:mod:`harness.store.secrets`), and only the user may read the file.
"""

from __future__ import annotations

import itertools
import json
import re
import sqlite3
import threading
import uuid
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, Self

from executor.model.findings import printable
from executor.sqlite_tables import transaction
from harness.files.encoded_list import items_with
from harness.files.finite_json import read_finite_json
from harness.files.json_output import json_parts
from harness.plain_text import some_of
from harness.result.cell_key import Cell, machine_class
from harness.store.run_references import load_reference, stored_run
from harness.store.secrets import cell_without_secrets, document_without_secrets, result_without_secrets
from harness.store.store_errors import StoreError, as_store_error
from harness.store.stored_run import SampleToStore, Status, StoredBench, StoredRepetition, StoredRun, Verdict
from harness.store.tables import connect

Document = dict[str, Any]

_FILE_NAME: Final = "runs.sqlite"
# Higher levels cost more time between repetitions than they save space.
_COMPRESSION: Final = 3
_LARGE_STEPS: Final = 10_000
_PARTS_AT_ONCE: Final = 1_000
# Runs of which nothing is there: begun, and killed before the first repetition was over.
_HAS_RESULTS: Final = "(document IS NOT NULL OR EXISTS (SELECT 1 FROM samples WHERE samples.sequence = runs.sequence))"


def default_store_path() -> Path:
    """``makespan/runs.sqlite`` in the user's data folder (``$XDG_DATA_HOME``, else ``~/.local/share``)."""
    from platformdirs import user_data_path  # noqa: PLC0415 - only the default place pays for it

    return user_data_path("makespan", appauthor=False) / _FILE_NAME


class Store:
    """An open store. Make it with :meth:`open`, close it or use it in a ``with``. Any thread may call it."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: str | Path | None = None, *, read_only: bool = False) -> Self:
        """Open a store, and make it where there is none. ``path`` defaults to :func:`default_store_path`.

        Raises:
            StoreError: it cannot be opened, is damaged, or is from a newer makespan or another program.

        """
        place = Path(path) if path is not None else default_store_path()
        with as_store_error(place):
            return cls(place, connect(place, read_only=read_only))

    def close(self) -> None:
        """Close it; it cannot be used any more."""
        with self._lock, as_store_error(self.path):
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Writing

    def begin_run(self, head: Mapping[str, Any], started_as: Mapping[str, Any] | None = None) -> str:
        """Add an empty run. ``head`` is its document without ``results``; a ``run_id`` is made where it has none.
        ``started_as``: of a benchmark, what :meth:`bench` gives back for going on with it.

        Raises:
            StoreError: it cannot be written, or there is a run of that id.

        """
        head = {"run_id": uuid.uuid4().hex, **{name: value for name, value in head.items() if name != "results"}}
        with self._transaction() as connection:
            sequence = self._insert(connection, document_without_secrets(head))
            if started_as is not None:
                connection.execute("UPDATE runs SET started_as = ? WHERE sequence = ?", (_text(started_as), sequence))
        return str(head["run_id"])

    def resume_run(self, run_id: str) -> None:
        """Say that a run goes on that was interrupted or killed; what was stored of it stays.

        Raises:
            StoreError: it cannot be written, or there is no such run.

        """
        with self._transaction() as connection:
            sequence = self._sequence(connection, run_id)
            # The repetitions are what there is of it again.
            connection.execute(
                "UPDATE runs SET status = 'unfinished', document = NULL, cells = NULL, repetitions = NULL"
                " WHERE sequence = ?",
                (sequence,),
            )

    def add_sample(
        self,
        run_id: str,
        cell: Cell,
        repetition: int,
        sample: Mapping[str, Any],
        result: Mapping[str, Any] | None = None,
        record: Mapping[str, Any] | None = None,
        *,
        again: bool = False,
    ) -> None:
        """Keep one repetition (from 1). ``sample`` is its entry of ``samples``. ``result`` is the whole entry of
        ``results`` for this repetition alone, steps and attempts included; each cell needs it at least once, or it is
        not in the document of a run that was killed. ``record`` is what :meth:`repetitions` gives back. They cost time
        in proportion to their size. ``again``: it takes the place of one that is there.

        Raises:
            StoreError: it cannot be written, there is no such run, or the repetition is there already.

        """
        self.add_samples(run_id, [SampleToStore(cell, repetition, sample, result, record, again)])

    def add_samples(self, run_id: str, samples: Sequence[SampleToStore]) -> None:
        """Keep several repetitions, all or none.

        Raises:
            StoreError: as :meth:`add_sample`.

        """
        rows = [
            (
                json.dumps(asdict(cell_without_secrets(one.cell)), sort_keys=True),
                one.repetition,
                _text(one.sample),
                None if one.result is None else _packed(result_without_secrets(one.result)),
                None if one.record is None else _packed(one.record),
            )
            for one in samples
        ]
        with self._transaction() as connection:
            sequence = self._sequence(connection, run_id)
            for one, row in zip(samples, rows, strict=True):
                try:
                    connection.execute(_INSERT_SAMPLE_AGAIN if one.again else _INSERT_SAMPLE, (sequence, *row))
                except sqlite3.IntegrityError as error:
                    raise StoreError(
                        f"run {run_id}: repetition {one.repetition} of {one.cell} is stored already"
                    ) from error

    def finish_run(
        self, run_id: str, document: Mapping[str, Any], *, status: Literal["finished", "interrupted"] = "finished"
    ) -> None:
        """Keep the whole document; what was stored of single repetitions gives way to it, unless the run may go on from
        there.

        Raises:
            StoreError: it cannot be written, or there is no such run.

        """
        with self._transaction() as connection:
            sequence = self._sequence(connection, run_id)
            self._complete(connection, sequence, document_without_secrets(document), status)

    def interrupt_run(self, run_id: str) -> None:
        """Say of a run that goes on that it was interrupted. What was stored of its repetitions stays.

        Raises:
            StoreError: it cannot be written.

        """
        with self._transaction() as connection:
            connection.execute(
                "UPDATE runs SET status = 'interrupted' WHERE run_id = ? AND status = 'unfinished'", (run_id,)
            )

    def save(self, document: Mapping[str, Any]) -> None:
        """Keep a whole run at once.

        Raises:
            StoreError: it cannot be written, or there is a run of that id.

        """
        cleaned = document_without_secrets(document)
        with self._transaction() as connection:
            self._complete(connection, self._insert(connection, cleaned), cleaned, "finished")

    def accept(self, reference: str) -> str:
        """Say that a run is as it should be, so that later ones may be judged by it. Answers its id.

        Raises:
            StoreError: it cannot be written, or no stored run is meant.

        """
        return self._set_verdict(reference, "accepted")

    def reject(self, reference: str) -> str:
        """Say that a run is not as it should be. Answers its id.

        Raises:
            StoreError: it cannot be written, or no stored run is meant.

        """
        return self._set_verdict(reference, "rejected")

    # Reading

    def bench(self, reference: str) -> StoredBench:
        """The benchmark that is meant: ``@last``, ``@last~1``, an id or its beginning.

        Raises:
            StoreError: it cannot be read, or none or several are meant.

        """
        with self._reading() as connection:
            match = re.fullmatch(r"@last(?:~(\d{1,9}))?", reference)
            if match is not None:
                rows = connection.execute(_LAST_BENCH, (int(match.group(1) or 0),)).fetchall()
            else:
                rows = connection.execute(_NAMED_BENCH, (reference, reference)).fetchall()
        if len(rows) > 1:
            names = some_of([row[0] for row in rows], 5)
            raise StoreError(f"{printable(reference)!r} is the beginning of {names}")
        if not rows:
            raise StoreError(
                f"no benchmark is meant by {printable(reference)!r} in the store {str(self.path)!r}; `makespan "
                "history` lists them"
            )
        run_id, status, head, started_as = rows[0]
        if started_as is None:
            raise StoreError(f"run {run_id[:12]} does not say how it was started: it is no benchmark, or an older one")
        from harness.files.schema_check import SchemaFault  # noqa: PLC0415 - to list runs needs no pydantic
        from harness.store.going_on import check_started_bench  # noqa: PLC0415 - the same

        found = StoredBench(run_id, status, self._parsed(head, run_id), self._parsed(started_as, run_id))
        self._check({**found.head, "results": []}, run_id)
        try:
            check_started_bench(found.started_as)
        except SchemaFault as fault:
            raise self._damaged(run_id, fault) from fault
        return found

    def repetitions(self, run_id: str) -> list[StoredRepetition]:
        """The repetitions of a benchmark that may go on, in the order in which they were stored.

        Raises:
            StoreError: they cannot be read, or are damaged.

        """
        query = (
            "SELECT sample, record FROM samples JOIN runs USING (sequence) WHERE run_id = ? AND record IS NOT NULL"
            " ORDER BY samples.rowid"
        )
        with self._reading() as connection:
            rows = connection.execute(query, (run_id,)).fetchall()
        return [
            StoredRepetition(self._parsed(sample, run_id), self._unpacked(record, run_id)) for sample, record in rows
        ]

    def resumable_before(self, moment: float) -> list[str]:
        """The ids of benchmarks begun before that time (seconds since 1970) that ended early, and can go on.

        Raises:
            StoreError: it cannot be read.

        """
        before = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
        query = (
            "SELECT run_id FROM runs WHERE started_as IS NOT NULL AND status = 'interrupted' AND started_at < ?"
            " ORDER BY sequence"
        )
        with self._reading() as connection:
            return [run_id for (run_id,) in connection.execute(query, (before,))]

    def drop_repetitions(self, run_ids: Sequence[str]) -> None:
        """Forget what these benchmarks would go on from; their results stay.

        Raises:
            StoreError: it cannot be written.

        """
        with self._transaction() as connection:
            for run_id in run_ids:
                sequence = self._sequence(connection, run_id)
                connection.execute("DELETE FROM samples WHERE sequence = ?", (sequence,))
                connection.execute("UPDATE runs SET started_as = NULL WHERE sequence = ?", (sequence,))

    def load(self, reference: str) -> Document:
        """The document of a run: by id or its beginning, ``@last``, ``@last~1``, git revision, file or folder.

        Raises:
            StoreError: none or several are meant, or it cannot be read.

        """
        return load_reference(reference, self)

    def document(self, run_id: str) -> Document:
        """The document of the run with exactly this id; of an unfinished one as far as it came.

        Raises:
            StoreError: there is no such run, it has no results, or they cannot be read.

        """
        with self._reading() as connection:
            row = connection.execute(
                "SELECT sequence, head, document FROM runs WHERE run_id = ?", (run_id,)
            ).fetchone()  # fmt: skip
            if row is None:
                raise StoreError(f"the store {str(self.path)!r} has no run {run_id!r}")
            sequence, head, packed = row
            query = "SELECT cell, sample, result FROM samples WHERE sequence = ? ORDER BY rowid"
            rows = connection.execute(query, (sequence,)).fetchall() if packed is None else []
        document = self._unpacked(packed, run_id) if packed is not None else self._assembled(run_id, head, rows)
        self._check(document, run_id)
        return document

    def history(
        self,
        *,
        scenario: str | None = None,
        revision: str | None = None,
        machine: str | None = None,
        status: Status | None = None,
        verdict: Verdict | None = None,
        since: str | None = None,
        before: str | None = None,
        limit: int | None = None,
    ) -> list[StoredRun]:
        """The runs with results, newest first. ``scenario``: runs of several, too, if it is among them. ``revision``
        may be its beginning, ``machine`` a machine's name or class, ``since`` an ISO 8601 time or the beginning of
        one; ``before``: only runs begun before that id's.

        Raises:
            StoreError: it cannot be read.

        """
        conditions = {
            # A run of several scenarios is named by all of them.
            "instr(' + ' || scenario || ' + ', ' + ' || ? || ' + ')": scenario,
            "instr(revision, ?) = 1": None if revision is None else revision.lower(),
            "? IN (machine, machine_class)": machine,
            "status = ?": status,
            "verdict = ?": verdict,
            "started_at >= ?": since,
            "sequence < COALESCE((SELECT sequence FROM runs WHERE run_id = ?), 9e18)": before,
        }
        asked = [(text, value) for text, value in conditions.items() if value is not None]
        where = " AND ".join([_HAS_RESULTS, *(text for text, _ in asked)])
        query = f"{_SELECT_RUNS} WHERE {where} ORDER BY sequence DESC LIMIT ?"
        values = [*(value for _, value in asked), -1 if limit is None else limit]
        with self._reading() as connection:
            return [StoredRun(*row) for row in connection.execute(query, values)]

    def begun_benchmarks(self) -> list[StoredRun]:
        """Benchmarks of which no repetition is over: they go on at this moment, or ended before; newest first.

        Raises:
            StoreError: it cannot be read.

        """
        query = f"{_SELECT_RUNS} WHERE started_as IS NOT NULL AND NOT {_HAS_RESULTS} ORDER BY sequence DESC"
        with self._reading() as connection:
            return [StoredRun(*row) for row in connection.execute(query)]

    def matching(self, condition: Literal["id", "revision"], text: str) -> list[StoredRun]:
        """The runs whose id or revision begins with the text, newest first, those without results included.

        Raises:
            StoreError: it cannot be read.

        """
        column = {"id": "run_id", "revision": "revision"}[condition]
        query = f"{_SELECT_RUNS} WHERE instr({column}, ?) = 1 ORDER BY sequence DESC"
        with self._reading() as connection:
            return [StoredRun(*row) for row in connection.execute(query, (text,))]

    # Inside

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, as_store_error(self.path), transaction(self._connection) as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, as_store_error(self.path):
            yield self._connection

    def _insert(self, connection: sqlite3.Connection, head: Mapping[str, Any]) -> int:
        environment = head["environment"]
        plain = {name: value for name, value in head.items() if name != "results"}
        row = (
            head["run_id"], head["scenario"], head["started_at"], environment.get("revision"),
            environment.get("machine"), machine_class(environment), _text(plain),
        )  # fmt: skip
        query = (
            "INSERT INTO runs (run_id, scenario, started_at, revision, machine, machine_class, status, head)"
            " VALUES (?, ?, ?, ?, ?, ?, 'unfinished', ?)"
        )
        try:
            return connection.execute(query, row).lastrowid or 0
        except sqlite3.IntegrityError as error:
            raise StoreError(f"the store {str(self.path)!r} has a run {head['run_id']!r} already") from error

    def _complete(
        self, connection: sqlite3.Connection, sequence: int, document: Mapping[str, Any], status: Status
    ) -> None:
        results = document["results"]
        repetitions = sum(result["repetitions"] for result in results)
        connection.execute(
            "UPDATE runs SET document = ?, status = ?, cells = ?, repetitions = ?, cached_steps = ? WHERE sequence = ?",
            (_packed(document), status, len(results), repetitions, _cached_steps(results), sequence),
        )
        going_on = "AND record IS NULL" if status == "interrupted" else ""
        connection.execute(f"DELETE FROM samples WHERE sequence = ? {going_on}", (sequence,))  # noqa: S608 - as above

    def _set_verdict(self, reference: str, verdict: Verdict) -> str:
        run_id = stored_run(reference, self).run_id
        with self._transaction() as connection:
            connection.execute("UPDATE runs SET verdict = ? WHERE run_id = ?", (verdict, run_id))
        return run_id

    def _sequence(self, connection: sqlite3.Connection, run_id: str) -> int:
        row = connection.execute("SELECT sequence FROM runs WHERE run_id = ?", (run_id,)).fetchone()
        if row is None:
            raise StoreError(f"the store {str(self.path)!r} has no run {run_id!r}")
        return int(row[0])

    def _assembled(self, run_id: str, head: str, rows: list[tuple[str, str, bytes | None]]) -> Document:
        from harness.store.assembly import StoredSample, assembled  # noqa: PLC0415 - it needs SciPy

        if not rows:
            raise StoreError(f"run {run_id} has no results: it was stopped before its first repetition was over")
        cells: dict[str, list[StoredSample]] = {}
        for cell, sample, packed in rows:
            result = None if packed is None else self._unpacked(packed, run_id)
            cells.setdefault(cell, []).append(StoredSample(self._parsed(sample, run_id), result))
        try:
            return assembled(self._parsed(head, run_id), list(cells.values()))
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            # What is missing or of another kind: the figures of the samples are computed with before they are checked.
            raise self._damaged(run_id, f"its repetitions: {type(error).__name__}: {error}") from error

    def _unpacked(self, packed: bytes, run_id: str) -> Document:
        try:
            text = zlib.decompress(packed)
        except zlib.error as error:
            raise self._damaged(run_id, error) from error
        return self._parsed(text, run_id)

    def _parsed(self, text: str | bytes, run_id: str) -> Document:
        try:
            document = read_finite_json(text)
        except ValueError as error:
            raise self._damaged(run_id, error) from error
        if not isinstance(document, dict):
            raise self._damaged(run_id, "what has to be a JSON object is another value")
        return document

    def _check(self, document: Document, run_id: str) -> None:
        from harness.result.document_check import check_document  # noqa: PLC0415 - to list runs needs no pydantic
        from harness.result.result_reading import DocumentError  # noqa: PLC0415 - the same

        try:
            check_document(document)
        except DocumentError as error:
            raise self._damaged(run_id, error) from error

    def _damaged(self, run_id: str, why: object) -> StoreError:
        return StoreError(f"run {printable(run_id)} in the store {str(self.path)!r} is damaged: {why}")


_SELECT_RUNS: Final = """
SELECT run_id, scenario, started_at, revision, machine, machine_class, status, verdict,
    COALESCE(cells, (SELECT COUNT(DISTINCT cell) FROM samples WHERE samples.sequence = runs.sequence)),
    COALESCE(repetitions, (SELECT COUNT(*) FROM samples WHERE samples.sequence = runs.sequence)),
    cached_steps
FROM runs
"""
_LAST_BENCH: Final = """
SELECT run_id, status, head, started_as FROM runs WHERE started_as IS NOT NULL ORDER BY sequence DESC LIMIT 1 OFFSET ?
"""
_NAMED_BENCH: Final = "SELECT run_id, status, head, started_as FROM runs WHERE instr(run_id, ?) = 1 AND ? != ''"
_INSERT_SAMPLE: Final = (
    "INSERT INTO samples (sequence, cell, repetition, sample, result, record) VALUES (?, ?, ?, ?, ?, ?)"
)
_INSERT_SAMPLE_AGAIN: Final = f"""{_INSERT_SAMPLE}
ON CONFLICT DO UPDATE SET sample = excluded.sample, record = excluded.record, result = COALESCE(excluded.result, result)
"""


def _cached_steps(results: Sequence[Mapping[str, Any]]) -> int:
    return sum(bool(step["cached"]) for result in results for step in items_with("cached", result["steps"]))


def _text(values: Mapping[str, Any]) -> str:
    return json.dumps(values, allow_nan=False, separators=(",", ":"))


def _packed(values: Mapping[str, Any]) -> bytes:
    if all(len(result.get("steps", ())) < _LARGE_STEPS for result in values.get("results", (values,))):
        return zlib.compress(_text(values).encode(), _COMPRESSION)
    # In parts: the whole text of a large run, and its bytes, would be there a second time.
    packing = zlib.compressobj(_COMPRESSION)
    parts = json_parts(values)
    texts = iter(lambda: "".join(itertools.islice(parts, _PARTS_AT_ONCE)), "")
    return b"".join([*(packing.compress(text.encode()) for text in texts), packing.flush()])
