"""Plots in characters."""

from __future__ import annotations

import pytest

from harness.report.terminal.plots import (
    Bar,
    bar_lines,
    concurrency_line,
    concurrency_per_column,
    lost_time_lines,
    sparkline,
    speedup_lines,
)
from tests.unit.reporting import Drawing, fork_join, matrix, nested


def test_a_sparkline_has_one_sign_a_value_and_shows_every_value_above_zero():
    assert sparkline([0, 0.001, 4, 8]) == " ▁▄█"
    assert sparkline([0, 0.001, 4, 8], ascii_only=True) == " .=%"
    assert sparkline([]) == ""
    assert sparkline([0, 0]) == "  "


def test_concurrency_is_the_mean_of_each_column():
    assert concurrency_per_column(fork_join(), 8) == [1, 1, 1.5, 1, 2, 1, 1, 1]
    assert concurrency_per_column(fork_join(), 1) == pytest.approx([9.5 / 8])


def test_blocked_time_is_not_running():
    assert concurrency_per_column(nested(), 6) == [1, 2, 2, 1, 1, 1]


def test_the_columns_together_hold_the_work_however_many_there_are():
    for columns in (1, 3, 7, 60, 1000):
        assert sum(concurrency_per_column(fork_join(), columns)) * 8 / columns == pytest.approx(9.5)


def test_a_run_without_length_has_an_empty_line():
    assert concurrency_per_column(Drawing().timeline(), 4) == [0, 0, 0, 0]
    assert concurrency_line(Drawing().timeline(), 4) == "     0 to 0 s, at most 0 of 2 workers busy"


def test_the_concurrency_line_says_its_scale():
    assert concurrency_line(fork_join(), 8) == "▄▄▆▄█▄▄▄ 0 to 8 s, at most 2 of 2 workers busy"


def test_bars_are_on_one_scale_and_no_line_is_wider_than_asked():
    lines = bar_lines([Bar("one", 1, "1.00×"), Bar("a\x1b" + "long" * 20, 4, "4.00×")], 60)
    assert max(map(len, lines)) <= 60
    assert lines[1].count("█") == pytest.approx(4 * lines[0].count("█"), abs=4)
    assert "\x1b" not in lines[1]


def test_a_plot_for_a_plain_terminal_is_ascii():
    for line in (*bar_lines([Bar("µ…", 1, "1.00×")], ascii_only=True), concurrency_line(fork_join(), ascii_only=True)):
        assert line.isascii()


def test_speedups_stand_with_their_intervals():
    lines = speedup_lines(matrix()["results"], 70)
    assert len(lines) == 5
    assert lines[2].startswith("threads@4")
    assert lines[2].endswith("2.00× (1.90 to 2.10)")


def test_only_parameters_that_vary_stand_in_the_names():
    results = [
        {**one, "parameters": {"scale": 0.1, "n": number}}
        for number in (1, 2) for one in matrix()["results"]
    ]  # fmt: skip
    lines = speedup_lines(results, 90)
    assert [line.split("  ")[0] for line in lines if line.startswith("threads@4")] == ["threads@4 n=1", "threads@4 n=2"]


def test_lost_time_has_shares_and_no_bar_below_zero():
    lines = lost_time_lines({"running": 3.0, "worker": 1.5, "slowdown": -0.5}, 60)
    assert lines[1].endswith("1.5 s (38 %)")
    assert lines[2].split() == ["slowdown", "-500", "ms", "(-12.5", "%)"]
