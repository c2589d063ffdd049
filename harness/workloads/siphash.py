"""SipHash-2-4 with a result of 64 bits: what Task Bench draws its random dependencies with.

Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012.
"""

from __future__ import annotations

from typing import Final

_MASK: Final = (1 << 64) - 1
_INITIAL: Final = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)


def siphash_2_4(message: bytes, key: bytes) -> int:
    """The hash of a message; ``key`` has 16 bytes."""
    low, high = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    state = [initial ^ half for initial, half in zip(_INITIAL, (low, high, low, high), strict=True)]
    whole = len(message) - len(message) % 8
    words = [int.from_bytes(message[place : place + 8], "little") for place in range(0, whole, 8)]
    words.append((len(message) & 0xFF) << 56 | int.from_bytes(message[whole:], "little"))
    for word in words:
        state[3] ^= word
        _mix(state, 2)
        state[0] ^= word
    state[2] ^= 0xFF
    _mix(state, 4)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def _mix(state: list[int], rounds: int) -> None:
    first, second, third, fourth = state
    for _ in range(rounds):
        first = (first + second) & _MASK
        second = _rotated(second, 13) ^ first
        first = _rotated(first, 32)
        third = (third + fourth) & _MASK
        fourth = _rotated(fourth, 16) ^ third
        first = (first + fourth) & _MASK
        fourth = _rotated(fourth, 21) ^ first
        third = (third + second) & _MASK
        second = _rotated(second, 17) ^ third
        third = _rotated(third, 32)
    state[:] = first, second, third, fourth


def _rotated(word: int, bits: int) -> int:
    return ((word << bits) | (word >> (64 - bits))) & _MASK
