"""Text for people: nothing that a step, file or model says can steer the terminal, and lines are lines."""

from __future__ import annotations

import io
from typing import Any

import pytest

from executor.model.findings import Finding
from harness.plain_text import one_line
from harness.report.terminal.console import Line, Terminal, broken_line, finding_lines, shown_value


class FakeTerminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    "text",
    [
        "\x1b[31mred\x1b[0m",
        "a\x1b]0;title\x07b",
        "bell\x07",
        "\x9b2J",
        "over\rwritten",
        "\u202egnp.exe",
        "null\x00",
        "\ud800",
    ],
)
def test_no_control_character_survives_in_a_line(text: str) -> None:
    shown = one_line(text, 60)
    assert shown.isprintable()


def test_a_terminal_sequence_leaves_its_text_alone() -> None:
    assert one_line("\x1b[1;31mred\x1b[0m and plain", 60) == "red and plain"


def test_a_text_of_several_lines_becomes_one() -> None:
    assert one_line("one\n  two\tthree\n", 60) == "one two three"


def test_a_long_text_is_cut_and_says_so() -> None:
    shown = one_line("word " * 1_000, 20)
    assert len(shown) <= 20
    assert shown.endswith("…")


def test_a_short_text_after_much_white_space_says_that_it_was_cut() -> None:
    assert one_line("a" + " " * 1_000 + "b", 20).endswith("…")


class Hostile:
    """Something whose repr must not be asked for."""

    def __repr__(self) -> str:
        raise RuntimeError("asked")


def endless() -> list[Any]:
    ring: list[Any] = []
    ring.append(ring)
    return ring


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("text", "text"),
        (None, "null"),
        ({"a": [1, 2.5, True]}, '{"a": [1, 2.5, true]}'),
        (Hostile(), '"<Hostile>"'),
        (endless(), "<list>"),
        ({"réponse": "ü"}, '{"réponse": "ü"}'),
        ({(1, 2): 3}, "<dict>"),
    ],
)
def test_an_output_of_any_kind_can_be_shown(value: Any, shown: str) -> None:
    assert shown_value(value, 60) == shown


def test_a_huge_output_is_cut_without_being_written_whole() -> None:
    assert len(shown_value(list(range(10**6)), 60)) <= 60


def test_plain_streams_get_text_without_any_escape() -> None:
    stream = io.StringIO()
    Terminal(stream, environment={"TERM": "xterm"}).write([Line("[bold]heading[/bold]", "bold"), Line("text")])
    assert stream.getvalue() == "[bold]heading[/bold]\ntext\n"


def test_a_terminal_gets_colour_and_markup_in_a_text_stays_text() -> None:
    stream = FakeTerminal()
    terminal = Terminal(stream, environment={"TERM": "xterm-256color"})
    terminal.line("[red]not markup[/red] :smile:", "bold")
    assert terminal.is_live
    assert "\x1b[1m" in stream.getvalue()
    assert "[red]not markup[/red] :smile:" in stream.getvalue()


def test_no_color_is_respected() -> None:
    stream = FakeTerminal()
    Terminal(stream, environment={"TERM": "xterm-256color", "NO_COLOR": "1"}).line("failed", "red")
    assert "31m" not in stream.getvalue()
    assert "failed" in stream.getvalue()


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {}])
def test_a_dumb_terminal_gets_plain_lines(environment: dict[str, str]) -> None:
    stream = FakeTerminal()
    terminal = Terminal(stream, environment=environment)
    terminal.line("failed", "red")
    assert not terminal.is_live
    assert stream.getvalue() == "failed\n"


def test_a_long_line_stays_whole_where_it_is_no_terminal_that_shows_it() -> None:
    stream = io.StringIO()
    Terminal(stream, environment={"TERM": "xterm"}).line("word " * 100)
    assert stream.getvalue().count("\n") == 1


def test_a_long_line_goes_on_below_between_words_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    stream = FakeTerminal()
    Terminal(stream, environment={"TERM": "xterm"}).line("  warning: " + "word " * 30)
    lines = stream.getvalue().splitlines()
    assert len(lines) > 1
    assert all(line.startswith("    word") and len(line) <= 60 for line in lines[1:])


@pytest.mark.parametrize(
    ("text", "width", "parts"),
    [
        ("  met: one two three four five six", 26, ["  met: one two three four", "    five six"]),
        ("  2. " + "abcd " * 9, 32, ["  2. abcd abcd abcd abcd abcd", "     abcd abcd abcd abcd"]),
        ("  path  " + "abcd " * 9, 32, ["  path  abcd abcd abcd abcd abcd", "        abcd abcd abcd abcd"]),
        ("  a@1  12 ms  10 % to 20 %  faster", 31, ["  a@1  12 ms  10 % to 20 %", "       faster"]),
        (
            "see https://example.org/a/long/address/here now",
            26,
            ["see", "  https://example.org/a/long/address/here", "  now"],
        ),
        (
            "  critical path     fetch 1 s → note 2 s → publish 3 s = 6 s",
            30,
            ["  critical path", "    fetch 1 s → note 2 s →", "    publish 3 s = 6 s"],
        ),
        ("  a  " + "abcd " * 9 + " b", 32, ["  a  abcd abcd abcd abcd abcd", "     abcd abcd abcd abcd", "     b"]),
        ("漢字 " * 8, 26, ["漢字 漢字 漢字 漢字 漢字", "  漢字 漢字 漢字"]),
    ],
)
def test_what_goes_on_below_stands_under_its_own_text(text: str, width: int, parts: list[str]) -> None:
    assert broken_line(text.rstrip(), width) == parts


def test_a_finding_is_shown_with_place_and_fix() -> None:
    finding = Finding("error", "cycle", "a → b → a", "remove an edge", step="a", path=("steps", 0)).at("w.yaml", 3)
    first, second = finding_lines([finding])
    assert all(part in first.text for part in ("w.yaml:3", "step 'a'", "steps[0]", "cycle", "a → b → a"))
    assert second.text == "    fix: remove an edge"
