"""Computing in pure Python that keeps one core busy: the work of ``cpu_bound``.

Rules of this module:
- The same arguments give the same answer; nothing is cached, so that every repetition computes.
- No extension module releases the interpreter lock: processes can run this side by side, threads cannot.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def count_primes(first: int, count: int) -> dict[str, int]:
    """Count the primes among ``count`` numbers from ``first`` on, by trial division.

    Takes time in proportion to ``count`` and, nearly, to the square root of ``first``: equally long ranges of the same
    order of magnitude cost about the same.

    Raises:
        ValueError: ``first`` is less than 2, or ``count`` is negative.

    """
    first, count = int(first), int(count)
    if first < 2 or count < 0:
        raise ValueError(f"needs first >= 2 and count >= 0, got first={first} and count={count}")
    primes = sum(1 for number in range(first, first + count) if _is_prime(number))
    return {"first": first, "count": count, "primes": primes}


def _is_prime(number: int) -> bool:
    if number % 2 == 0:
        return number == 2
    divisor = 3
    while divisor * divisor <= number:
        if number % divisor == 0:
            return False
        divisor += 2
    return True


def total(counts: Sequence[Any]) -> dict[str, int]:
    """Add up what the ranges counted. Numbers may be text, as templates render them."""
    return {"ranges": len(counts), "primes": sum(int(count) for count in counts)}
