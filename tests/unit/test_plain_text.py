"""Values as text for people: durations, gains, tables."""

from __future__ import annotations

import pytest

from harness.plain_text import (
    aligned,
    duration_text,
    duration_texts,
    gain_text,
    interval_text,
    remaining_text,
    some_of,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (1.70812, "1.71 s"),
        (2.1, "2.1 s"),
        (2.0, "2 s"),
        (12.34, "12.3 s"),
        (10.0, "10 s"),
        (9.996, "10 s"),
        (312, "312 s"),
        (12345.6, "12346 s"),
        (0.9996, "1 s"),
        (0.9994, "999 ms"),
        (0.34, "340 ms"),
        (0.04321, "43.2 ms"),
        (1e-5, "10 µs"),
        (5e-6, "5 µs"),
        (-0.25, "-250 ms"),
        (3e-9, "3 ns"),
    ],
)
def test_a_duration_has_three_digits_and_the_unit_that_fits(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "texts"),
    [
        ((2.14, 1.06), ["2.14 s", "1.06 s"]),
        ((2.144, 2.141), ["2.144 s", "2.141 s"]),
        ((0.2259, 0.2261), ["225.9 ms", "226.1 ms"]),
        ((1.0, 1.0), ["1 s", "1 s"]),
        ((1.0, 1.0, 1.0004), ["1 s", "1 s", "1.0004 s"]),
        ((1.000001, 1.000002), ["1 s", "1 s"]),
        ((0, 1.5), ["0 s", "1.5 s"]),
        ((), []),
    ],
)
def test_durations_side_by_side_have_more_digits_only_to_be_told_apart(
    seconds: tuple[float, ...], texts: list[str]
) -> None:
    assert duration_texts(*seconds) == texts


def test_the_ends_of_an_interval_differ_where_it_has_a_width() -> None:
    assert interval_text(1.7081, 1.7114) == "1.708 s to 1.711 s"


def test_a_gain_has_its_share_and_a_loss_is_called_one() -> None:
    assert gain_text(0.3, 1.2) == "300 ms (25%)"
    assert gain_text(-0.3, 1.2) == "300 ms longer (25%)"
    assert gain_text(0.3, 0.0) == "300 ms"
    assert gain_text(0.0, 1.2) == "nothing"
    assert gain_text(0.001, 1.2, nothing_ratio=0.005) == "nothing"


def test_columns_of_a_table_are_two_spaces_apart_and_numbers_to_the_right() -> None:
    rows = [("name", "n", ""), ("a", "10", ""), ("longer", "9", "x")]
    assert aligned(rows, right=(1,)) == ["name     n", "a       10", "longer   9  x"]


def test_a_letter_that_takes_two_columns_of_a_terminal_counts_two() -> None:
    rows = [("メール 📧", "1"), ("größe", "20")]
    assert aligned(rows, right=(1,)) == ["メール 📧   1", "größe      20"]


def test_of_many_names_some_are_shown_and_the_rest_counted() -> None:
    assert some_of(["a", "b", "c"], 3) == "a, b, c"
    assert some_of(["a", "b", "c"], 1) == "a and 2 more"


@pytest.mark.parametrize(("seconds", "text"), [(12.4, "12 s"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (-1, "0 s")])
def test_time_left_is_said_as_a_person_says_it(seconds: float, text: str) -> None:
    assert remaining_text(seconds) == text
