"""The pictures of the documents: small, of the command that the text names, and with the figures of the text."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from development.documentation.picture_words import DOCUMENTS, describe, shown_words, with_words, words_of
from development.documentation.report_picture import BENCH

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"
PICTURES = sorted(IMAGES.glob("*.png"))
# A PNG of one grey pixel.
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c63600000000200015400a24d0000000049454e44ae426082"
)


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.name)
def test_each_document_says_of_a_picture_what_the_picture_says_of_itself(picture: Path) -> None:
    said = [
        words for name in DOCUMENTS for shown, words in shown_words((ROOT / name).read_text("utf-8")).items()
        if shown == picture.name
    ]  # fmt: skip
    assert said
    assert set(said) == {words_of(picture)}, "run `make pictures`"


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.name)
def test_a_picture_is_small(picture: Path) -> None:
    assert picture.stat().st_size < 300_000


def test_the_picture_of_a_report_names_the_figures_of_its_headline() -> None:
    words = words_of(IMAGES / "report.png")
    assert BENCH[2] in words
    found = re.search(r"took ([\d.]+) s, ([\d.]+)× the speed of serial \(([\d.]+) to ([\d.]+)\)", words)
    assert found is not None
    _, speedup, low, high = map(float, found.groups())
    assert low <= speedup <= high


def test_words_are_kept_within_a_picture_and_change_the_alternative_text_alone(tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    path.write_bytes(PIXEL)
    assert words_of(path) == ""
    describe(path, "1.4× – as fast [as ever]")
    assert words_of(path) == "1.4× – as fast [as ever]"
    assert struct.unpack(">II", path.read_bytes()[16:24]) == (1, 1)
    before = "text ![old](docs/one.png) and ![other](docs/two.png), [one](one.png)"
    after = with_words(before, "one.png", "new [x]")
    assert after == "text ![new (x)](docs/one.png) and ![other](docs/two.png), [one](one.png)"
    assert shown_words(after) == {"one.png": "new (x)", "two.png": "other"}


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    path.write_text("text")
    with pytest.raises(ValueError, match="is no PNG"):
        describe(path, "words")
