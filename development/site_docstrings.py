"""An extension of griffe, which reads the docstrings for the site: roles such as ``:func:`run``` become plain code.

Rules of this module:
- It is loaded by its file name (``zensical.toml``), without the rest of this folder.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":\w+:`~?(?P<name>[^`]+)`")


class RolesAsCode(griffe.Extension):
    """Rewrites each docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for every module, class, function and attribute that was read."""
        if obj.docstring is not None:
            obj.docstring.value = ROLE.sub(lambda role: f"`{role['name']}`", obj.docstring.value)
