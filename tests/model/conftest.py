"""The model that `makespan llm install` has brought for the user who runs the tests.

It is looked for before the tests get a data folder of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.config import LocalModel
from harness.local_llm import LocalModelError, LocalServer
from harness.local_llm.files import find_program, find_weights
from tests.integration.calling import folder
from tests.model.home import home_with_model

__all__ = ["folder"]


def pytest_sessionstart() -> None:
    """Say once what is missing, instead of an error for each test."""
    try:
        find_program()
        find_weights()
    except LocalModelError as error:
        pytest.exit(f"These tests need a real model: {error}. To get it: {error.fix}", returncode=1)


@pytest.fixture(scope="session")
def model_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the installed model and nothing else."""
    return home_with_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session", autouse=True)
def own_history(model_home: Path) -> Iterator[None]:
    """As everywhere, no test touches the history of the user who runs it; here the model is there as well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(model_home))
        yield


@pytest.fixture
def with_model(model_home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a user who has the model."""
    monkeypatch.setenv("XDG_DATA_HOME", str(model_home))
    return folder


@pytest.fixture(scope="session")
def server() -> Iterator[LocalServer]:
    """One server for the tests that share it."""
    with LocalServer(LocalModel(slots=2, max_tokens=24)) as running:
        yield running
