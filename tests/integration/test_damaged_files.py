"""Files that a person hands to a command, damaged in every field and in their bytes: each command reads what is left,
or says what is wrong and where. It never ends with an internal error, and no figure that it writes is none.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any, NoReturn

import pytest

from tests.integration.calling import called
from tests.integration.damaged_files import Damaged, damaged_bytes, damaged_fields
from tests.integration.kinds_of_databases import kinds_of_databases
from tests.integration.kinds_of_files import FILE, Kind, kinds_of_results, kinds_of_scenarios, kinds_of_traces

NAMES = (
    "run document", "bench document", "recorded calls", "trace as otlp", "trace as tempo", "trace as jaeger",
    "trace as jaeger bare", "trace as zipkin", "trace as bare", "trace as console", "trace as otlp lines",
    "trace as protobuf", "trace of our own", "edges as JSON", "edges as YAML", "edges as lines", "scenario as YAML",
    "scenario as JSON", "file of the seed system", "WfFormat 1.4", "WfFormat 1.5", "project of PSPLIB",
    "project as Patterson has it", "configuration", "history", "history of an interrupted benchmark", "journal",
    "cache",
)  # fmt: skip
# A field that names something else: where the name is gone, those that use it are at fault.
_IDS = frozenset({"step_id", "id", "name", "nodeName", "machines", "schema", "steps", "workflow"})
# A number with its unit, or alone in a cell of a table, that is none.
_NO_FIGURE = re.compile(r"(?:^|[\s,(])-?(?:nan|inf)(?: ?(?:s|ms|µs|min|h|%|×)\b|[,%×]|$)", re.IGNORECASE | re.MULTILINE)
_OUTPUTS = ("out.json", "out.html", "out.csv", "out.md", "out.prom", "out.yaml")
FEW, MANY = 4, 300


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Kind]]:
    """Every kind of file; the current folder is where their commands can be called."""
    folder = tmp_path_factory.mktemp("files")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_DATA_HOME", str(folder / "data"))
        for name in [name for name in os.environ if name.startswith("MAKESPAN_")]:
            patch.delenv(name)
        found = {
            **kinds_of_results(folder), **kinds_of_traces(folder), **kinds_of_scenarios(folder),
            **kinds_of_databases(folder),
        }  # fmt: skip
        assert tuple(found) == NAMES
        yield found


def damages_of(kind: Kind, random: Random) -> Iterator[Damaged]:
    """Damage of fields, as long as there is any, with damage of bytes between."""
    of_bytes = damaged_bytes(kind.whole(), random)
    for damage, name, value in () if kind.value is None else damaged_fields(kind.value, random):
        if random.random() < 0.2:
            yield next(of_bytes)
        try:
            yield Damaged(damage, kind.text(value), name)
        except Exception:
            continue
    yield from of_bytes


def fault_of(kind: Kind, damaged: Damaged, command: list[str]) -> str | None:
    """What is wrong with how a command takes a damaged file."""
    for name in _OUTPUTS:
        Path(name).unlink(missing_ok=True)
    path = damaged_path(kind)
    done = called(*(str(path) if word == FILE else word for word in command))
    if not isinstance(done.exception, SystemExit | None) or re.search("internal error|Traceback", done.output):
        return f"ends with {done.exception!r}: {done.output[-600:]}"
    if done.exit_code not in (0, 1, 2, 3):
        return f"exit status {done.exit_code}"
    if done.exit_code == 2:
        if kind.text.__name__ not in ("store_bytes", "journal_bytes", "cache_bytes") and path.name not in done.stderr:
            return f"names no file: {done.stderr[:300]}"
        if kind.names_field and damaged.field not in (None, *_IDS) and str(damaged.field) not in done.stderr:
            return f"does not name `{damaged.field}`: {done.stderr[:300]}"
    return figures_fault(done.stdout)


def figures_fault(shown: str) -> str | None:
    """Whether a figure that was shown or written is none."""
    for name in (None, "out.csv", "out.md"):
        text = shown if name is None else Path(name).read_text(encoding="utf-8") if Path(name).exists() else ""
        match = _NO_FIGURE.search(text)
        if match is not None:
            return (
                f"{name or 'stdout'} has a figure that is none: {text[max(0, match.start() - 80) : match.end() + 20]!r}"
            )
    written = Path("out.json")
    if written.exists() and written.stat().st_size:
        json.loads(written.read_bytes(), parse_constant=no_constant)
    return None


def no_constant(word: str) -> NoReturn:
    raise AssertionError(f"out.json holds {word}")


def damaged_path(kind: Kind) -> Path:
    return Path(kind.folder) / f"damaged{kind.suffix}"


def put(kind: Kind, content: bytes) -> None:
    """The file alone, without what an earlier one left beside it."""
    for name in ("damaged", "kept"):
        for left in Path().rglob(f"{name}*.*"):
            if left.is_file():
                left.unlink()
    for name, beside in kind.beside.items():
        Path(name).write_bytes(beside)
    damaged_path(kind).parent.mkdir(exist_ok=True)
    damaged_path(kind).write_bytes(content)


def faults_of(kind: Kind, random: Random, count: int) -> list[str]:
    found = []
    damages = damages_of(kind, random)
    for _ in range(count):
        damaged = next(damages)
        command = list(random.choice(kind.commands))
        # What hangs is named by what was shown last.
        print(" ".join(command), "::", damaged.damage, flush=True)
        put(kind, damaged.content)
        fault = fault_of(kind, damaged, command)
        if fault is not None:
            found.append(f"{' '.join(command)} :: {damaged.damage} :: {fault}")
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_command_takes_the_whole_file(kinds: Mapping[str, Kind], name: str) -> None:
    """Or says what it asks of a run that this one has not: so damage is what the others find."""
    kind = kinds[name]
    for command in kind.commands[:2]:
        put(kind, kind.whole())
        done = called(*(str(damaged_path(kind)) if word == FILE else word for word in command))
        assert done.exit_code in (0, 1), done.output


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_is_read_or_refused_with_its_name_and_field(kinds: Mapping[str, Kind], name: str) -> None:
    assert not faults_of(kinds[name], Random(name), FEW)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", NAMES)
def test_hundreds_of_damaged_files_are_read_or_refused_with_their_name_and_field(
    kinds: Mapping[str, Kind], name: str
) -> None:
    assert not faults_of(kinds[name], Random(f"many {name}"), MANY)


def read_as(kind: Kind, place: tuple[str | int, ...], value: Any, *command: str) -> str:
    """What a command says of a file with another value at that place; it has to refuse it."""
    changed = json.loads(kind.whole())
    holder = changed
    for part in place[:-1]:
        holder = holder[part]
    holder[place[-1]] = value
    put(kind, json.dumps(changed).encode())
    done = called(*(str(damaged_path(kind)) if word == FILE else word for word in command))
    assert done.exit_code == 2, done.output
    return done.stderr


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("results", 0, "steps", 0, "stated"), 3, "results[0].steps[0].stated has to be a mapping, and is a number"),
        (("results", 0, "workers"), True, "results[0].workers has to be a whole number, and is true or false"),
        (
            ("results", 0, "steps", 0, "attempts", 0, "ready"),
            [[]],
            "attempts[0].ready has to be a number, and is a list",
        ),
        (("results", 0, "steps", 0, "attempts", 0, "ended"), 1e300, "attempts[0].ended has to be at most 1e+09"),
        (("results", 0, "steps", 0, "attempts", 0, "ended"), 0.0, "attempts[0].ended is earlier than `started`"),
        (("results", 0, "steps", 0, "depends_on"), ["nowhere"], "steps[0].depends_on names a step that is not there"),
        (("results", 0, "steps", 0, "depends_on"), ["plan"], "steps[0] depends on itself"),
        (("results", 0, "steps", 1, "step_id"), "plan", "steps[0].step_id is the id of another step, too"),
        (("results", 0, "steps", 0, "status"), "done", "steps[0].status has to be 'waiting', "),
        (("started_at",), "yesterday", "started_at is no time"),
    ],
)
@pytest.mark.parametrize("command", [("simulate", FILE), ("report", FILE, "-o", "out.html")])
def test_a_fault_of_a_result_document_is_named_with_its_place(
    kinds: Mapping[str, Kind], place: tuple[str | int, ...], value: Any, said: str, command: tuple[str, ...]
) -> None:
    told = read_as(kinds["run document"], place, value, *command)
    assert said in told
    assert "damaged.json" in told
