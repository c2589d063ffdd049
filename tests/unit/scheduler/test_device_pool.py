"""Which devices a step gets: by whole ones, share and memory; who keeps them; and that no step waits for ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from executor.model.device_needs import PARTS, DeviceNeed, device_environment, device_needs, parts_of
from executor.model.workflow import Devices, Resource, Retry, Step
from executor.record.timeline import Attempt, DeviceAttempt
from executor.scheduler import SchedulerError
from executor.scheduler.device_pool import DevicePool
from executor.scheduler.ready_queue import OVERTAKES_UNTIL_RESERVED
from executor.scheduler.resources import Limits
from tests.unit.scheduler.overtaking import Overtaken, chain
from tests.unit.scheduling import Hand, step

TWO = {"gpu": Resource(devices=Devices(ids=("0", "1"), memory_gb=24.0))}
UNEQUAL = {"gpu": Resource(devices=Devices(ids=("0", "1", "2"), memory_gb=(48.0, 12.0, 24.0)))}


def held(hand: Hand, name: str) -> list[str]:
    """The devices of a step's live attempt."""
    devices = hand.live[name].devices
    assert devices is not None
    return list(devices["gpu"])


def needing(*needs: dict[str, float], resources: Any = TWO, **options: Any) -> Hand:
    """Steps `s0`, `s1`, … that need this, in that order."""
    return Hand([step(f"s{place}", needs=each) for place, each in enumerate(needs)], resources=resources, **options)


# ---------------------------------------------------------------------- what is needed


def test_a_step_needs_devices_where_it_names_a_kind_that_there_is() -> None:
    limits = {**TWO, "llm": Resource(capacity=1)}
    scheduler = Hand(
        [step("a", needs={"gpu": 0.5}), step("b", needs={"llm": 1}), step("c")], resources=limits
    ).scheduler
    assert [scheduler.needs_devices(index) for index in range(3)] == [True, False, False]
    assert not Hand([step("a")]).scheduler.needs_devices(0)


def test_an_attempt_that_holds_devices_and_is_not_listed_is_a_broken_invariant() -> None:
    scheduler = needing({"gpu": 1}).scheduler
    scheduler.start(0)
    scheduler.limits.pools["gpu"].holding.clear()
    with pytest.raises(SchedulerError, match=r"^broken invariant: devices of gpu are held by who has them"):
        scheduler.validate()


def break_holders(attempt: Attempt, pool: DevicePool) -> None:
    pool.devices[0].holders += 1


def break_alone(attempt: Attempt, pool: DevicePool) -> None:
    # Two on one device, of which one needs it whole.
    _, places = pool.holding[attempt]
    pool.holding[attempt] = (DeviceNeed("gpu", 1, 0, 0), places)


def break_share(attempt: Attempt, pool: DevicePool) -> None:
    pool.devices[0].share_held -= 1


def break_sum_of_shares(attempt: Attempt, pool: DevicePool) -> None:
    need, places = pool.holding[attempt]
    pool.holding[attempt] = (DeviceNeed("gpu", 0, need.share + PARTS, need.memory), places)
    pool.devices[0].share_held += PARTS


def break_memory(attempt: Attempt, pool: DevicePool) -> None:
    pool.devices[0].memory_held += 1


def break_sum_of_memory(attempt: Attempt, pool: DevicePool) -> None:
    pool.devices[0].memory = 1


@pytest.mark.parametrize(
    ("breaking", "words"),
    [
        (break_holders, "each attempt keeps its devices"),
        (break_alone, "a whole device of gpu is for one step alone"),
        (break_share, "shares of gpu are those held"),
        (break_sum_of_shares, "shares of gpu are those held"),
        (break_memory, "memory of gpu is counted"),
        (break_sum_of_memory, "memory of gpu is counted"),
    ],
)
def test_a_book_about_devices_that_is_wrong_is_a_broken_invariant(
    breaking: Callable[[Attempt, DevicePool], None], words: str
) -> None:
    hand = needing({"gpu": 0.25, "gpu_memory_gb": 6}, {"gpu": 0.25, "gpu_memory_gb": 6})
    assert hand.start() == ["s0", "s1"]
    assert held(hand, "s0") == held(hand, "s1") == ["0"]
    breaking(hand.live["s0"], hand.scheduler.limits.pools["gpu"])
    with pytest.raises(SchedulerError) as caught:
        hand.scheduler.validate()
    assert str(caught.value) == f"broken invariant: {words}"


