"""Calls without a context: what they give is what the calls with one give, with the same templates rendered."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.engine.rendering import Renderer
from executor.model.workflow import Step, ToolDeclaration
from executor.tools.python import PythonTool
from executor.tools.registry import make_tool
from executor.tools.tool import RunContext, Tool, ToolContext
from tests.properties.effort import examples

OUTPUTS: Mapping[str, Any] = {"a": "text", "b": None, "c": {"kind": [1, 2]}, "d": 1.5, "e": True}
TEMPLATES = st.sampled_from(
    [
        "plain", "{{ steps.a.output }}", "{{ steps.b.output | string }}", "{{ steps.c.output.kind }}",
        "{{ steps.d.output | string | length }}", "{{ steps.e.output | string }}", "{{ inputs.x | upper }}",
        "{{ steps.missing.output }}", "{{ steps.a.output | length }} of {{ steps.d.output }}",
        "{{ steps.c.output.nothing }}", "{{ item }}", "{% if steps.e.output %}yes{% endif %}",
    ]
)  # fmt: skip
ARGUMENTS = st.dictionaries(
    st.sampled_from(["one", "two"]), TEMPLATES | st.lists(TEMPLATES, max_size=2) | st.integers(), max_size=2
)


def echo(*prompt: str, **args: Any) -> Any:
    return [*prompt, args]


async def echo_async(*prompt: str, **args: Any) -> Any:
    return [*prompt, args]


TOOLS: Mapping[str, Tool] = {
    "noop": make_tool("noop", ToolDeclaration(kind="noop")),
    "function": PythonTool("function", echo),
    "coroutine": PythonTool("coroutine", echo_async),
}


def renderer() -> Renderer:
    return Renderer(TOOLS, RunContext(inputs={"x": "value"}), OUTPUTS)


def ended(call: Any) -> Any:
    """The output, or what was raised."""
    try:
        value = call()
        return asyncio.run(value) if asyncio.iscoroutine(value) else value
    except Exception as error:
        return type(error), str(error)


@given(
    st.sampled_from(sorted(TOOLS)),
    st.none() | TEMPLATES,
    ARGUMENTS,
    st.sampled_from([None, 5.0]),
    st.booleans(),
)
@settings(max_examples=examples(100))
def test_a_direct_call_does_what_the_call_with_a_context_does(
    name: str, prompt: str | None, args: dict[str, Any], timeout: float | None, asynchronous: bool
) -> None:
    step = Step(step_id="s", tool=name, prompt=prompt, args=args, timeout=timeout)
    (direct,) = renderer().direct_calls([step], asynchronous=asynchronous)
    if direct is None:
        assert (name == "noop" and args) or (name == "function") is asynchronous
        return

    def with_context() -> Any:
        tool, text, values = renderer().work(step, 0)
        call = tool.call_async if asynchronous else tool.call
        assert call is not None
        return call(ToolContext(RunContext(), "s"), text, values)

    assert ended(direct) == ended(with_context)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_is_rendered_for_a_keeper_is_not_called_directly(asynchronous: bool) -> None:
    class Kept:
        def rendered(self, *_: Any) -> None:
            raise AssertionError("nothing is rendered yet")

        def attempt_ended(self, _: Any) -> None:
            raise AssertionError("nothing has run yet")

    kept = renderer()
    kept.keeper = Kept()
    steps = [
        Step(step_id="constant", tool="noop", prompt="x"),
        Step(step_id="template", tool="noop", prompt="{{ steps.a.output }}"),
        Step(step_id="once", tool="noop", prompt="x", idempotent=False),
    ]
    assert [call is None for call in kept.direct_calls(steps, asynchronous=asynchronous)] == [False, True, True]
