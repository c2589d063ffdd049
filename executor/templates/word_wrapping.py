"""The filter ``wordwrap``: what Jinja2's gives, in a time that grows with the text and no faster.

``textwrap`` copies the rest of a word that is too long once for each line of it; here it is cut in one pass.
"""

from __future__ import annotations

import textwrap
from typing import Any

from jinja2 import pass_environment

from executor.templates.render_budget import refuse_size, spend


class _Wrapper(textwrap.TextWrapper):
    """Charges for each chunk, and cuts a word that is longer than many lines in one pass."""

    def _split(self, text: str) -> list[str]:
        chunks = super()._split(text)
        spend(3 * len(chunks))
        return chunks

    def _handle_long_word(self, reversed_chunks: list[str], cur_line: list[str], cur_len: int, width: int) -> None:
        chunk = reversed_chunks[-1]
        # Behind a word, white space that is too long is dropped by the caller.
        if not self.break_long_words or (cur_line and not chunk.strip()):
            super()._handle_long_word(reversed_chunks, cur_line, cur_len, width)
            return
        pieces: list[str] = []
        start, space = 0, width - cur_len
        while len(chunk) - start > space:
            # No rule looks further than one character past the end of the line.
            head, line = [chunk[start : start + space + 1]], list[str]()
            super()._handle_long_word(head, line, width - space, width)
            pieces += line
            start += sum(map(len, line))
            space = width
        spend(8 * len(pieces))
        reversed_chunks[-1:] = [chunk[start:], *reversed(pieces[1:])]
        cur_line.append(pieces[0])


@pass_environment
def wordwrap(
    environment: Any,
    s: str,
    width: int = 79,
    break_long_words: bool = True,
    wrapstring: str | None = None,
    break_on_hyphens: bool = True,
) -> str:
    """The text in lines of at most ``width`` characters; lines that it has stay lines."""
    text = str(environment.text(s))
    spend(len(text) // 2)
    wrapper = _Wrapper(
        width=width,
        expand_tabs=False,
        replace_whitespace=False,
        break_long_words=break_long_words,
        break_on_hyphens=break_on_hyphens,
    )
    end = str(environment.newline_sequence) if wrapstring is None else environment.text(wrapstring)
    lines: list[str] = []
    for line in text.splitlines():
        spend(8)
        # A line without a word is an empty one, which stays.
        lines.append(end.join(wrapper.wrap(line)))
    refuse_size("a text", sum(map(len, lines)) + len(end) * len(lines))
    return end.join(lines)
