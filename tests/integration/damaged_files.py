"""Makes damaged files out of whole ones: each field in turn removed or replaced, and bytes of the file cut and changed.

What was damaged is known, so that a test can ask for its name in what the command says.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

# Written in place of these words: what Python's encoder cannot write, or writes otherwise.
TOO_LARGE, NOT_A_NUMBER, LONG_NUMBER, DEEP = "<too large>", "<not a number>", "<long number>", "<deep>"
_AS_JSON = {
    TOO_LARGE: "1e999", NOT_A_NUMBER: "NaN", LONG_NUMBER: "1" + "0" * 5000, DEEP: "[" * 3000 + "]" * 3000,
}  # fmt: skip
# Of these the whole file cannot be read, so that no field has to be named.
UNREADABLE = frozenset(_AS_JSON)

VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, 1e-308, 10**30, 1e308, TOO_LARGE, NOT_A_NUMBER, LONG_NUMBER, DEEP,
    "", "x", "a\x07b", "\ud800", "x" * 5000, [], {}, [None], [[]], {"x": None},
)  # fmt: skip

Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Damaged:
    """A damaged file. ``field``: the name of the nearest field to the damage; None where no field was damaged, or the
    file cannot be read for it.
    """

    damage: str
    content: bytes
    field: str | None = None


def json_bytes(value: Any) -> bytes:
    """JSON, with what JSON does not have."""
    text = json.dumps(value, indent=1)
    for word, there in _AS_JSON.items():
        text = text.replace(json.dumps(word), there)
    return text.encode()


def json_lines(values: list[Any]) -> bytes:
    """A value a line."""
    return b"\n".join(json_bytes(value).replace(b"\n", b"") for value in values) + b"\n"


def _places(value: Any, at: Place = ()) -> Iterator[Place]:
    """Every place in a value but for the whole; of each list the first and the last item, as the others are alike."""
    members: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        members = list(value.items())
    elif isinstance(value, list):
        members = [(place, value[place]) for place in sorted({0, len(value) - 1})] if value else []
    for key, held in members:
        yield (*at, key)
        yield from _places(held, (*at, key))


def damaged_fields(value: Any, random: Random) -> Iterator[tuple[str, str | None, Any]]:
    """(what was done, the nearest field, the value with one damage): all there are, in a random order."""
    work = [
        (place, how, new)
        for place in _places(value)
        for how, new in [*(("set to", new) for new in VALUES), ("removed", None), ("renamed", None), ("doubled", None)]
    ]
    random.shuffle(work)
    for place, how, new in work:
        changed = copy.deepcopy(value)
        holder = changed
        for part in place[:-1]:
            holder = holder[part]
        key = place[-1]
        if how == "set to":
            holder[key] = new
        elif how == "removed":
            del holder[key]
        elif isinstance(holder, list):
            holder.insert(0, copy.deepcopy(holder[key]))
        else:
            holder[f"{key}x"] = copy.deepcopy(holder[key]) if how == "doubled" else holder.pop(key)
        unreadable = isinstance(new, str) and new in UNREADABLE
        # Without an item, or with it twice, the list is whole.
        is_list_whole = isinstance(key, int) and how != "set to"
        field = None if is_list_whole else next((part for part in reversed(place) if isinstance(part, str)), None)
        shown = f"{'.'.join(map(str, place))} {how}" + (f" {str(new)[:20]!r}" if how == "set to" else "")
        yield shown, None if unreadable else field, changed


def damaged_bytes(content: bytes, random: Random) -> Iterator[Damaged]:
    """One damage of bytes after the other, without an end."""
    found = [
        Damaged("empty", b""),
        Damaged("white space", b" \n\t\n"),
        Damaged("with a mark of its encoding", b"\xef\xbb\xbf" + content),
        Damaged("as UTF-16", content.decode("utf-8", "replace").encode("utf-16")),
        Damaged("with the line ends of Windows", content.replace(b"\n", b"\r\n")),
        Damaged("with the line ends of old Macs", content.replace(b"\n", b"\r")),
        Damaged("zeros", bytes(len(content))),
        Damaged("twice", content * 2),
        Damaged("100,000 brackets", b"[" * 100_000),
    ]
    random.shuffle(found)
    yield from found
    for number in itertools.count():
        at = random.randrange(len(content))
        end = at + random.randrange(1, 40)
        flipped = bytes([content[at] ^ (1 << random.randrange(8))])
        yield (
            Damaged(f"cut at {at}", content[:at]),
            Damaged(f"byte {at} flipped", content[:at] + flipped + content[at + 1 :]),
            Damaged(f"without bytes {at} to {end}", content[:at] + content[end:]),
            Damaged(f"bytes {at} to {end} twice", content[:end] + content[at:]),
        )[number % 4]
