"""Outputs that are elsewhere: fetched when they are read, handed on as they are, gone when nobody holds them."""

from __future__ import annotations

import gc
import pickle
import weakref
from typing import Any

import pytest

from executor.engine.rendering import Renderer
from executor.model.workflow import Step
from executor.record.remote_outputs import OutputGoneError, RemoteOutput, RemoteOutputs, naming, values_at_hand
from executor.tools.registry import resolve_tool
from executor.tools.tool import RunContext


class Elsewhere:
    """Where an output lies; counts how often it was fetched."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.fetched = 0

    def output(self, name: str) -> RemoteOutput:
        return RemoteOutput(name, 2_000_000, "list", self, self.fetch)

    def fetch(self, _: RemoteOutput) -> Any:
        self.fetched += 1
        return self.value


def test_an_output_is_fetched_when_it_is_read_and_not_before() -> None:
    place = Elsewhere([1, 2])
    outputs = RemoteOutputs(a=place.output("key-a"), b=3)
    assert len(outputs) == 2
    assert "a" in outputs
    assert set(outputs) == {"a", "b"}
    assert outputs.remote("b") is None
    assert str(outputs.remote("a")) == "list, 2.0 MB"
    assert place.fetched == 0
    assert outputs["a"] == outputs.get("a") == [1, 2]
    assert dict(outputs.items()) == {"a": [1, 2], "b": 3}
    assert list(outputs.values()) == [[1, 2], 3]
    assert place.fetched == 4


def test_an_output_that_is_gone_says_why() -> None:
    outputs = RemoteOutputs(a=Elsewhere(1).output("key-a"))
    outputs.all_remote()["a"].let_go("stayed on a cluster that is gone")
    with pytest.raises(OutputGoneError, match=r"list, 2\.0 MB\) stayed on a cluster that is gone"):
        outputs["a"]


def test_what_holds_an_output_goes_with_the_record() -> None:
    place = Elsewhere(1)
    outputs = RemoteOutputs(a=place.output("key-a"))
    reference = weakref.ref(place)
    del place
    gc.collect()
    assert reference() is not None
    del outputs
    gc.collect()
    assert reference() is None


def test_a_pickled_output_is_a_name_that_becomes_its_value_where_that_is_at_hand() -> None:
    place = Elsewhere("the value")
    with naming() as named:
        data = pickle.dumps({"x": place.output("key-a")})
    assert [one.name for one in named] == ["key-a"]
    assert place.fetched == 0
    with values_at_hand({"key-a": lambda: "what lies there"}):
        assert pickle.loads(data) == {"x": "what lies there"}
    assert pickle.loads(pickle.dumps(place.output("key-a"))) == "the value"


@pytest.mark.parametrize(
    ("template", "fetched"),
    [
        ("{{ steps.a.output }}", False),
        ("{{steps['a'].output}}", False),
        ("{{ steps.a.output | length }}", True),
        ("{{ steps.a.output[0] }}", True),
        ("of {{ steps.a.output }}", True),
    ],
)
def test_an_argument_that_is_nothing_but_an_output_is_handed_on_as_it_is(template: str, fetched: bool) -> None:
    place = Elsewhere([7, 8])
    outputs = RemoteOutputs(a=place.output("key-a"))
    renderer = Renderer({"noop": resolve_tool("noop", {})}, RunContext(), outputs)
    renderer.remote = outputs
    step = Step(step_id="b", tool="noop", args={"data": template})
    _, _, args = renderer.work(step, 0)
    assert isinstance(args["data"], RemoteOutput) is not fetched
    assert bool(place.fetched) is fetched
