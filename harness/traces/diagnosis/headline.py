"""The conclusion in one line: what another schedule gains for sure, what it may gain, and what would settle it.

Rules of this module:
- Sure: with as many workers as there are spans, what is assumed holds, and what began late begins as late. It is no
  promise about limits that the trace does not show.
- Possible: the most of what is gained if no assumed edge is real and nothing held back what began late, and if a limit
  that shows were not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from harness.plain_text import counted, one_line
from harness.traces.prediction.predicted_makespans import UNLIMITED, Predictions
from harness.traces.prediction.raised_limits import Raised
from harness.traces.trace_model import ASSUMED, ForeignRun

# Less of the makespan than that is nothing.
NOTHING_RATIO: Final = 0.005
_NAME: Final = 40


@dataclass(frozen=True, slots=True)
class Headline:
    """Seconds of makespan. ``settle``: what to do to know about the rest, the most promising first."""

    sure_gain_seconds: float
    possible_gain_seconds: float
    settle: Sequence[str]


def headline_of(
    run: ForeignRun,
    makespan_seconds: float,
    predictions: Predictions,
    raised: Sequence[Raised],
    labels: Mapping[str, int],
) -> Headline:
    """The conclusion. ``labels``: how many edges of each label there are."""
    unlimited = predictions.by_workers.get(UNLIMITED)
    if unlimited is None:
        return Headline(0.0, 0.0, ())
    least = NOTHING_RATIO * makespan_seconds
    sure = _worth(makespan_seconds - unlimited.makespan_seconds, least)
    without = unlimited.without_assumed_seconds
    by_order = sure if without is None else makespan_seconds - without
    settle: list[tuple[float, str]] = []
    assumed = labels.get(ASSUMED, 0)
    if by_order > sure + least:
        if assumed:
            which = "whether the assumed edge is" if assumed == 1 else f"which of {assumed:,} assumed edges are"
            settle.append((by_order, f"say {which} real (--edges FILE: `a -> b`, `a -/> b`)"))
        if run.delays:
            settle.append((by_order, f"find out what held back {counted(len(run.delays), 'step')} that began late"))
    by_limit = 0.0
    for one in raised:
        if one.gain_seconds > max(least, by_limit):
            by_limit = one.gain_seconds
            name = one_line(one.queue.name, _NAME)
            settle = [known for known in settle if "limit" not in known[1]]
            settle.append(
                (by_limit, f"raise the limit of {one.queue.at_once} that {name!r} seems to have, and measure")
            )
    possible = _worth(max(sure, by_order, by_limit), least)
    settle.sort(key=lambda known: -known[0])
    return Headline(sure, possible, tuple(text for _, text in settle))


def _worth(seconds: float, least: float) -> float:
    return seconds if seconds >= least else 0.0
