"""Unpacks gzip as far as it goes: a file that breaks off or is damaged gives every byte up to there, and a reason.

Rules of this module:
- At most one piece is unpacked ahead, so a small file that unpacks to a huge one is no danger.
- Lost bytes are counted where that is possible: behind damage in the middle the packed ones; behind a cut nobody can
  tell.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import Final

from harness.traces.trace_model import TraceFinding

MAGIC: Final = b"\x1f\x8b"
_PIECE_BYTES: Final = 64 << 10
# All could be unpacked, and is not what was packed.
_FALSE_SUMS: Final = ("incorrect data check", "incorrect length check")
_WITH_GZIP_HEADER: Final = 16 + zlib.MAX_WBITS


class Unpacked:
    """The bytes in a gzip stream, member after member. ``damage`` says what is wrong with it, as far as it was read."""

    def __init__(self, packed: Iterable[bytes]) -> None:
        self._packed = iter(packed)
        self._taken = 0  # packed bytes that were unpacked
        self.given_bytes = 0
        self.damage: str | None = None

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces():
            self.given_bytes += len(piece)
            yield piece

    def finding(self, name: str) -> TraceFinding | None:
        """The damage for a person, if there is any."""
        if self.damage is None:
            return None
        effect = "what is before that is read; what follows is missing, so that work and makespan may be too small"
        message = f"{name}: {self.damage}; unpacked are {self.given_bytes:,} bytes"
        return TraceFinding("damaged_compression", message, effect)

    def _pieces(self) -> Iterator[bytes]:
        member = zlib.decompressobj(_WITH_GZIP_HEADER)
        whole_members, in_member = 0, False
        for packed in self._packed:
            rest = packed
            while rest:
                if whole_members and not in_member:
                    unpadded = rest.lstrip(b"\0")  # some pad files with zeros between members
                    self._taken += len(rest) - len(unpadded)
                    rest = unpadded
                    if not rest:
                        break
                before = member.copy()
                try:
                    found = member.decompress(rest, _PIECE_BYTES)
                except zlib.error as error:
                    place, found = _up_to_damage(before, rest)
                    yield found
                    self._note_damage(rest, place, str(error).rpartition(": ")[2], whole_members > 0 and not in_member)
                    return
                in_member = not member.eof
                left = member.unconsumed_tail if in_member else member.unused_data
                self._taken += len(rest) - len(left)
                rest = left
                yield found
                if not in_member:
                    whole_members += 1
                    member = zlib.decompressobj(_WITH_GZIP_HEADER)
        if in_member:
            yield member.flush()
            self.damage = f"breaks off where it is compressed, after {self._taken:,} bytes"

    def _note_damage(self, packed: bytes, place: int, reason: str, behind_members: bool) -> None:
        behind = len(packed) + sum(map(len, self._packed))
        if behind_members:
            self.damage = f"holds {behind:,} bytes behind its compressed part that are no gzip"
        elif reason in _FALSE_SUMS:
            self.damage = f"is damaged somewhere where it is compressed ({reason}): some texts may be wrong"
        else:
            lost, whole = behind - place, self._taken + behind
            self.damage = f"is damaged where it is compressed ({reason}): {lost:,} of {whole:,} bytes are lost"


def _up_to_damage(member: zlib._Decompress, packed: bytes) -> tuple[int, bytes]:
    """How many bytes are sound, and what comes out of them. (zlib gives nothing of a piece in which one is wrong.)"""
    found = bytearray()
    for place in range(len(packed)):
        try:
            found += member.decompress(packed[place : place + 1])
        except zlib.error:
            return place, bytes(found)
    return len(packed), bytes(found)
