"""Options of an executor, from the command line to its class."""

from __future__ import annotations

from pathlib import Path

import pytest

from executor.backends import BackendError, make_backend
from executor.model.findings import WorkflowError
from harness.benchmark import MatrixRequest, build_matrix
from harness.config import Config
from tests.integration.calling import called, folder

__all__ = ["folder"]


def test_a_backend_takes_the_options_of_its_class_and_no_others() -> None:
    assert make_backend("threads", 3).capacity == 3
    with pytest.raises(BackendError, match="executor 'threads' has no option 'address': it has none"):
        make_backend("threads", 3, {"address": "tcp://127.0.0.1:1"})
    with pytest.raises(BackendError, match="no option 'adress': it has address"):
        make_backend("dask", 3, {"adress": "tcp://127.0.0.1:1"})
    # What is no text is not offered.
    with pytest.raises(BackendError, match="no option 'behaviour'"):
        make_backend("virtual", 3, {"behaviour": "x"})


@pytest.mark.slow
def test_an_option_reaches_the_executor_that_has_it(folder: Path) -> None:
    done = called(
        "run", "joke.yaml", "--executor", "dask", "--workers", "2", "--backend-option", "address=tcp://127.0.0.1:9"
    )
    assert done.exit_code == 2
    assert "tcp://127.0.0.1:9" in done.output
    assert "Traceback" not in done.output


def test_the_configuration_holds_options_of_executors(folder: Path) -> None:
    (folder / "config.yaml").write_text("backend_options: {ray: {address: '127.0.0.1:9'}}\n", encoding="utf-8")
    done = called("run", "joke.yaml", "--executor", "ray")
    assert done.exit_code == 2
    assert "no Ray answers at 127.0.0.1:9" in done.output
    done = called("run", "joke.yaml", "--executor", "ray", "--backend-option", "address=127.0.0.1:10")
    assert "no Ray answers at 127.0.0.1:10" in done.output
    assert called("run", "joke.yaml").exit_code == 0
    done = called("bench", "joke.yaml", "--executor", "ray", "--repetitions", "1")
    assert done.exit_code == 2
    assert "no Ray answers at 127.0.0.1:9" in done.output


def test_an_option_that_no_executor_has_is_refused(folder: Path) -> None:
    done = called("run", "joke.yaml", "--backend-option", "address=x")
    assert done.exit_code == 2
    assert "has no option 'address'" in done.output
    done = called("run", "joke.yaml", "--backend-option", "address")
    assert "--backend-option 'address': write NAME=VALUE" in done.output
    with pytest.raises(WorkflowError, match="no executor that is asked for has an option 'port'"):
        build_matrix(
            [folder / "joke.yaml"], MatrixRequest(executors=("threads",), backend_options={"port": "1"}), Config()
        )


def test_executors_are_listed_with_their_options() -> None:
    assert "--backend-option address=tcp://HOST:PORT" in called("executors").stdout
