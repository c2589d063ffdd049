"""What a worker of our own cluster does before its first call: Dask imports this there, and calls ``dask_setup``.

Rules of this module:
- What calls need is imported then, and not while the first one waits.
- The worker is in a process group of its own: a step that ends its group does not end the nanny, which starts it again.
- Its stdout holds no line back. A worker of another's cluster is left as it is: it may be the user's own process.
"""

from __future__ import annotations

import os
from typing import Any

import executor.backends.dask.calls  # noqa: F401  # as the first line says
from executor.backends.worker_output import write_line_by_line


def dask_setup(_worker: Any) -> None:
    """Called by Dask, which knows it by its name."""
    os.setpgid(0, 0)
    write_line_by_line()
