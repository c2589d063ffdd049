"""Reads a dashboard's JSON: its panels, their queries, its variables. Pure, but for :func:`read_dashboards`.

Rules of this module:
- A file that people may have edited by hand: nothing is taken for granted, and what is missing is empty.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.dashboards.dashboard_findings import Fault
from harness.files.packaged import dashboards_folder
from harness.telemetry.telemetry_settings import Profile

Dashboard = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PanelQuery:
    """One query of a panel: ``target`` is its JSON, ``place`` where it is in the panel's."""

    panel: Mapping[str, Any]
    target: Mapping[str, Any]
    place: int

    @property
    def expression(self) -> str:
        """The PromQL, with variables in it."""
        return str(self.target.get("expr", ""))

    @property
    def instant(self) -> bool:
        """Whether one moment is asked for, not a range."""
        return bool(self.target.get("instant"))


def dashboards_of(profile: Profile) -> Path:
    """The folder of a profile's JSON files."""
    return dashboards_folder() / "grafana" / profile


def read_dashboards(folder: Path) -> tuple[dict[str, Dashboard], list[Fault]]:
    """All dashboards in a folder by file name, and what could not be read."""
    found: dict[str, Dashboard] = {}
    faults: list[Fault] = []
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        try:
            document = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            faults.append(Fault(str(path), f"it cannot be read: {error}"))
            continue
        if not isinstance(document, dict):
            faults.append(Fault(str(path), "it is no dashboard: not an object"))
            continue
        found[path.name] = document
    if not found and not faults:
        faults.append(Fault(str(folder), "there is no dashboard (*.json)", "`make dashboards` makes them"))
    return found, faults


def panels_of(dashboard: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """All panels, those within collapsed rows too, but not the rows."""
    for panel in _listed(dashboard.get("panels")):
        if panel.get("type") == "row":
            yield from _listed(panel.get("panels"))
        else:
            yield panel


def all_boxes(dashboard: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Rows and panels: everything that takes a place on the grid."""
    return [*_listed(dashboard.get("panels"))]


def queries_of(dashboard: Mapping[str, Any]) -> Iterator[PanelQuery]:
    """The queries of all panels."""
    for panel in panels_of(dashboard):
        for place, target in enumerate(_listed(panel.get("targets"))):
            yield PanelQuery(panel, target, place)


def variables_of(dashboard: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The template variables."""
    templating = dashboard.get("templating")
    return _listed(templating.get("list")) if isinstance(templating, dict) else []


def annotations_of(dashboard: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The marks."""
    annotations = dashboard.get("annotations")
    return _listed(annotations.get("list")) if isinstance(annotations, dict) else []


def named(panel: Mapping[str, Any]) -> str:
    """How a panel is spoken of."""
    return f"panel {panel.get('id', '?')} {str(panel.get('title', ''))!r}"


def _listed(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
