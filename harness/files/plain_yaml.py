"""What most YAML files hold, read in the fewest steps: a mapping without tags, anchors, merges and faults.

Rules of this module:
- What it reads is what :mod:`harness.files.strict_yaml` would read. All else is for that: it knows all of YAML, and
  the line of everything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import yaml

from harness.files.tree_builder import DEPTH_LIMIT, SURROGATE, plain_scalar

# libyaml reads some ten times faster; PyYAML is sometimes built without it.
LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class UnusualError(Exception):
    """There is something in a file that is not read here."""


def plain_mapping(text: str) -> tuple[dict[str, Any], int]:
    """The data, and the line (from 1) where it begins.

    Raises:
        UnusualError, yaml.YAMLError, ScalarError: it is not what is read here.

    """
    reading = _Reading()
    handlers: dict[type, Callable[[Any], None]] = {
        yaml.ScalarEvent: reading.scalar,
        yaml.MappingStartEvent: reading.open_mapping,
        yaml.SequenceStartEvent: reading.open_list,
        yaml.MappingEndEvent: reading.close,
        yaml.SequenceEndEvent: reading.close,
        yaml.AliasEvent: reading.alias,
        yaml.DocumentStartEvent: reading.begin,
        yaml.DocumentEndEvent: reading.end,
        yaml.StreamStartEvent: reading.end,
        yaml.StreamEndEvent: reading.end,
    }
    for event in yaml.parse(text, Loader=LOADER):
        handlers[type(event)](event)
    if not reading.line:
        raise UnusualError
    return reading.root, reading.line


class _Reading:
    """Takes events in their order."""

    __slots__ = ("_above", "_inner", "_key", "_words", "line", "root")

    def __init__(self) -> None:
        self.root: dict[str, Any] = {}
        self.line = 0
        self._above: list[Any] = []
        self._inner: Any = None
        self._key: str | None = None
        # Keys and names come again and again: one object each.
        self._words: dict[str, Any] = {}

    def scalar(self, event: Any) -> None:
        """A value or a key."""
        if event.tag is not None or event.anchor is not None:
            raise UnusualError
        value = event.value
        if event.implicit[0]:
            words = self._words
            if value in words:
                value = words[value]
            else:
                value = words[value] = plain_scalar(value)
        elif not value.isascii() and SURROGATE.search(value):
            raise UnusualError
        inner = self._inner
        if type(inner) is list:
            inner.append(value)
        elif self._key is not None:
            inner[self._key] = value
            self._key = None
        elif inner is None or type(value) is not str or value in inner or value == "<<":
            raise UnusualError
        else:
            self._key = value

    def open_mapping(self, event: Any) -> None:
        """A mapping begins."""
        self._open(event, {})

    def open_list(self, event: Any) -> None:
        """A list begins."""
        self._open(event, [])

    def _open(self, event: Any, new: Any) -> None:
        if event.tag is not None or event.anchor is not None or len(self._above) >= DEPTH_LIMIT:
            raise UnusualError
        inner = self._inner
        if type(inner) is list:
            inner.append(new)
        elif self._key is not None:
            inner[self._key] = new
            self._key = None
        elif inner is None and type(new) is dict:
            self.root, self.line = new, event.start_mark.line + 1
        else:
            raise UnusualError
        self._above.append(inner)
        self._inner = new

    def close(self, _event: Any) -> None:
        """The innermost one ends."""
        self._inner = self._above.pop()

    def begin(self, _event: Any) -> None:
        """A document begins, of which there is one."""
        if self.line:
            raise UnusualError

    def alias(self, _event: Any) -> None:
        """What was anchored, again."""
        raise UnusualError

    def end(self, _event: Any) -> None:
        """Nothing is to be done."""
