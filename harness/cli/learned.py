"""What earlier runs say of how long steps take, for the policy ``best`` of ``run`` and ``bench``.

Rules of this module:
- With ``--no-store`` nothing is learned. A history that cannot be read costs a warning, not the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.cli.stores import store_at, store_path
from harness.config import Config
from harness.plain_text import one_line
from harness.report.terminal.console import Terminal
from harness.scenario.scenario_model import Loaded
from harness.store.learned_durations import learned_seconds
from harness.store.store_errors import StoreError

if TYPE_CHECKING:
    from harness.simulation import Learned


def learned_from(
    typed: str | None, config: Config, faults: Terminal, *, no_store: bool, before: str | None = None
) -> Learned | None:
    """What is asked of a scenario. ``typed``: the path of the command line, if there was one. ``before``: only runs
    begun before that id's.
    """
    if no_store:
        return None

    def learned(loaded: Loaded) -> Mapping[str, float]:
        try:
            with store_at(store_path(typed, config), None) as store:
                if store is None:
                    return {}
                steps, name = len(loaded.graph.steps), loaded.scenario.scenario
                return learned_seconds(store, name, loaded.parameters, steps=steps, before=before)
        except StoreError as error:
            faults.line(f"warning: nothing is learned from earlier runs: {one_line(str(error), 400)}", "yellow")
            return {}

    return learned
