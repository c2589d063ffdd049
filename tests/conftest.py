"""No test reads or writes the history of the person who runs it, and no property fails on a slow machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

# A time limit for each example says nothing about the code on a shared machine; pytest-timeout ends what hangs.
settings.register_profile("without_deadline", deadline=None)
settings.load_profile("without_deadline")


@pytest.fixture(scope="session", autouse=True)
def own_history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield
