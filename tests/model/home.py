"""Where `makespan llm install` has put the model, and a data folder with that and nothing else."""

from __future__ import annotations

from pathlib import Path

from harness.local_llm.files import data_folder

# Read as the tests are collected: afterwards they have a data folder of their own.
INSTALLED = data_folder()


def home_with_model(folder: Path) -> Path:
    """The folder, as the data folder of a user who has the model and no history."""
    (folder / "makespan").mkdir()
    (folder / "makespan" / "llm").symlink_to(INSTALLED)
    return folder
