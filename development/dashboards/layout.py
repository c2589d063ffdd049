"""Where panels are, and their ids: the SDK gives no ids, and lays the grid out naively.

Rules of this module:
- Panels fill a line from left to right, and start a new one where the next does not fit; a line is as high as its
  highest panel.
- Ids count from 1 in the order of the page, so that a link to a panel stays as long as nothing is put before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.models.dashboard import GridPos, Panel, RowPanel

COLUMNS: Final = 24


@dataclass(frozen=True, slots=True)
class Row:
    """A heading, and the panels below it."""

    title: str
    panels: Sequence[Panel]


def laid_out(rows: Sequence[Row]) -> list[Panel | RowPanel]:
    """All headings and panels, each with its id and its place."""
    placed: list[Panel | RowPanel] = []
    top = 0
    for row in rows:
        heading = RowPanel(title=row.title, collapsed=False, id_val=len(placed) + 1, panels=[])
        heading.grid_pos = GridPos(h=1, w=COLUMNS, x=0, y=top)
        placed.append(heading)
        top = _place(row.panels, top + 1, placed)
    return placed


def _place(panels: Sequence[Panel], top: int, placed: list[Panel | RowPanel]) -> int:
    """Place panels from there on. Answers where the next row begins."""
    left = height = 0
    for panel in panels:
        size = panel.grid_pos or GridPos(h=8, w=12)
        if left + size.w > COLUMNS:
            top, left, height = top + height, 0, 0
        panel.grid_pos = GridPos(h=size.h, w=size.w, x=left, y=top)
        panel.id_val = len(placed) + 1
        placed.append(panel)
        left += size.w
        height = max(height, size.h)
    return top + height
