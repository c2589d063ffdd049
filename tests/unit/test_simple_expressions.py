"""Expressions that are read without Jinja2 mean what they mean to Jinja2, whatever the values are."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from executor.templates import template
from executor.templates.render_budget import STUB
from executor.templates.simple_expressions import TEXT_LIMIT_CHARACTERS, simple_expression
from executor.templates.template import Template, compile_expression, evaluate_condition

PLACES = ["steps.a.output", "steps['b c'].output", "steps.a.output.k", "inputs.n", "inputs.d.k.k", "steps.gone.output"]
CONSTANTS = ["'yes'", '"no"', "''", "0", "-3", "2.5", "true", "False", "none", "None", "12345678901234"]
FILTERS = ["length", "count", "lower", "upper", "trim", "string"]

# In place of a value that only a run knows, which cannot be printed.
UNKNOWN = "<unknown>"
VALUES = st.one_of(
    st.sampled_from(
        ["yes", "no", " Yes ", "", "x" * (TEXT_LIMIT_CHARACTERS + 1), "ß", 0, 1, -3, 2.5, True, False, None]
    ),
    st.sampled_from([2**63, 2**70, float("nan"), [], ["yes"], {}, {"k": "yes"}, {"k": {"k": 1}}, UNKNOWN]),
)

references = st.builds(
    lambda place, filters: " | ".join([place, *filters]),
    st.sampled_from(PLACES),
    st.lists(st.sampled_from(FILTERS), max_size=2),
)
operands = st.one_of(references, st.sampled_from(CONSTANTS))
lists = st.lists(st.sampled_from(CONSTANTS), max_size=3).map(lambda items: f"[{', '.join(items)}]")
comparisons = st.one_of(
    operands,
    st.builds("{} {} {}".format, operands, st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "in"]), operands),
    st.builds("{} {} {}".format, operands, st.sampled_from(["in", "not in"]), st.one_of(lists, operands)),
    st.builds("{} {}".format, references, st.sampled_from(["is none", "is not none"])),
)
expressions = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.builds("{} {} {}".format, inner, st.sampled_from(["and", "or"]), inner),
        st.builds("not {}".format, inner),
        st.builds("({})".format, inner),
        st.builds("({}) == {}".format, inner, operands),
    ),
    max_leaves=5,
)
all_values = st.fixed_dictionaries({"a": VALUES, "b c": VALUES, "n": VALUES, "d": VALUES})


def by_jinja(source: str, *, wants_value: bool) -> Template:
    with patch.object(template, "simple_expression", lambda source: None):
        return Template(source, wants_value=wants_value)


def outcome(call: Callable[[], Any]) -> Any:
    try:
        value = call()
    except Exception as error:  # whatever it is, it has to be the same
        return type(error), str(error)
    # Not-a-number equals nothing, itself included; True is not 1 here; an unknown value cannot be printed.
    return (type(value), None) if value is STUB else (type(value), repr(value))


@settings(deadline=None)
@given(expressions, all_values)
@example("steps.a.output == steps['b c'].output", {"a": 2**70, "b c": 2**70, "n": 0, "d": 0})
@example("not not steps.a.output", {"a": [], "b c": 0, "n": 0, "d": 0})
@example("steps.a.output == ('x' < 1)", {"a": False, "b c": 0, "n": 0, "d": 0})
@example("steps.a.output == ('x' == 1)", {"a": False, "b c": 0, "n": 0, "d": 0})
@example("steps.a.output | trim == 'Yes' and inputs.n", {"a": " Yes ", "b c": 0, "n": UNKNOWN, "d": 0})
def test_a_condition_or_text_means_the_same_with_jinja_and_without(source: str, values: dict[str, Any]) -> None:
    values = {name: STUB if value == UNKNOWN else value for name, value in values.items()}
    outputs, inputs = {"a": values["a"], "b c": values["b c"]}, {"n": values["n"], "d": values["d"]}
    for wants_value, written in ((True, source), (True, f"{{{{{source}}}}}"), (False, f"<{{{{ {source} }}}}>")):
        ours, theirs = Template(written, wants_value=wants_value), by_jinja(written, wants_value=wants_value)
        assert theirs.findings == ours.findings == ()
        assert (ours.references, ours.inputs, ours.of_items) == (theirs.references, theirs.inputs, theirs.of_items)
        if wants_value:
            assert outcome(lambda ours=ours: ours.truth(inputs, outputs)) == outcome(
                lambda theirs=theirs: theirs.truth(inputs, outputs)
            )
        assert outcome(lambda ours=ours: ours.value(inputs, outputs)) == outcome(
            lambda theirs=theirs: theirs.value(inputs, outputs)
        )


@given(st.text(alphabet="steps.aoutput inor'\"=!<>|()[],0123-_{}", max_size=40))
def test_whatever_is_read_without_jinja_is_no_fault_to_jinja(source: str) -> None:
    if simple_expression(source) is not None:
        assert by_jinja(source, wants_value=True).findings == ()


@pytest.mark.parametrize(
    "source",
    [
        "steps.a.output == 'yes'",
        "{{ steps.a.output }}",
        "steps.a.output | length > 2 and not inputs.quiet",
        "'x' in steps.a.output or steps.a.output in ['y', 'z',]",
        "(inputs.n >= 0.5) and steps['b c'].output.kind is not none",
    ],
)
def test_common_conditions_are_simple(source: str) -> None:
    assert compile_expression(source)._parts is not None


@pytest.mark.parametrize(
    "source",
    ["", "steps.a", "steps.a.output()", "steps.a.output[0]", "steps.a.output | join", "1 == 1 == 1", "a", "1 +1",
     "'a' 'b'", "inputs.__class__", "steps.a.output.x()", "inputs.n is defined", "(" * 20 + "inputs.n" + ")" * 20,
     "-inputs.n", "'{{' == inputs.n", "00", "inputs.n == 1_0", "inputs.n in [steps.a.output]"],
)  # fmt: skip
def test_all_else_is_left_to_jinja(source: str) -> None:
    assert simple_expression(source) is None


def test_a_simple_condition_needs_no_jinja() -> None:
    program = """
import sys
from executor.templates.template import evaluate_condition
assert evaluate_condition("steps.a.output == 'yes' and inputs.n > 2", {"n": 3}, {"a": "yes"})
assert "jinja2" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_what_a_simple_condition_cannot_answer_is_explained_by_jinja() -> None:
    with pytest.raises(template.TemplateError, match="there is no output of a step 'b' here"):
        evaluate_condition("steps.b.output == 'yes'", {}, {"a": "yes"})
