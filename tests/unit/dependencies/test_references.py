"""Rule 1: which steps a step depends on, and what is said of names that lead nowhere."""

from __future__ import annotations

import pytest

from executor.dependencies.step_references import SUGGESTIONS_LIMIT, References, templates_of
from executor.model.workflow import Step
from tests.unit.dependencies.plans import codes, graph_of, planned, said, step

OF_A = "{{ steps.a.output }}"


def parents_of(*steps: Step) -> list[tuple[int, ...]]:
    return References(steps, {one.step_id: place for place, one in enumerate(steps)}, {}).read()


# -- where templates are ----------------------------------------------------------------------------------------------


def test_the_templates_of_a_step_are_told_with_their_places() -> None:
    mapped = step("a", prompt="{x}", args={"q": ["plain", {"r": "{{ 1 }}"}]}, when="1", for_each="[2]")
    assert [(path, template.source) for path, template in templates_of(mapped)] == [
        (("prompt",), "{x}"),
        (("args", "q", 1, "r"), "{{ 1 }}"),
        (("when",), "1"),
        (("for_each",), "[2]"),
    ]
    listed = step("a", prompt="no brace", args={"q": "plain"}, for_each=["plain", ["{{ 3 }}"]])
    assert [(path, template.source) for path, template in templates_of(listed)] == [(("for_each", 1, 0), "{{ 3 }}")]
    assert list(templates_of(step("a", args={}))) == []


@pytest.mark.parametrize(
    "fields", [{"prompt": OF_A}, {"args": {"q": OF_A}}, {"when": "steps.a.output"}, {"for_each": "steps.a.output"},
               {"for_each": [OF_A]}],
)  # fmt: skip
def test_one_template_is_enough_for_a_dependency_wherever_it_stands(fields: dict[str, object]) -> None:
    assert graph_of(step("a"), step("b", **fields), step("c", "b")).data_parents == [(), (0,), (1,)]


# -- the parents ------------------------------------------------------------------------------------------------------


def test_parents_are_sorted_and_distinct_whatever_names_them() -> None:
    last = step("d", "c", "a", "c", prompt=f"{OF_A}{{{{ steps.b.output }}}}")
    assert parents_of(step("a"), step("b"), step("c"), last) == [(), (), (), (0, 1, 2)]


def test_steps_without_dependencies_stand_between_others() -> None:
    assert parents_of(step("a"), step("b", "a"), step("c", prompt="plain"), step("d", "b")) == [(), (0,), (), (1,)]


def test_no_step_is_its_own_parent_and_unknown_names_are_nobody() -> None:
    assert parents_of(step("a"), step("b", "b", "a", "zz"), step("c", "c"), step("d", "zz")) == [(), (0,), (), ()]


# -- what is wrong with them ------------------------------------------------------------------------------------------


def test_an_unknown_step_is_named_with_the_nearest_one_or_with_what_to_do() -> None:
    found = planned(
        step("joke"), step("b", "joke", "joek"), step("c", prompt="{{ steps.joek.output }}", when="steps.other.output")
    )
    assert said(found) == [
        "error[unknown-dependency] step 'b', steps[1].depends_on[1]: depends on 'joek', but no step has this id",
        "fix: did you mean 'joke'?",
        "error[unknown-dependency] step 'c', steps[2].prompt: the template uses step 'joek', but no step has this id",
        "fix: did you mean 'joke'?",
        "error[unknown-dependency] step 'c', steps[2].when: the template uses step 'other', but no step has this id",
        "fix: add a step 'other', or take the name out",
    ]


def test_only_the_first_fifty_unknown_names_get_a_suggestion() -> None:
    names = [f"step{number}" for number in range(SUGGESTIONS_LIMIT + 1)]
    found = planned(step("step"), step("b", *names), step("c", names[0], names[-1]))
    fixes = [finding.fix for finding in found.findings]
    otherwise = "add a step 'step50', or take the name out"
    near = "did you mean 'step'?"
    assert fixes == [*[near] * SUGGESTIONS_LIMIT, otherwise, near, otherwise]


def test_a_dependency_on_itself_is_told_where_it_is_written() -> None:
    found = planned(step("a"), step("b", "a", "b", "a", "a", prompt="{{ steps.b.output }}"), hints=True)
    assert said(found) == [
        "error[self-dependency] step 'b', steps[1].depends_on[1]: depends on itself",
        "fix: take it out",
        "hint[repeated-dependency] step 'b', steps[1].depends_on[2]: names 'a' again",
        "fix: take it out",
        "hint[repeated-dependency] step 'b', steps[1].depends_on[3]: names 'a' again",
        "fix: take it out",
        "error[self-dependency] step 'b', steps[1].prompt: the template uses the step's own output",
        "fix: name another step",
    ]


def test_repeated_and_own_names_are_told_beside_unknown_ones() -> None:
    found = planned(step("a"), step("b", "zz", "a", "a", "b"), hints=True)
    assert [finding.code for finding in found.findings] == [
        "unknown-dependency", "repeated-dependency", "self-dependency",
    ]  # fmt: skip
    assert codes(planned(step("a", "a"), hints=True)) == [("self-dependency", "a")]


def test_a_step_with_a_used_id_that_names_it_depends_on_itself() -> None:
    expected = [("duplicate-id", "a"), ("self-dependency", "a")]
    assert codes(planned(step("a"), step("a", "a"))) == expected
    assert codes(planned(step("a"), step("a", prompt=OF_A))) == expected
    # Not on the first of them, which would be a fault of the group on top.
    assert codes(planned(step("a", parallel_group=1), step("a", "a", parallel_group=1))) == expected


def test_faults_of_a_template_come_with_step_and_place() -> None:
    found = planned(step("x"), step("a", args={"q": ["{{ '' .__class__ }}"]}))
    (finding,) = found.findings
    assert (finding.code, finding.step, finding.path) == ("template-private", "a", ("steps", 1, "args", "q", 0))


def test_an_unknown_input_is_a_warning_with_the_nearest_one_or_with_what_to_do() -> None:
    found = planned(
        step("a", prompt="{{ inputs.topik }}{{ inputs.topic }}{{ inputs.other }}"), inputs={"topic": 1, "unused": 2}
    )
    head = "warning[unknown-input] step 'a', steps[0].prompt: the template uses an input"
    assert said(found) == [
        f"{head} 'other' that the workflow does not have",
        "fix: add it to `inputs`, or give it with --set other=…",
        f"{head} 'topik' that the workflow does not have",
        "fix: did you mean 'topic'?",
    ]


def test_item_and_index_are_there_in_what_is_done_for_each_item_and_nowhere_else() -> None:
    both = "{{ index }}{{ item }}"
    graph_of(step("a", for_each="[1]", prompt=both, args={"q": both}))
    head = "error[template-unknown-name] step 'a', steps[0]."
    add = "fix: add `for_each` to the step: it is done once for each item then"
    leave = "fix: leave items out of the list in `for_each` itself: {{ … | selectattr(…) | list }}"
    assert said(planned(step("a", prompt=both, when="item"))) == [
        f"{head}prompt: `index` is not defined",
        add,
        f"{head}prompt: `item` is not defined",
        add,
        f"{head}when: `item` is not defined",
        add,
    ]
    assert said(planned(step("a", for_each="[item]", prompt=both, when="index"))) == [
        f"{head}when: `index` is not defined in `when`, which is evaluated once for all items",
        leave,
        f"{head}for_each: `item` is not defined in `for_each`, which is evaluated once for all items",
        leave,
    ]
    assert codes(planned(step("a", for_each=["{{ item }}"]))) == [("template-unknown-name", "a")]
