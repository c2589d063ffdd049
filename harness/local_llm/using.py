"""What changes for a run that uses a local model: the endpoint, the limit, and the patience of its steps.

Rules of this module:
- ``llm.base_url: local`` is the only sign; everything else of the scenario stays as it is.
- Where the scenario declares a resource ``llm``, its capacity is at most the server's slots: more would only wait
  inside the server, where it is not seen. One that is found out (``capacity: auto``) finds that out too.
- Steps that have the kind's own retries get some that outlast a restart of the server.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from executor.model.workflow import Retry, Step
from executor.tools.llm import LlmTool
from harness.config import LOCAL, LanguageModel
from harness.local_llm.llama_server import LocalServer, ask
from harness.model_endpoint import with_model
from harness.scenario.scenario_model import Loaded

# 2 + 3 + 4.5 + 6.75 + 10 s: longer than it takes to load a model of the size that laptops run.
PATIENT_RETRY: Final = Retry(
    max_attempts=6, backoff_seconds=2.0, multiplier=1.5, max_backoff_seconds=10.0, jitter="none"
)
_RESOURCE: Final = "llm"
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


@contextmanager
def local_model(llm: LanguageModel, *, needs_name: bool = True) -> Iterator[LanguageModel]:
    """The same settings; where they ask for the local model, a server that runs as long as the block. ``needs_name``:
    a model has to be named, or to be the only one of the endpoint.

    Raises:
        LocalModelError: it cannot be had.
        ModelEndpointError: the model to ask is not named.

    """
    if llm.base_url != LOCAL:
        yield with_model(llm) if needs_name else llm
        return
    with LocalServer(llm.local) as server:
        yield llm.model_copy(
            update={
                "base_url": server.base_url,
                "api_key": SecretStr(server.key),
                "model": llm.model or server.model,
                "slots": server.slots,
            }
        )


def suited(loaded: Loaded, llm: LanguageModel) -> Loaded:
    """The loaded file as it runs on this endpoint; itself unless the endpoint says how much it does at once."""
    suitable = replace(loaded)
    return suitable if suit(suitable, llm) else loaded


def suit(loaded: Loaded, llm: LanguageModel) -> bool:
    """Let a loaded file be as it runs on this endpoint. False: nothing has to change."""
    slots = llm.slots or _slots_of(llm.base_url)
    if slots is None:
        return False
    resources = loaded.resources
    declared = resources.get(_RESOURCE)
    most = max(((step.needs or {}).get(_RESOURCE, 0) for step in loaded.graph.steps), default=0)
    is_larger = declared is not None and (declared.capacity is None or declared.capacity > slots)
    if declared is not None and is_larger and declared.auto is None and most <= slots:
        resources = {**resources, _RESOURCE: declared.model_copy(update={"capacity": slots})}
    loaded.resources = resources
    loaded.graph = replace(loaded.graph, steps=[_patient(step, loaded) for step in loaded.graph.steps])
    return True


def _patient(step: Step, loaded: Loaded) -> Step:
    declaration = loaded.tools.get(step.tool or "")
    kind = declaration.kind if declaration is not None else step.tool
    if kind != LlmTool.kind or step.retry != LlmTool.default_retry:
        return step
    return step.model_copy(update={"retry": PATIENT_RETRY})


def _slots_of(base_url: str | None) -> int | None:
    """How many requests a server on this machine answers at once, if it is one that says so."""
    if base_url is None or base_url == LOCAL:
        return None
    try:
        parts = urlsplit(base_url)
        if parts.scheme != "http" or parts.hostname not in _LOOPBACK:
            return None
        port = parts.port or 80
    except ValueError:
        return None
    properties = ask(port, "/props")
    slots = properties.get("total_slots") if isinstance(properties, dict) else None
    return slots if isinstance(slots, int) and slots > 0 else None
