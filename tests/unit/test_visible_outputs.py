"""What templates see of the outputs while a run goes on."""

from __future__ import annotations

from typing import Any

import pytest

from executor.engine.run_record import VisibleOutputs


def test_outputs_are_seen_as_they_come_and_steps_whose_condition_is_false_are_null() -> None:
    outputs: dict[str, Any] = {}
    null_outputs: dict[str, None] = {}
    visible = VisibleOutputs(outputs, null_outputs)
    assert (visible.get("a"), visible.get("a", 1), "a" in visible, list(visible), len(visible)) == (
        None,
        1,
        False,
        [],
        0,
    )
    outputs["a"] = None
    null_outputs["b"] = None
    outputs["c"] = {"x": 1}
    assert dict(visible) == {"a": None, "b": None, "c": {"x": 1}}
    assert (visible.get("a", 1), visible.get("b", 1), visible.get("d", 1)) == (None, None, 1)
    assert len(visible) == 3
    with pytest.raises(KeyError, match="d"):
        visible["d"]


def test_an_output_goes_before_a_null() -> None:
    visible = VisibleOutputs({"a": 1}, {"a": None, "b": None})
    assert dict(visible) == {"a": 1, "b": None}
    assert (visible["a"], visible.get("a"), len(visible)) == (1, 1, 2)