def test_shares_and_memory_are_counted_in_millionths_rounded_down() -> None:
    assert [parts_of(amount) for amount in (1 / 3, 0.29, 0.5, 6.5, 24, 1e-9)] == [
        333_333, 290_000, 500_000, 6_500_000, 24_000_000, 1
    ]  # fmt: skip


def test_share_and_memory_of_one_kind_are_one_need() -> None:
    needs: dict[str, float] = {"gpu_memory_gb": 6, "gpu": 0.25}
    assert device_needs(needs, TWO) == {"gpu": DeviceNeed("gpu", 0, 250_000, 6_000_000)}
    assert device_needs({"gpu": 2, "gpu_memory_gb": 10}, TWO) == {"gpu": DeviceNeed("gpu", 2, 0, 10_000_000)}
    assert device_needs({"llm": 1, "tpu_memory_gb": 2}, TWO) == {}


def test_devices_are_named_in_the_environment() -> None:
    assert device_environment(None) == device_environment({}) == {}
    assert device_environment({"npu-2": ["a"], "gpu": ["0", "1"]}) == {
        "MAKESPAN_DEVICES": "npu-2=a;gpu=0,1",
        "MAKESPAN_DEVICES_NPU_2": "a",
        "MAKESPAN_DEVICES_GPU": "0,1",
        "CUDA_VISIBLE_DEVICES": "0,1",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }


# ---------------------------------------------------------------------- which devices


def test_a_whole_device_is_for_one_step_alone() -> None:
    hand = needing({"gpu": 1}, {"gpu": 0.5}, {"gpu": 1}, {"gpu_memory_gb": 1})
    assert hand.start() == ["s0", "s1", "s3"]
    assert [held(hand, name) for name in ("s0", "s1", "s3")] == [["0"], ["1"], ["1"]]
    assert hand.turn(1, "s0") == ["s2"]
    assert held(hand, "s2") == ["0"]


def test_shares_fill_a_device_before_they_take_the_next_one() -> None:
    hand = needing(*[{"gpu": 0.5}] * 5)
    assert hand.start() == ["s0", "s1", "s2", "s3"]
    assert [held(hand, f"s{place}") for place in range(4)] == [["0"], ["0"], ["1"], ["1"]]
    assert hand.turn(1, "s2") == ["s4"]
    assert held(hand, "s4") == ["1"]


def test_three_thirds_fit_on_one_device() -> None:
    hand = needing(*[{"gpu": 1 / 3}] * 4)
    assert hand.start() == ["s0", "s1", "s2", "s3"]
    assert [held(hand, f"s{place}")[0] for place in range(4)] == ["0", "0", "0", "1"]


def test_memory_goes_where_the_least_is_left() -> None:
    hand = needing({"gpu_memory_gb": 20}, {"gpu_memory_gb": 10}, {"gpu_memory_gb": 4}, {"gpu_memory_gb": 14})
    assert hand.start() == ["s0", "s1", "s2", "s3"]
    assert [held(hand, f"s{place}")[0] for place in range(4)] == ["0", "1", "0", "1"]


def test_the_smallest_device_that_is_enough_is_taken() -> None:
    hand = needing({"gpu_memory_gb": 20}, {"gpu_memory_gb": 12}, {"gpu": 1, "gpu_memory_gb": 30}, resources=UNEQUAL)
    assert hand.start() == ["s0", "s1", "s2"]
    assert [held(hand, f"s{place}")[0] for place in range(3)] == ["2", "1", "0"]


def test_several_whole_devices_are_given_at_once_or_not_at_all() -> None:
    hand = needing({"gpu": 0.1}, {"gpu": 2}, {"gpu": 1})
    assert hand.start() == ["s0", "s2"]
    assert hand.turn(1, "s2") == []
    assert hand.turn(2, "s0") == ["s1"]
    assert held(hand, "s1") == ["0", "1"]
    assert hand.live["s1"].waits[0].reason == "resource.gpu"


def test_the_reason_is_that_of_the_first_need_without_room() -> None:
    resources = {**TWO, "llm": Resource(capacity=1)}
    needs: list[dict[str, float]] = [
        {"gpu": 2, "llm": 1},
        {"llm": 1, "gpu_memory_gb": 1},
        {"gpu_memory_gb": 1, "llm": 1},
    ]
    hand = needing(*needs, resources=resources)
    hand.start()
    assert [hand.scheduler.waits_for(place) for place in (1, 2)] == ["resource.llm", "resource.gpu"]


