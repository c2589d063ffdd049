"""What a picture shows, in words: kept within its PNG, and as the alternative text in the documents that show it.

Rules of this module:
- The words are read from the page that is photographed, at that moment: text, picture and figures cannot differ.
- A document names a picture once; nothing but that alternative text is changed in it.
"""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
# The documents that show pictures of a browser.
DOCUMENTS: Final = ("README.md", "docs/how-to/dashboards.md")
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_KEYWORD: Final = b"Description"
# After the keyword: not compressed, no language, no translated keyword (PNG 1.2, iTXt).
_HEAD: Final = _KEYWORD + b"\0\0\0\0\0"


def describe(picture: Path, words: str) -> None:
    """Keep the words within the PNG, and in each document that shows it.

    Raises:
        ValueError: it is no PNG.

    """
    content = picture.read_bytes()
    if not content.startswith(_SIGNATURE):
        raise ValueError(f"{picture} is no PNG")
    # After the header, which has 13 bytes of data.
    place = len(_SIGNATURE) + 12 + 13
    picture.write_bytes(content[:place] + _chunk(b"iTXt", _HEAD + words.encode()) + content[place:])
    for name in DOCUMENTS:
        document = ROOT / name
        document.write_text(with_words(document.read_text("utf-8"), picture.name, words), "utf-8")


def words_of(picture: Path) -> str:
    """What the PNG says of itself; empty if nothing."""
    content = picture.read_bytes()
    place = len(_SIGNATURE)
    while place < len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        kind, data = content[place + 4 : place + 8], content[place + 8 : place + 8 + length]
        if kind == b"iTXt" and data.startswith(_HEAD):
            return data[len(_HEAD) :].decode()
        place += 12 + length
    return ""


def with_words(markdown: str, name: str, words: str) -> str:
    """The document with these words as the alternative text of the picture of that name."""
    safe = words.replace("[", "(").replace("]", ")")
    return re.sub(rf"!\[[^\]]*\](\([^)]*\b{re.escape(name)}\))", lambda found: f"![{safe}]{found[1]}", markdown)


def shown_words(markdown: str) -> dict[str, str]:
    """The alternative text of each PNG that the document shows, by the picture's name."""
    return {Path(address).name: words for words, address in re.findall(r"!\[([^\]]*)\]\(([^)]*\.png)\)", markdown)}


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
