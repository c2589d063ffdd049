"""Values as typed on the command line."""

from __future__ import annotations

import pytest

from harness.cli.guard import UsageFault
from harness.cli.typed_values import one_of, read_names, read_parameters, read_time, read_width, read_workers


def test_lists_may_be_given_with_commas_or_again_and_again() -> None:
    assert read_names(["a, b", "c", "a"]) == ("a", "b", "c")
    assert read_workers(["2,4", "4", "8"]) == (2, 4, 8)


@pytest.mark.parametrize(("typed", "share"), [("5%", 0.05), ("0.05", 0.05), (" 12.5 % ", 0.125), ("100%", 1.0)])
def test_a_width_is_a_share(typed: str, share: float) -> None:
    assert read_width(typed) == pytest.approx(share)


@pytest.mark.parametrize(("typed", "seconds"), [("60s", 60), ("60", 60), ("1.5min", 90), ("2h", 7200), ("250ms", 0.25)])
def test_a_time_has_a_unit_or_is_in_seconds(typed: str, seconds: float) -> None:
    assert read_time(typed) == pytest.approx(seconds)


@pytest.mark.parametrize("typed", ["", "x", "0%", "-1%", "101%", "nan", "5%%", "5"])
def test_what_is_no_share_is_refused(typed: str) -> None:
    with pytest.raises(UsageFault, match="5%"):
        read_width(typed)


@pytest.mark.parametrize("typed", ["", "x", "0s", "-1s", "1 day", "inf", "1e3"])
def test_what_is_no_time_is_refused(typed: str) -> None:
    with pytest.raises(UsageFault, match="60s"):
        read_time(typed)


@pytest.mark.parametrize("typed", ["0", "-1", "1.5", "x", "1;2", "9999999999"])
def test_what_is_no_number_of_workers_is_refused(typed: str) -> None:
    with pytest.raises(UsageFault, match="2,4,8"):
        read_workers([typed])


def test_values_of_parameters_may_hold_commas_in_brackets_and_quotes() -> None:
    assert read_parameters(["n=1,2", 'l=["a", "b"],["c,d"]', 's="x,y",z']) == {
        "n": ("1", "2"),
        "l": ('["a", "b"]', '["c,d"]'),
        "s": ('"x,y"', "z"),
    }


@pytest.mark.parametrize("typed", [["n"], ["=1"], ["n="], ["n=1,,2"], ["n=1", "n=2"]])
def test_a_parameter_without_values_or_with_two_lists_is_refused(typed: list[str]) -> None:
    with pytest.raises(UsageFault, match="--parameter"):
        read_parameters(typed)


def test_of_several_names_the_typed_one_is_taken_and_another_is_told_the_nearest() -> None:
    assert one_of("--trace", "live", ("recorded", "live", "off")) == "live"
    with pytest.raises(UsageFault, match=r"--trace 'liv': did you mean 'live'\?"):
        one_of("--trace", "liv", ("recorded", "live", "off"))
    with pytest.raises(UsageFault, match="--trace 'x': use recorded, live or off"):
        one_of("--trace", "x", ("recorded", "live", "off"))
