"""Modules that the workers of a Dask cluster lack, sent along with a run (``--backend-option files=…``).

Rules of this module:
- Dask's own plugin for it: workers that come later get them, too.
- A folder travels as a zip file; nothing is written to where it lies.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from distributed.diagnostics.plugin import UploadFile

from executor.backends.file_lists import listed_files

SUFFIXES = (".py", ".zip", ".egg", ".whl")


class ShippedFiles:
    """``files``: paths with commas between.

    Raises:
        BackendError: one is not there, or is nothing that Python imports from.
    """

    def __init__(self, files: str) -> None:
        self._paths = listed_files(files, "dask", SUFFIXES)

    def send(self, client: Any) -> None:
        """Send them to all workers, and to those that come while the client is there."""
        for path in self._paths:
            with tempfile.TemporaryDirectory() as folder:
                sent = path
                if path.is_dir():
                    archive = shutil.make_archive(str(Path(folder) / path.name), "zip", path.parent, path.name)
                    sent = Path(archive)
                client.register_plugin(UploadFile(str(sent)), name=f"makespan-{client.id}-{path.name}")
