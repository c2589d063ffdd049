"""Two kinds of Prometheus, and what a dashboard may ask of each.

Rules of this module:
- `own`: started as documented, written to by remote write, with exemplars and a lookback of two seconds.
- `shared`: run by others, with its default flags; it reads a text file or scrapes. Nothing may be assumed of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from harness.telemetry.telemetry_settings import Profile


@dataclass(frozen=True, slots=True)
class Dialect:
    """How queries are written for one of them.

    ``window``: Grafana's word for a span that holds at least one sample of a series that goes on. ``exemplars``:
    whether the server keeps them. ``curve_interval``: the shortest step that shows anything on a curve within a run.
    ``runs_query``: how runs are listed; where each is one sample, a range says when.
    """

    profile: Profile
    window: str
    exemplars: bool
    curve_interval: str
    runs_query: Literal["instant", "range"]


DIALECTS: Final[dict[Profile, Dialect]] = {
    "own": Dialect("own", "$__interval", exemplars=True, curve_interval="10ms", runs_query="range"),
    "shared": Dialect("shared", "$__rate_interval", exemplars=False, curve_interval="15s", runs_query="instant"),
}
