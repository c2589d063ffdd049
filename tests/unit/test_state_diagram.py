"""The state diagram in the docs is the table in the code."""

from __future__ import annotations

from pathlib import Path

from development.documentation.state_diagram import EVENTS, mermaid, page
from executor.scheduler import TRANSITIONS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "states.md"


def test_the_page_in_the_docs_is_what_the_table_draws() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_event_of_the_table_is_explained() -> None:
    assert set(EVENTS) == {event for events in TRANSITIONS.values() for event in events}


def test_the_diagram_has_an_arrow_for_every_transition() -> None:
    arrows = sum(len(states) for events in TRANSITIONS.values() for states in events.values())
    assert mermaid().count(": ") == arrows
