"""The history of runs, as commands open it.

Rules of this module:
- Which file: ``--store``, else the configuration's ``store.path``, else the one in the user's data folder.
- Commands that only look open it to read: a store that may not be written can still be looked at, and none is made.
- A run is worth more than its place in the history: a store that fails costs a warning. Only one that was named on the
  command line is looked at before the run, and refused there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.cli.guard import UsageFault
from harness.configured import is_configured
from harness.files.json_output import OutputError, write_json
from harness.store.run_store import Store, default_store_path
from harness.store.store_errors import StoreError

if TYPE_CHECKING:
    from harness.config import Config


def store_path(typed: str | None, config: Config) -> Path:
    """The file that is meant; there need not be one."""
    named = typed if typed is not None else config.store.path
    # Steps may change the current folder while the store is open.
    return default_store_path() if named is None else Path(named).expanduser().absolute()


def history_path(typed: str | None, config_path: str | None) -> Path:
    """The same for a command that asks for no other setting: where there is no configuration, nothing is read.

    Raises:
        WorkflowError: the configuration is wrong.

    """
    if not is_configured(config_path):
        return default_store_path() if typed is None else Path(typed).expanduser()
    from harness.config import load_config  # noqa: PLC0415 - heavy, and few configure anything

    return store_path(typed, load_config(config_path))


def store_to_read(typed: str | None, config: Config) -> AbstractContextManager[Store | None]:
    """The store, opened to read; None where none was named and there is none yet.

    Raises:
        StoreError: it cannot be read, or the one that was named is not there.

    """
    return store_at(store_path(typed, config), typed)


@contextmanager
def store_at(path: Path, typed: str | None) -> Iterator[Store | None]:
    """The store at a path. ``typed``: the path of the command line, if there was one; see :func:`store_to_read`.

    Raises:
        StoreError: it cannot be read, or the one that was named is not there.

    """
    if typed is None and not path.exists():
        yield None
        return
    with Store.open(path, read_only=True) as store:
        yield store


def check_store(typed: str | None) -> None:
    """See whether a store that was named can be used, and make it where there is none.

    Raises:
        UsageFault: it cannot.

    """
    if typed is None:
        return
    try:
        Store.open(Path(typed).expanduser()).close()
    except StoreError as error:
        raise UsageFault(f"{error}, or keep nothing with --no-store") from error


def keep_run(
    document: Mapping[str, Any], typed: str | None, config: Config, *, status: Literal["finished", "interrupted"]
) -> str | None:
    """Keep a whole run. Answers what went wrong, None if nothing did."""
    try:
        with Store.open(store_path(typed, config)) as store:
            head = {name: value for name, value in document.items() if name != "results"}
            store.finish_run(store.begin_run(head), document, status=status)
    except StoreError as error:
        return f"the run is not in the history: {error}"
    return None


def rescue(document: Mapping[str, Any]) -> str:
    """Write a result that could be kept nowhere else into the current folder. Answers what became of it."""
    target = f"makespan-{str(document['run_id'])[:12]}.json"
    try:
        write_json(document, target)
    except OutputError as error:
        return str(error)
    return f"the result is in {target!r} instead"
