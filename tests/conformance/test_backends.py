"""Every backend of ours keeps the facts of the suite, or says in one table what it cannot do."""

from __future__ import annotations

from harness.testing.conformance_backend import BackendConformance


class TestSerial(BackendConformance):
    backend = "serial"


class TestThreads(BackendConformance):
    backend = "threads"


class TestAsyncio(BackendConformance):
    backend = "asyncio"


class TestProcesses(BackendConformance):
    backend = "processes"


class TestVirtual(BackendConformance):
    backend = "virtual"
