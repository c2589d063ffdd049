"""A long list of JSON values that is kept as text: a part of the memory, and encoded once for all who write it.

Rules of this module:
- It is read like a list. An item is decoded when it is asked for, and each time anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any


class EncodedList:
    """The items, one after the other. ``texts``: the JSON of each.

    Raises:
        ValueError: a number is not finite.

    """

    def __init__(self, items: Iterable[Any]) -> None:
        self.texts = [json.dumps(item, allow_nan=False) for item in items]

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, place: int) -> Any:
        return json.loads(self.texts[place])

    def __iter__(self) -> Iterator[Any]:
        return map(json.loads, self.texts)


def items_with(name: str, items: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The items that have a field; of an :class:`EncodedList` the others are not decoded."""
    if isinstance(items, EncodedList):
        field = f"{json.dumps(name)}: "
        items = (json.loads(text) for text in items.texts if field in text)
    return (item for item in items if name in item)
