"""The comparison with peers: table and picture show the figures that were kept, and what could not be measured."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from development.documentation.peers_page import PICTURE, kept_figures, peers_table, picture

COST = {"steps": 1000, "seconds": 7e-06, "cpu_seconds": 5e-06, "run_seconds": 0.001}
HAND = {
    "name": "hand_threads", "title": "by hand", "versions": {}, "reports": "nothing", "rounds": 3,
    "costs": dict.fromkeys(("wide", "layered", "chain"), COST),
    "import_cpu_seconds": 0.018, "metg_seconds": 0.00017, "over_bound_ratio": 1.05,
}  # fmt: skip
GONE = {
    "name": "x_y",
    "title": "X | Y",
    "versions": {"x": "not installed"},
    "reports": "…",
    "failure": "is not installed: x",
}
FIGURES = {"python": "3.11.7", "cores": 2, "load_average": [0.1, 0.5], "quick": False, "peers": [HAND, GONE]}


def test_the_picture_in_the_documents_is_that_of_the_kept_figures() -> None:
    assert PICTURE.read_text(encoding="utf-8") == picture(kept_figures())


def test_a_row_has_the_figures_with_their_units_in_the_head() -> None:
    row = next(line for line in peers_table(FIGURES).splitlines() if line.startswith("| by hand"))
    assert row == "| by hand | 18.0 | 1.00 | 7.00 (5.00) | 7.00 (5.00) | 7.00 (5.00) | 0.17 | 1.05 | nothing |"


def test_a_peer_that_could_not_be_measured_has_a_row_that_says_why_and_no_bar() -> None:
    assert "is not installed: x" in peers_table(FIGURES)
    assert "X | Y" not in picture(FIGURES)


def test_what_did_not_end_in_time_is_a_dash() -> None:
    half = {**HAND, "costs": {"wide": COST}, "metg_seconds": None, "over_bound_ratio": None}
    row = next(line for line in peers_table({**FIGURES, "peers": [half]}).splitlines() if line.startswith("| by hand"))
    assert row == "| by hand | 18.0 | — | 7.00 (5.00) | — | — | — | — | nothing |"


def test_the_picture_is_whole_xml_with_a_title_for_those_who_cannot_see_it() -> None:
    root = ET.fromstring(picture(FIGURES))
    title = root.find("{http://www.w3.org/2000/svg}title")
    assert title is not None
    assert title.text == "CPU time of a step that does nothing, by peer: by hand 5.00 µs"
