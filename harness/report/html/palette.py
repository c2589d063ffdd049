"""What a second of a run can be, and how each kind looks: a colour, a pattern and a letter.

Rules of this module:
- Colours are those of Okabe and Ito (2008), which people with any colour vision can distinguish. Colour is never the
  only sign: each kind also has a pattern and a letter.
- The style sheet holds the colours (``--running`` and so on, light and dark); here are only names.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Kind(NamedTuple):
    """``key`` is the part of a cause before the dot; ``hatch`` names a pattern; ``letter`` is in a bar."""

    key: str
    letter: str
    hatch: str
    meaning: str


KINDS: Final = (
    Kind("running", "", "solid", "running"),
    Kind("worker", "W", "diagonal", "waiting for a free worker"),
    Kind("resource", "R", "backward", "waiting for units of a resource"),
    Kind("rate", "P", "dots", "waiting for a rate (its pace)"),
    Kind("lock", "L", "cross", "waiting for a state that another step holds"),
    Kind("backoff", "B", "horizontal", "waiting before another attempt"),
    Kind("barrier", "G", "vertical", "waiting at a barrier (its gate)"),
    Kind("resuming", "S", "sparse", "waiting to go on after a nested call"),
    Kind("blocked", "N", "ring", "waiting for its own nested calls"),
    Kind("overhead", "O", "dense", "overhead between steps"),
    Kind("arrival", "A", "wide", "before the step was added"),
    Kind("slowdown", "X", "plus", "running slower than alone"),
)
KIND_KEYS: Final = tuple(kind.key for kind in KINDS)
_OTHER: Final = KIND_KEYS.index("overhead")


def kind_of(cause: str) -> int:
    """The place in ``KINDS`` of a cause such as ``resource.llm``; an unknown one looks like overhead."""
    key = cause.partition(".")[0]
    return KIND_KEYS.index(key) if key in KIND_KEYS else _OTHER


# 8 × 8 tiles as SVG paths: "s" is stroked, "f" filled. The script draws the same paths on the canvas.
HATCHES: Final[dict[str, tuple[str, str]]] = {
    "solid": ("", ""),
    "diagonal": ("s", "M-2 6 L2 10 M-2 -2 L10 10 M6 -2 L10 2"),
    "backward": ("s", "M-2 2 L2 -2 M-2 10 L10 -2 M6 10 L10 6"),
    "dots": ("f", "M1 1h2v2h-2z M5 5h2v2h-2z"),
    "cross": ("s", "M-1 -1 L9 9 M9 -1 L-1 9"),
    "horizontal": ("s", "M0 2 H8 M0 6 H8"),
    "vertical": ("s", "M2 0 V8 M6 0 V8"),
    "sparse": ("s", "M0 4 H4"),
    "ring": ("s", "M4 1.5 A2.5 2.5 0 1 1 3.99 1.5"),
    "dense": ("f", "M0 0h1v1h-1zM4 0h1v1h-1zM2 2h1v1h-1zM6 2h1v1h-1zM0 4h1v1h-1zM4 4h1v1h-1zM2 6h1v1h-1zM6 6h1v1h-1z"),
    "wide": ("s", "M4 0 V8"),
    "plus": ("s", "M4 1 V7 M1 4 H7"),
}  # fmt: skip
