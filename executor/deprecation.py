"""How what is public says that it will go: one sentence, one warning.

Rules of this module:
- The sentence names what goes, since when, when it will be gone, and what to use. Nothing goes without it.
- ``tests/unit/test_deprecation.py`` fails where something is still there in the version in which it should be gone.
"""

from __future__ import annotations

import warnings


def warn_deprecated(what: str, *, since: str, removed_in: str, instead: str, stacklevel: int = 1) -> None:
    """Warn the caller of the deprecated function; call this in its first line.

    ``what``: the name as users write it. ``since`` and ``removed_in``: versions of makespan. ``instead``: what to write
    in its place. ``stacklevel``: how many calls lie between the deprecated function and this one, counted with it.

    The warning is a :class:`DeprecationWarning`: Python shows it in scripts and in tests, not to users of a library.
    """
    message = f"{what} is deprecated since makespan {since} and will be gone in {removed_in}: use {instead}"
    warnings.warn(message, DeprecationWarning, stacklevel=stacklevel + 2)
