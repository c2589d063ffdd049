"""Whether a Dask scheduler runs at an address, and one of the version that is installed here: asked before Dask's
client joins it, since between versions that differ it breaks in ways that name no version.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

from distributed.core import rpc
from distributed.security import Security

from executor.backends.base import BackendError

HERE = version("distributed")
ANSWER_SECONDS = 5


def must_be_a_scheduler(address: str, seconds: float) -> None:
    """Raises BackendError: none answers within ``seconds``, or it has another version (but for the last number)."""
    try:
        # Dask would go on trying where nobody listens.
        host, _, port = address.rpartition("://")[2].rstrip("/").rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS):
            pass
        # In a thread, since this one may have an event loop.
        with ThreadPoolExecutor(1, thread_name_prefix="makespan-dask") as thread:
            found = thread.submit(asyncio.run, _versions(address, seconds)).result()
        there = str(dict(found["packages"])["distributed"])
    except (OSError, ValueError, OverflowError, TimeoutError) as error:
        said = str(error) or f"nothing was heard within {seconds:g} s"
        raise BackendError(f"dask: no scheduler answers at {address}: {said}") from error
    except Exception as error:
        raise BackendError(f"dask: what answers at {address} is no Dask scheduler: {error}") from error
    if there.split(".")[:2] != HERE.split(".")[:2]:
        raise BackendError(
            f"dask: the scheduler at {address} has distributed {there}, here is {HERE}: install the same version on "
            "the scheduler, the workers and here"
        )


async def _versions(address: str, seconds: float) -> Any:
    words = Security().get_connection_args("client")  # type: ignore[no-untyped-call]  # Dask has few types
    async with asyncio.timeout(seconds):
        async with rpc(address, connection_args=words) as scheduler:  # type: ignore[no-untyped-call]  # as above
            return await scheduler.versions()
