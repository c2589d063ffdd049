"""Limits by themselves: buckets to the nanosecond, units, reservations, demands."""

from __future__ import annotations

import pytest

from executor.model.workflow import Resource, Step
from executor.scheduler.resources import MINUTE_NANOSECONDS, Bucket, Demand, Limit, Limits

SECOND = 1_000_000_000


# ---------------------------------------------------------------------- buckets


def test_a_bucket_starts_full_and_gains_its_rate() -> None:
    bucket = Bucket(60, 3)
    assert not bucket.lacks(3, 0)
    assert bucket.lacks(4, 0)
    bucket.take(3, 0)
    assert bucket.lacks(1, SECOND - 1)
    assert not bucket.lacks(1, SECOND)
    assert bucket.lacks(2, 2 * SECOND - 1)
    assert not bucket.lacks(2, 2 * SECOND)


def test_a_bucket_never_holds_more_than_its_burst() -> None:
    bucket = Bucket(60, 2)
    bucket.take(1, 0)
    assert not bucket.lacks(2, 100 * SECOND)
    assert bucket.lacks(3, 200 * SECOND)
    bucket.take(-50, 200 * SECOND)
    assert bucket.lacks(3, 200 * SECOND)
    assert not bucket.lacks(2, 200 * SECOND)


def test_a_bucket_is_exact_where_the_rate_is_no_whole_number() -> None:
    # One token in 60 / 0.7 seconds: not before that nanosecond.
    bucket = Bucket(0.7, 1)
    bucket.take(1, 0)
    opens = bucket.opens_at(1, 0)
    assert opens == -(-MINUTE_NANOSECONDS * 10 // 7)
    assert bucket.lacks(1, opens - 1)
    assert not bucket.lacks(1, opens)


def test_an_odd_rate_is_kept_to_a_millionth() -> None:
    bucket = Bucket(1 / 1_000_000, 1)
    assert (bucket.gain, bucket.part) == (1, MINUTE_NANOSECONDS * 1_000_000)
    # 1.000001 needs the denominator of a million; nothing finer is kept.
    assert Bucket(1.000001, 1).part == MINUTE_NANOSECONDS * 1_000_000
    assert Bucket(1.0 + 1 / 1_000_001, 1).part != MINUTE_NANOSECONDS * 1_000_001


def test_a_rate_too_small_to_be_kept_is_the_smallest_that_can() -> None:
    bucket = Bucket(1e-12, 1)
    assert (bucket.gain, bucket.part) == (1, MINUTE_NANOSECONDS * 1_000_000)
    assert bucket.full == bucket.part


def test_debt_is_paid_before_anything_is_there_again() -> None:
    bucket = Bucket(60, 1)
    bucket.take(3, 0)
    assert bucket.opens_at(1, 0) == 3 * SECOND
    assert bucket.lacks(1, 3 * SECOND - 1)
    assert not bucket.lacks(1, 3 * SECOND)


def test_when_a_bucket_opens_is_asked_as_of_now() -> None:
    bucket = Bucket(60, 1)
    bucket.take(1, 0)
    # Half of the token has come by itself since it was last looked at.
    assert bucket.opens_at(1, SECOND // 2) == SECOND
    assert bucket.opens_at(1, SECOND) == SECOND
    assert bucket.opens_at(1, 5 * SECOND) == 5 * SECOND


def test_a_bucket_that_is_one_part_short_opens_a_nanosecond_later() -> None:
    bucket = Bucket(1, 1)
    bucket.take(1, 0)
    assert bucket.opens_at(1, MINUTE_NANOSECONDS - 1) == MINUTE_NANOSECONDS


def test_a_bucket_never_opens_for_more_than_its_burst() -> None:
    bucket = Bucket(60, 2)
    bucket.take(2, 0)
    assert bucket.opens_at(2, 0) == 2 * SECOND
    assert bucket.opens_at(3, 0) is None


def test_nothing_is_gained_twice_for_one_instant_or_by_a_clock_set_back() -> None:
    bucket = Bucket(60, 10)
    bucket.take(10, 0)
    for _ in range(3):
        bucket.refill(SECOND)
    bucket.refill(0)
    bucket.refill(SECOND)
    assert not bucket.lacks(1, SECOND)
    assert bucket.lacks(2, SECOND)


def test_what_a_full_bucket_did_not_gain_pays_no_later_debt() -> None:
    bucket = Bucket(60, 2)
    bucket.take(5, 100 * SECOND)
    assert bucket.opens_at(1, 100 * SECOND) == 104 * SECOND


# ---------------------------------------------------------------------- limits


def test_a_bucket_of_tokens_holds_what_is_said_or_a_minutes_worth_and_at_least_one() -> None:
    def held(**fields: float) -> int | None:
        bucket = Limit("llm", Resource.model_validate(fields)).tokens
        return None if bucket is None else bucket.burst

    assert held(tokens_per_minute=900, token_burst=7) == 7
    assert held(tokens_per_minute=900) == 900
    assert held(tokens_per_minute=0.5) == 1
    assert held(tokens_per_minute=2.9) == 2


def test_a_limit_has_the_buckets_that_were_asked_for() -> None:
    plain = Limit("llm", Resource(capacity=3))
    assert (plain.capacity, plain.largest_capacity, plain.rate, plain.tokens) == (3, 3, None, None)
    rated = Limit("llm", Resource(rate_per_minute=60, burst=4, tokens_per_minute=120))
    assert rated.capacity is None
    assert rated.rate is not None
    assert rated.tokens is not None
    assert (rated.rate.burst, rated.tokens.burst) == (4, 120)


def test_the_largest_capacity_is_remembered() -> None:
    limit = Limit("llm", Resource(capacity=3))
    limit.resize(5)
    limit.resize(2)
    assert (limit.capacity, limit.largest_capacity) == (2, 5)


def test_a_limit_without_a_capacity_that_is_given_one_had_none_at_its_largest() -> None:
    limit = Limit("llm", Resource(rate_per_minute=60))
    limit.resize(2)
    assert (limit.capacity, limit.largest_capacity) == (2, None)


# ---------------------------------------------------------------------- demands


def step(needs: dict[str, int], tokens: int | None = None) -> Step:
    return Step(step_id="s", tool="noop", needs=needs, expected_tokens=tokens)


def limits() -> Limits:
    return Limits(
        {
            "slots": Resource(capacity=3),
            "api": Resource(rate_per_minute=60, burst=2),
            "model": Resource(capacity=2, rate_per_minute=60, burst=2, tokens_per_minute=60, token_burst=10),
        }
    )


def test_steps_with_the_same_needs_share_one_demand_and_others_do_not() -> None:
    found = limits()
    assert found.demand(step({})) is None
    one = found.demand(step({"slots": 1}))
    assert found.demand(step({"slots": 1})) is one
    assert found.demand(step({"slots": 2})) is not one
    assert found.demand(step({"slots": 1}, 5)) is not one
    with pytest.raises(KeyError):
        found.demand(step({"unknown": 1}))


def test_only_tokens_that_a_limit_counts_are_the_tokens_of_a_demand() -> None:
    found = limits()
    plain, counted = found.demand(step({"slots": 1}, 5)), found.demand(step({"slots": 1, "model": 1}, 5))
    assert plain is not None
    assert counted is not None
    assert (plain.tokens, plain.rated) == (0, False)
    assert (counted.tokens, counted.rated) == (5, True)
    unstated = found.demand(step({"model": 1}))
    assert unstated is not None
    assert unstated.tokens == 0
    assert unstated.parts[0][2] == 0


def test_units_are_held_and_given_back_and_the_first_that_lacks_is_named() -> None:
    found = limits()
    demand = found.demand(step({"slots": 2, "model": 1}))
    assert demand is not None
    assert demand.lacks(0) is None
    demand.hold()
    assert [(limit.name, limit.in_use) for limit in found] == [("slots", 2), ("api", 0), ("model", 1)]
    assert demand.lacks(0) == "resource.slots"
    demand.release()
    assert all(limit.in_use == 0 for limit in found)
    other = found.demand(step({"model": 2}))
    assert other is not None
    other.hold()
    assert demand.lacks_units() == "resource.model"


def test_of_a_resource_that_nobody_used_nothing_is_taken() -> None:
    found = limits()
    for needs, tokens in (({"slots": 3}, 0), ({"api": 1}, 0), ({"model": 2}, 10)):
        demand = found.demand(step(needs, tokens))
        assert demand is not None
        assert demand.lacks(0) is None
    limit = Limit("api", Resource(rate_per_minute=60))
    assert Demand([(limit, 1, 0)]).lacks(0) is None


def test_a_demand_fits_exactly() -> None:
    found = limits()
    one, two = found.demand(step({"slots": 1})), found.demand(step({"slots": 2}))
    assert one is not None
    assert two is not None
    two.hold()
    assert one.lacks(0) is None
    one.hold()
    assert one.lacks(0) == "resource.slots"


def test_units_lack_before_rates_do() -> None:
    found = limits()
    demand = found.demand(step({"api": 1, "slots": 3}))
    assert demand is not None
    demand.hold()
    demand.charge(0)
    demand.charge(0)
    assert demand.lacks(0) == "resource.slots"
    demand.release()
    assert demand.lacks(0) == "rate.api"
    assert demand.opens_at(0) == SECOND


def test_tokens_are_charged_as_estimated_and_settled_as_used() -> None:
    found = limits()
    demand = found.demand(step({"model": 1}, 6))
    assert demand is not None
    model = found.by_name["model"].tokens
    assert model is not None
    demand.charge(0)
    assert model.level == 4 * model.part
    assert demand.lacks(0) == "rate.model"
    assert demand.opens_at(0) == 2 * SECOND
    demand.settle(1, 0)
    assert model.level == 9 * model.part
    demand.settle(20, 0)
    assert model.level == -5 * model.part
    assert demand.opens_at(0) == 11 * SECOND


def test_a_demand_without_rates_never_opens_by_time() -> None:
    found = limits()
    demand = found.demand(step({"slots": 3}))
    assert demand is not None
    demand.hold()
    assert demand.opens_at(0) is None
    assert demand.lacks(0) == "resource.slots"


def test_a_demand_whose_rates_are_open_opens_at_no_later_time() -> None:
    found = limits()
    demand = found.demand(step({"api": 1, "model": 1}, 4))
    assert demand is not None
    assert demand.opens_at(0) is None


def test_what_is_reserved_counts_as_in_use_for_those_behind() -> None:
    found = limits()
    demand = found.demand(step({"model": 1}, 6))
    assert demand is not None
    demand.reserve()
    limit = found.by_name["model"]
    assert (limit.reserved_units, limit.reserved_charges, limit.reserved_tokens) == (1, 1, 6)
    # 6 of 10 tokens are spoken for: another 6 have to come first.
    assert demand.lacks(0) == "rate.model"
    assert demand.opens_at(0) is None  # the bucket never holds 12
    small = found.demand(step({"model": 1}, 4))
    assert small is not None
    assert small.lacks(0) is None
    demand.reserve()
    assert small.lacks(0) == "resource.model"
    assert (limit.reserved_units, limit.reserved_charges, limit.reserved_tokens) == (2, 2, 12)
    found.clear_reserved()
    assert (limit.reserved_units, limit.reserved_charges, limit.reserved_tokens) == (0, 0, 0)
    assert demand.lacks(0) is None


def test_reserved_tokens_have_to_come_before_those_asked_for() -> None:
    found = Limits({"model": Resource(tokens_per_minute=60, token_burst=20)})
    demand = found.demand(step({"model": 1}, 6))
    assert demand is not None
    demand.charge(0)
    demand.charge(0)
    demand.reserve()
    # 8 are there, 6 of them spoken for: the 6 asked for are there with the twelfth.
    assert demand.lacks(0) == "rate.model"
    assert demand.opens_at(0) == 4 * SECOND


def test_the_tokens_of_a_demand_are_the_most_that_one_of_its_limits_counts() -> None:
    found = limits()
    model = found.by_name["model"]
    assert Demand([(model, 1, 3), (model, 1, 5), (found.by_name["slots"], 1, 9)]).tokens == 5


def test_reserved_attempts_count_against_the_rate() -> None:
    found = limits()
    demand = found.demand(step({"api": 1}))
    assert demand is not None
    demand.reserve()
    assert demand.lacks(0) is None
    demand.reserve()
    assert demand.lacks(0) == "rate.api"
    demand.charge(0)
    found.clear_reserved()
    demand.reserve()
    # One is left, one is reserved: the second comes in a second.
    assert demand.lacks(0) == "rate.api"
    assert demand.opens_at(0) == SECOND


def test_a_step_that_resumes_reserves_units_and_no_rates() -> None:
    found = limits()
    demand = found.demand(step({"model": 1}, 6))
    assert demand is not None
    demand.reserve(rates=False)
    limit = found.by_name["model"]
    assert (limit.reserved_units, limit.reserved_charges, limit.reserved_tokens) == (1, 0, 0)


def test_a_capacity_is_found_out_wherever_its_need_stands_among_the_others() -> None:
    resources = {
        "slots": Resource(capacity=3),
        "llm": Resource.model_validate({"capacity": "auto"}),
        "gpu": Resource(capacity=3),
    }
    found = Limits(resources)
    demand = found.demand(step({"slots": 1, "llm": 1, "gpu": 1}))
    assert demand is not None
    demand.learn(0, None, None, SECOND)
    assert [limit.capacity for limit in found] == [3, 2, 3]
    assert [limit.changes for limit in found] == [[], [(0, 4), (SECOND, 2)], []]


def test_a_resource_that_is_declared_again_stays_what_it_was() -> None:
    found = Limits({"llm": Resource(capacity=3)})
    found.declare("llm", Resource(capacity=1))
    found.declare("more", Resource(capacity=2))
    assert [(limit.name, limit.capacity) for limit in found] == [("llm", 3), ("more", 2)]
