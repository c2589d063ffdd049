"""The comparison with makespan's peers, from the figures that ``make bench-peers`` kept: table and picture. Pure.

Rules of this module:
- Nothing is measured here. Both show the same figures, and a test holds that.
- A peer that could not be measured has a row that says why, and no bar.
- The picture is read in light and in dark surroundings: it has its own ground, and the reader's scheme chooses.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any, Final

from development.documentation.markdown import Parts, table

FIGURES: Final = Path(__file__).with_name("peers_figures.json")
PICTURE: Final = Path(__file__).parents[2] / "docs" / "images" / "peers.svg"
_HEAD: Final = (
    "peer", "import, CPU ms", "a run beside its steps, ms",
    "wide, µs a step (CPU)", "layered, µs a step (CPU)", "chain, µs a step (CPU)",
    "METG(50 %), ms", "makespan ÷ bound", "what it reports of a run",
)  # fmt: skip
_WIDTH: Final = 900
_LEFT: Final = 320
_RIGHT: Final = 800
_ROW: Final = 24
_TOP: Final = 62
_STYLE: Final = """
    text { font: 13px system-ui, sans-serif; fill: #1f2328 }
    .ground { fill: #ffffff } .line { stroke: #d1d9e0 } .quiet { fill: #59636e }
    .head { font-size: 16px; font-weight: 600 }
    .ours { fill: #1a7f37 } .hand { fill: #59636e } .peer { fill: #2f6fb3 } .bold { font-weight: 600 }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc } .ground { fill: #0d1117 } .line { stroke: #3d444d } .quiet { fill: #9198a1 }
      .ours { fill: #3fb950 } .hand { fill: #9198a1 } .peer { fill: #4493f8 }
    }
"""


def kept_figures() -> Mapping[str, Any]:
    """What was measured last."""
    found: Mapping[str, Any] = json.loads(FIGURES.read_text(encoding="utf-8"))
    return found


def peers_table(figures: Mapping[str, Any]) -> str:
    """The table, with a line on where it was measured."""
    low, high = figures["load_average"]
    where = (
        f"Python {figures['python']}, {figures['cores']} cores, load average {low:g} to {high:g} while it was measured"
        f"{', quick mode' if figures['quick'] else ''}."
    )
    return f"{where}\n\n{table(_HEAD, [_row(peer) for peer in figures['peers']])}"


def _row(peer: Mapping[str, Any]) -> tuple[str, ...]:
    versions = " ".join(sorted(set(peer["versions"].values())))
    title = f"{peer['title']} {versions}".strip()
    if "failure" in peer:
        return (title, peer["failure"], *["—"] * 6, peer["reports"])
    costs = [_cost(peer["costs"].get(graph)) for graph in ("wide", "layered", "chain")]
    metg = peer["metg_seconds"]
    ratio = peer["over_bound_ratio"]
    return (
        title,
        "—" if peer["import_cpu_seconds"] is None else _number(peer["import_cpu_seconds"] * 1e3),
        "—" if "layered" not in peer["costs"] else _number(peer["costs"]["layered"]["run_seconds"] * 1e3),
        *costs,
        "—" if metg is None else _number(metg * 1e3),
        "—" if ratio is None else f"{ratio:.2f}",
        peer["reports"],
    )


def _cost(cost: Mapping[str, float] | None) -> str:
    """Wall time, and CPU time in brackets."""
    return "—" if cost is None else f"{_number(cost['seconds'] * 1e6)} ({_number(cost['cpu_seconds'] * 1e6)})"


def _number(value: float) -> str:
    """Three digits."""
    if value >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def picture(figures: Mapping[str, Any]) -> str:
    """The CPU time of a step of the layered graph, as bars on a logarithmic axis: other programs disturb it less."""
    peers = [
        (peer, peer["costs"]["layered"]["cpu_seconds"])
        for peer in figures["peers"]
        if "layered" in peer.get("costs", {})
    ]
    peers.sort(key=lambda one: one[1])
    lowest = math.floor(math.log10(min(seconds for _, seconds in peers)))
    highest = math.ceil(math.log10(max(seconds for _, seconds in peers)))
    height = _TOP + _ROW * len(peers) + 40

    def place(logarithm: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * (logarithm - lowest) / (highest - lowest)

    parts = [
        '<text class="head" x="16" y="26">CPU time of a step that does nothing</text>',
        '<text class="quiet" x="16" y="46">all its processes; layered graph, two parents each; log axis</text>',
    ]
    bottom = _TOP + _ROW * len(peers)
    for power in range(lowest, highest + 1):
        x = f"{place(power):.1f}"
        parts.append(f'<line class="line" x1="{x}" y1="{_TOP}" x2="{x}" y2="{bottom}"/>')
        parts.append(f'<text class="quiet" x="{x}" y="{bottom + 18}" text-anchor="middle">{_power(power)}</text>')
    for number, (peer, seconds) in enumerate(peers):
        y = _TOP + _ROW * number
        kind = peer["name"].split("_")[0]
        shade = {"makespan": "ours", "hand": "hand"}.get(kind, "peer")
        bold = ' class="bold"' if shade == "ours" else ""
        end = place(math.log10(seconds))
        parts += [
            f'<text{bold} x="{_LEFT - 8}" y="{y + 16}" text-anchor="end">{escape(peer["title"])}</text>',
            f'<rect class="{shade}" x="{_LEFT}" y="{y + 4}" width="{max(1.0, end - _LEFT):.1f}" height="{_ROW - 8}"/>',
            f'<text{bold} x="{end + 6:.1f}" y="{y + 16}">{_duration(seconds)}</text>',
        ]
    title = "CPU time of a step that does nothing, by peer: " + ", ".join(
        f"{peer['title']} {_duration(seconds)}" for peer, seconds in peers
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">\n'
        f"  <title>{escape(title)}</title>\n  <style>{_STYLE}  </style>\n"
        f'  <rect class="ground" width="{_WIDTH}" height="{height}" rx="6"/>\n  ' + "\n  ".join(parts) + "\n</svg>\n"
    )


def _power(power: int) -> str:
    return f"{10 ** (power + 6):,} µs" if power < -3 else f"{10 ** (power + 3):,} ms" if power < 0 else f"{10**power} s"


def _duration(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{_number(seconds * 1e6)} µs"
    return f"{_number(seconds * 1e3)} ms" if seconds < 1 else f"{_number(seconds)} s"


PARTS: Final[Parts] = {"peers": lambda: peers_table(kept_figures())}
