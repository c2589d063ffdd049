"""Unpacks gzip as far as it goes: a file that breaks off or is damaged gives every byte up to there, and says so.

Rules of this module:
- Nothing is unpacked beyond what was asked for, so a small file that unpacks to a huge one is no danger.
- What is lost is counted where it can be: of damage in the middle the packed bytes behind it; of a file that breaks off
  nobody can tell.
"""

from __future__ import annotations

import io
import zlib
from typing import BinaryIO, Final

from harness.traces.spans.trace_model import TraceFinding

MAGIC: Final = b"\x1f\x8b"
_CHUNK_BYTES: Final = 64 << 10
# All could be unpacked, and is not what was packed.
_FALSE_SUMS: Final = ("incorrect data check", "incorrect length check")
_WITH_GZIP_HEADER: Final = 16 + zlib.MAX_WBITS


class Unpacked(io.RawIOBase):
    """What a gzip stream holds, member after member. ``damage``: what is wrong with it, as far as it was read."""

    def __init__(self, packed: BinaryIO) -> None:
        self._packed = packed
        self._pending = b""  # packed bytes that were read, and not unpacked yet
        self._taken = 0  # packed bytes that were unpacked
        self._given = 0
        self._member: zlib._Decompress | None = zlib.decompressobj(_WITH_GZIP_HEADER)
        self._in_member = False
        self._whole_members = 0
        self.damage: str | None = None

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # any writable buffer
        """Fill the buffer as far as one step goes; 0 at the end, or where it goes wrong."""
        while self._member is not None:
            if not self._pending:
                self._pending = self._packed.read(_CHUNK_BYTES)
                if self._pending and not self._without_padding():
                    continue
            was_last = not self._pending
            found = self._step(self._member, len(buffer))
            if was_last and not found:
                self._end()
            if found:
                buffer[: len(found)] = found
                self._given += len(found)
                return len(found)
        return 0

    def finding(self, name: str) -> TraceFinding | None:
        """What to say of the damage, if there is any."""
        if self.damage is None:
            return None
        effect = "what stands before that is read; what follows is missing, so that work and makespan may be too small"
        message = f"{name}: {self.damage}; unpacked are {self._given:,} bytes"
        return TraceFinding("damaged_compression", message, effect)

    def _step(self, member: zlib._Decompress, most_bytes: int) -> bytes:
        before = member.copy()
        packed = self._pending
        try:
            found = member.decompress(packed, most_bytes)
        except zlib.error as error:
            return self._up_to_damage(before, packed, most_bytes, error)
        self._in_member |= bool(packed)
        if member.eof:
            self._in_member = False
            self._whole_members += 1
            self._pending = member.unused_data
            self._without_padding()
            self._member = zlib.decompressobj(_WITH_GZIP_HEADER)
        else:
            self._pending = member.unconsumed_tail
        self._taken += len(packed) - len(self._pending)
        return found

    def _without_padding(self) -> bytes:
        """Pass over zeros between members: some pad files with them."""
        if self._whole_members and not self._in_member:
            self._pending = self._pending.lstrip(b"\0")
        return self._pending

    def _up_to_damage(self, member: zlib._Decompress, packed: bytes, most_bytes: int, error: zlib.error) -> bytes:
        """What comes out before the byte that is wrong. (zlib gives nothing of a piece in which one is.)"""
        found = bytearray()
        place = 0
        try:
            while place < len(packed) and len(found) < most_bytes:
                found += member.decompress(packed[place : place + 1], most_bytes - len(found))
                place += not member.unconsumed_tail
        except zlib.error:
            self._goes_wrong(packed, place, str(error).rpartition(": ")[2])
            return bytes(found)
        self._pending = packed[place:]  # the buffer is full before the damage
        self._member = member
        self._taken += place
        return bytes(found)

    def _goes_wrong(self, packed: bytes, place: int, reason: str) -> None:
        behind = len(packed)
        while more := self._packed.read(_CHUNK_BYTES):
            behind += len(more)
        whole, lost = self._taken + behind, behind - place
        if self._whole_members and not self._in_member:
            self.damage = f"holds {behind:,} bytes behind its compressed part that are no gzip"
        elif reason in _FALSE_SUMS:
            self.damage = f"is damaged somewhere where it is compressed ({reason}): some texts may be wrong"
        else:
            self.damage = f"is damaged where it is compressed ({reason}): {lost:,} of {whole:,} bytes are lost"
        self._taken += place
        self._member = None

    def _end(self) -> None:
        if self._in_member:
            self.damage = f"breaks off where it is compressed, after {self._taken:,} bytes"
        self._member = None