# ---------------------------------------------------------------------- who keeps them


def test_a_step_keeps_its_devices_while_its_calls_run_and_gives_its_units_back() -> None:
    resources = {**TWO, "llm": Resource(capacity=1)}
    hand = needing({"gpu": 1, "llm": 1}, {"llm": 1}, {"gpu": 2}, resources=resources)
    assert hand.start() == ["s0"]
    hand.scheduler.block(hand.live["s0"], 1)
    assert hand.start(1) == ["s1"]
    hand.scheduler.unblock(hand.live["s0"], 2_000_000_000)
    assert hand.start(2) == []
    assert hand.scheduler.waits_for(0) == "resource.llm"
    assert hand.turn(3, "s1") == ["s0"]
    assert held(hand, "s0") == ["0"]
    assert hand.turn(4, "s0") == ["s2"]


def test_the_calls_of_a_step_that_keeps_devices_can_need_none() -> None:
    hand = needing({"gpu": 0.5})
    hand.start()
    with pytest.raises(SchedulerError, match=r"'s0' keeps its devices \(gpu\).*let the calls alone need devices"):
        hand.add(Step(step_id="1", tool="noop", needs={"gpu": 0.1}), parent="s0")
    assert hand.add(Step(step_id="1", tool="noop"), parent="s0") == ["s0/1"]
    hand.scheduler.block(hand.live["s0"], 1)
    hand.start(1)
    with pytest.raises(SchedulerError, match="'s0' keeps its devices"):
        hand.add(Step(step_id="1", tool="noop", needs={"gpu_memory_gb": 1}), parent="s0/1")


def test_the_calls_of_a_step_without_devices_may_need_some() -> None:
    hand = Hand([step("a")], resources=TWO)
    hand.start()
    hand.add(
        Step(step_id="1", tool="noop", needs={"gpu": 1}), Step(step_id="2", tool="noop", needs={"gpu": 1}), parent="a"
    )
    hand.scheduler.block(hand.live["a"], 1)
    assert hand.start(1) == ["a/1", "a/2"]
    assert [held(hand, name) for name in ("a/1", "a/2")] == [["0"], ["1"]]


def test_a_retry_may_get_another_device() -> None:
    retry = Retry(max_attempts=2, backoff_seconds=1, jitter="none")
    hand = Hand(
        [step("a", needs={"gpu": 1}, retry=retry), step("b", needs={"gpu": 1}), step("c", needs={"gpu": 1})],
        resources=TWO,
    )
    assert hand.start() == ["a", "b"]
    assert hand.end("a", 1, "failed") == "backing_off"
    assert hand.start(1) == ["c"]
    assert held(hand, "c") == ["0"]
    assert hand.turn(2, "b") == ["a"]
    assert held(hand, "a") == ["1"]


def test_an_abandoned_call_keeps_its_devices_until_it_returns() -> None:
    hand = needing({"gpu": 2}, {"gpu": 1})
    hand.start()
    attempt = hand.live["s0"]
    hand.end("s0", 1, "timed_out", abandoned=True)
    assert hand.start(1) == []
    hand.scheduler.returned(attempt, 2_000_000_000)
    assert hand.start(2) == ["s1"]


def test_a_step_that_is_cancelled_while_blocked_keeps_its_devices_until_it_returns() -> None:
    hand = needing({"gpu": 2}, {"gpu": 1})
    hand.start()
    attempt = hand.live["s0"]
    hand.scheduler.block(attempt, 1)
    hand.scheduler.cancel(2, ["s0"])
    assert hand.start(1) == []
    hand.scheduler.returned(attempt, 3)
    assert hand.start(2) == ["s1"]


def test_an_attempt_without_devices_is_of_the_plain_class() -> None:
    hand = Hand([step("a"), step("b", needs={"gpu": 0.5})], resources=TWO)
    hand.start()
    assert hand.live["a"].devices is None
    assert not hasattr(hand.live["a"], "held_devices")
    assert isinstance(hand.live["b"], DeviceAttempt)


def test_late_steps_that_no_device_can_serve_are_refused() -> None:
    hand = Hand([step("a")], resources=UNEQUAL)
    for needs, words in (
        ({"gpu": 4}, "there are 3"),
        ({"gpu": 1.5}, "only whole devices"),
        ({"gpu_memory_gb": 50}, "no device has more than 48"),
        ({"gpu": 2, "gpu_memory_gb": 30}, "1 has so much"),
    ):
        with pytest.raises(SchedulerError, match=words):
            hand.add(step("b", needs=needs))


