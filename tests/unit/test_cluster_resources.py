"""Which needs of steps are asked of a cluster, and what is said where no worker has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor import BackendError, Step
from executor.backends.cluster_resources import ClusterResources, NoWorkerError
from executor.backends.ray.node_watch import cores_of, stated_by

TWO = {"one": {"GPU": 2, "license": 1}, "two": {"GPU": 4}}
AMOUNTS = st.dictionaries(st.sampled_from(["GPU", "license", "disk"]), st.integers(1, 4), max_size=3)


def test_a_need_is_the_resource_of_the_same_name_whatever_its_capitals() -> None:
    resources = ClusterResources(TWO)
    assert resources.asked({"gpu": 1, "License": 1, "api": 3, "s.max_parallel": 2}) == {"GPU": 1, "license": 1}
    assert resources.asked(None) == {}
    assert ClusterResources().asked({"gpu": 1}) == {}


def test_what_no_worker_has_is_named_with_the_most_that_one_has() -> None:
    resources = ClusterResources(TWO, "node")
    resources.must_fit_all([Step(step_id="a", tool="t", needs={"gpu": 4}), Step(step_id="b", tool="t")])
    with pytest.raises(NoWorkerError, match=r"no node .* step 'c' needs: 5 of 'GPU', and the most that one has is 4: "):
        resources.must_fit_all([Step(step_id="c", tool="t", needs={"gpu": 5, "license": 1})])
    with pytest.raises(BackendError, match=r"step 'd' needs: 4 of 'GPU' and 1 of 'license' together"):
        resources.must_fit("step 'd'", {"GPU": 4, "license": 1})


def test_a_resource_whose_last_worker_left_is_asked_for_all_the_same() -> None:
    resources = ClusterResources(TWO)
    resources.follow({"two": {"GPU": 4}})
    assert not resources.fits(resources.asked({"license": 1}))
    with pytest.raises(NoWorkerError, match=r"the most that one has is 0: worker one had it, and has left: start ano"):
        resources.must_fit("step 'a'", {"license": 1})
    assert resources.fits(resources.asked({"gpu": 4}))
    resources.follow({"three": {}, "four": {"license": 2}})
    assert resources.fits(resources.asked({"license": 2}))


def test_what_the_workers_have_is_counted_and_described() -> None:
    resources = ClusterResources(TWO)
    assert [resources.total(name) for name in ("gpu", "license", "api")] == [6, 1, None]
    assert resources.described() == "GPU 6 on 2 workers, license 1 on 1 worker"
    resources.follow({"two": {"GPU": 4}})
    assert resources.total("license") == 0
    assert ClusterResources({"one": {}}).described() == ""


@given(st.lists(AMOUNTS, max_size=4), AMOUNTS)
def test_what_fits_is_what_some_worker_has_all_of(workers: list[dict[str, int]], needs: dict[str, int]) -> None:
    resources = ClusterResources({str(number): amounts for number, amounts in enumerate(workers)})
    asked = resources.asked(needs)
    known = {name for amounts in workers for name in amounts}
    assert asked == {name: amount for name, amount in needs.items() if name in known}
    enough = [amounts for amounts in workers if all(amounts.get(name, 0) >= asked[name] for name in asked)]
    assert resources.fits(asked) == (bool(enough) or not asked)


def test_what_ray_counts_everywhere_is_no_resource_that_somebody_stated() -> None:
    node = {
        "CPU": 4.0, "memory": 1e9, "object_store_memory": 1e8, "node:10.0.0.1": 1.0, "node:__internal_head__": 1.0,
        "accelerator_type:A100": 1.0, "GPU": 2.0, "license": 1.0, "CPU_group_0_abc": 1.0, "bundle_group_abc": 1000.0,
    }  # fmt: skip
    assert stated_by({"a": node, "b": {}}) == {"a": {"GPU": 2.0, "license": 1.0}, "b": {}}
    assert cores_of({"a": node, "b": {"CPU": 2.0}, "c": {}}) == 6
