"""How long the stand-in takes: what a step states, else a model of one. Pure.

Rules of this module:
- A stated duration is the whole duration; a streamed answer is spread evenly over it.
- Otherwise the first token comes after a log-normal time, and every further token after another, drawn from the seed:
  the shape that measured serving latencies have. The medians are those of a middling hosted model, all × scale.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence

FIRST_TOKEN_MEDIAN_SECONDS = 0.35
FIRST_TOKEN_SIGMA = 0.35
PER_TOKEN_MEDIAN_SECONDS = 0.012
PER_TOKEN_SIGMA = 0.25


def stated_offsets(total_seconds: float, pieces: int) -> list[float]:
    """When each of ``pieces`` is due, in seconds from the arrival of the request; the last one at the total."""
    return [total_seconds * (piece + 1) / pieces for piece in range(pieces)]


def modelled_offsets(seed: str, tokens_in_pieces: Sequence[int], scale: float) -> list[float]:
    """The same from the model. ``tokens_in_pieces`` says how many tokens each piece holds."""
    source = random.Random(seed)  # noqa: S311 - repeatable, not secret
    now = source.lognormvariate(math.log(FIRST_TOKEN_MEDIAN_SECONDS), FIRST_TOKEN_SIGMA)
    offsets = []
    for piece, tokens in enumerate(tokens_in_pieces):
        further = tokens - 1 if piece == 0 else tokens
        draws = (
            source.lognormvariate(math.log(PER_TOKEN_MEDIAN_SECONDS), PER_TOKEN_SIGMA)
            for _ in itertools.repeat(None, further)
        )
        now += sum(draws)
        offsets.append(now * scale)
    return offsets