# ---------------------------------------------------------------------- no step waits for ever


@pytest.mark.parametrize(
    "needs", [{"gpu": 1}, {"gpu": 2}, {"gpu": 0.75}, {"gpu_memory_gb": 20}, {"gpu": 0.5, "gpu_memory_gb": 20}]
)
@pytest.mark.parametrize("overtakes", [OVERTAKES_UNTIL_RESERVED - 2, OVERTAKES_UNTIL_RESERVED])
def test_a_step_overtaken_a_thousand_times_gets_the_device_that_it_waits_for(
    needs: dict[str, float], overtakes: int
) -> None:
    # `x` and `y` hold half of both devices; what comes behind would fit beside them for ever.
    half: dict[str, float] = {"gpu": 0.5, "gpu_memory_gb": 12}
    steps = [step(name, needs=half, priority=10) for name in "wxyz"]
    later = [step(f"later{place}", f"c{overtakes - 1}", needs=half) for place in range(2)]
    hand = Overtaken([*steps, step("big", needs=needs), *chain(), *later], slots=9, resources=TWO)
    assert hand.start() == ["w", "x", "y", "z", "c0"]
    hand.go_on(overtakes)
    ended = hand.then("w", "y")
    if overtakes < OVERTAKES_UNTIL_RESERVED:
        assert ended == ["later0", "later1"]
        return
    # One of the two may have the device that `big` did not reserve.
    assert len(ended) == (1 if needs.get("gpu") != 2 else 0)
    assert "big" in hand.then("x", "z", *ended)


def test_a_step_that_lacks_a_device_reserves_no_units_for_which_its_holder_may_wait() -> None:
    # `holder` keeps both devices until its call is over, and that needs the unit.
    resources = {**TWO, "llm": Resource(capacity=1)}
    steps = [step("holder", needs={"gpu": 2}, priority=10), step("big", needs={"llm": 1, "gpu": 1}), *chain()]
    hand = Overtaken(steps, slots=3, resources=resources)
    assert hand.start() == ["holder", "c0"]
    hand.go_on(OVERTAKES_UNTIL_RESERVED)
    assert hand.scheduler.waits_for(1) == "resource.gpu"
    hand.add(Step(step_id="1", tool="noop", needs={"llm": 1}), now=hand.now * 1e-9, parent="holder")
    hand.scheduler.block(hand.live["holder"], hand.now)
    assert hand.then() == ["holder/1"]
    assert hand.then("holder/1") == []
    hand.scheduler.unblock(hand.live["holder"], hand.now)
    assert hand.then() == ["holder"]
    assert hand.then("holder") == ["big"]


def test_a_step_for_which_there_are_devices_reserves_units_too() -> None:
    limits = Limits({**TWO, "llm": Resource(capacity=2)})
    demand = limits.demand(step("a", needs={"gpu": 1, "llm": 2}))
    assert demand is not None
    demand.reserve()
    assert limits.by_name["llm"].reserved_units == 2


def test_a_reservation_moves_only_to_a_device_that_lacks_less() -> None:
    pool = DevicePool("gpu", TWO["gpu"])
    attempts = [DeviceAttempt(place, str(place), 1, 0, 0) for place in range(4)]
    for place, share in enumerate((600_000, 700_000)):
        assert pool.take(attempts[place], DeviceNeed("gpu", 0, share, 0)) == (str(place),)
    wanted = DeviceNeed("gpu", 0, 500_000, 0)
    assert not pool.reserve(wanted)
    # Beside what is reserved nothing fits on the first device any more, and something on the second.
    small = DeviceNeed("gpu", 0, 300_000, 0)
    assert [device.identifier for device in pool.places(small) or ()] == ["1"]
    pool.clear_reserved()
    pool.release(attempts[1])
    assert pool.reserve(wanted)
    assert pool.places(DeviceNeed("gpu", 0, 600_000, 0)) is None


def test_an_attempt_that_names_another_device_than_the_books_is_a_broken_invariant() -> None:
    hand = needing({"gpu": 1}, {"gpu": 0.5})
    hand.start()
    attempt = hand.live["s0"]
    assert isinstance(attempt, DeviceAttempt)
    attempt.held_devices = {"gpu": held(hand, "s1")}
    with pytest.raises(SchedulerError, match="each attempt keeps its devices"):
        hand.scheduler.validate()
