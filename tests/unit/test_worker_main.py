"""A worker process: what it takes along when its parent is gone."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from executor.backends.pickling import NotPicklableError
from executor.backends.processes import serving

WORKER = """
import json, os, signal, subprocess, sys
from executor.backends.processes import serving, worker_main

parent = os.getppid()
serving.serve = lambda *_: True
there, requests = os.pipe()
os.write(requests, json.dumps({"parent": parent, "path": sys.path, "argv": sys.argv}).encode())
# What a step has started, and holds stdout open.
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
asked = []

def new_parent():
    asked.append(None)
    if len(asked) == 1:
        return parent
    signal.raise_signal(signal.SIGTERM)
    return 1

os.getppid = new_parent
worker_main.main(there, 1, 1, 1)
"""


def test_it_ends_its_group_also_where_it_is_told_of_its_parents_end_while_it_ends_itself() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WORKER], capture_output=True, start_new_session=True, check=False, timeout=30
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def test_a_result_that_its_parent_would_refuse_is_its_steps_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "BODY_LIMIT_BYTES", 1_000)
    assert serving.result_bytes(b"x" * 900)
    with pytest.raises(NotPicklableError, match=r"its result has 1,\d+ bytes; at most 1,000 can be sent"):
        serving.result_bytes(b"x" * 1_000)
