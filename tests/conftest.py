"""For all tests: none reads or writes the history of the person who runs it, none fails because the machine is slow,
those that may take long begin first, and the run says at its end what did not run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.missing import said_at_the_end

# A machine that does something else at the same time is no fault of the code: no example has a time limit.
settings.register_profile("makespan", settings.default, deadline=None)
settings.load_profile("makespan")


@pytest.fixture(scope="session", autouse=True)
def own_history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield


def limit_seconds(item: pytest.Item) -> float:
    """How long a test may take: what its mark ``timeout`` says, where 0 is no limit, else what holds for all."""
    mark = item.get_closest_marker("timeout")
    return float(mark.args[0] if mark else item.config.getini("timeout")) or math.inf


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put those that have longer limits than others first, so that none of them begins when the others are done."""
    items.sort(key=limit_seconds, reverse=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.getreports("skipped")
    reasons = [report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr) for report in skipped]
    for line in said_at_the_end(reasons):
        terminalreporter.write_line(line, yellow=True)
