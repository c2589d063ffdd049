"""Templates: what they refer to, what they give, what they may not do."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from typing import Any

import pytest
from jinja2.filters import FILTERS as JINJA_FILTERS

from executor.templates.render_budget import budget
from executor.templates.sandbox import sandbox
from executor.templates.template import (
    TemplateError,
    TemplateLimitError,
    compile_expression,
    compile_template,
    evaluate_condition,
    evaluate_expression,
    render_text,
    render_value,
    templates_in,
)

INPUTS: dict[str, Any] = {"topic": "cats", "n": 3}
OUTPUTS: dict[str, Any] = {
    "joke": "Ha & <b>",
    "a.b": {"title": "tall", "items": [1, 2]},
    "list": [3, 1, 2],
    "rows": [{"k": 1}, {"k": 2}],
    "nothing": None,
    "check": "yes",
    "sly": "{{ inputs.topic }} {{ 1 + 1 }}",
}


def text(source: str) -> str:
    return render_text(source, INPUTS, OUTPUTS)


def value(source: Any) -> Any:
    return render_value(source, INPUTS, OUTPUTS)


def codes(source: str) -> list[str]:
    return [finding.code for finding in compile_template(source).findings]


@pytest.mark.parametrize(
    ("source", "references"),
    [
        ("{{ steps.joke.output }}", {"joke"}),
        ("{{steps['a.b'].output.title | upper}}", {"a.b"}),
        ('{{ steps["a b"].output[0] }}', {"a b"}),
        ("{% for x in steps.list.output %}{{ x }}{{ steps.joke.output }}{% endfor %}", {"list", "joke"}),
        (
            "{% if steps.check.output == 'yes' %}{{ steps.a.output }}{% else %}{{ steps.b.output }}{% endif %}",
            {"check", "a", "b"},
        ),
        ("{{ steps.a.output if inputs.n else steps.b.output }}", {"a", "b"}),
        ("{{ 'x' | replace('x', steps.a.output) }}", {"a"}),
        ("{{ inputs.n is divisibleby(steps.a.output) }}", {"a"}),
        ("{% set v = steps.a.output %}{{ v }}", {"a"}),
        ("{% set s = steps.a %}{{ s.output }}", {"a"}),
        ("{% macro m(x, y=steps.a.output) %}{{ steps.b.output }}{% endmacro %}{{ m(1) }}", {"a", "b"}),
        ("{% filter upper %}{{ steps.a.output }}{% endfilter %}", {"a"}),
        ("{{ [steps.a.output, {'k': steps.b.output}] }}", {"a", "b"}),
        ("{{ 'x' ~ steps.a.output ~ steps['b']['output'] }}", {"a", "b"}),
        ("{# {{ steps.a.output }} #}{% raw %}{{ steps.b.output }}{% endraw %}plain steps.c.output", set()),
        ("{{ 'steps.a.output' }}", set()),
        ("no template", set()),
    ],
)
def test_references_are_read_from_the_parsed_template(source: str, references: set[str]) -> None:
    template = compile_template(source)
    assert template.findings == ()
    assert template.references == references


def test_inputs_are_read_from_the_parsed_template() -> None:
    template = compile_template(
        "{{ inputs.topic | upper }}{{ inputs['a b'] }}{% for k in inputs.items() %}{% endfor %}"
    )
    assert template.inputs == {"topic", "a b"}


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("plain { } }} %}", "plain { } }} %}"),
        ("a joke about {{ inputs.topic }}: {{steps.joke.output}}!\n", "a joke about cats: Ha & <b>!\n"),
        ("{{ steps['a.b'].output.title | upper }}", "TALL"),
        ("{{ steps['a.b'].output.items }}", "[1, 2]"),
        ("{{ steps.nothing.output }}", "None"),
        ("{{ steps.rows.output | sum(attribute='k') }}", "3"),
        ("{% for row in steps.rows.output %}{{ loop.index }}={{ row.k }};{% endfor %}", "1=1;2=2;"),
        ("{{ steps.list.output | sort | join('-') }}", "1-2-3"),
        ("{{ '%s:%03d' % ('a', 7) }} {{ '{:>3}'.format('b') }}", "a:007   b"),
        ("{{ {'a': '<ö>'} | tojson }}", '{"a": "<ö>"}'),
        ("{{ inputs.absent | default('there') }}", "there"),
        ("{# note #}", ""),
    ],
)
def test_prompts_become_text(source: str, wanted: str) -> None:
    assert text(source) == wanted


def test_an_output_that_looks_like_a_template_stays_text() -> None:
    assert text("{{ steps.sly.output }}") == OUTPUTS["sly"]
    assert text("{{ steps.sly.output | trim }}") == OUTPUTS["sly"]
    assert value({"a": "{{ steps.sly.output }}"}) == {"a": OUTPUTS["sly"]}


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("{{ steps.list.output }}", [3, 1, 2]),
        ("{{ steps.list.output | length }}", 3),
        ("{{ steps.nothing.output }}", None),
        ("{{ inputs.n > 2 }}", True),
        ("{{ steps.list.output | map('string') }}", ["3", "1", "2"]),
        ("{{ range(3) }}", [0, 1, 2]),
        ("{{ (1, (2,)) }}", [1, [2]]),
        ("{{ {'a': inputs.n} }}", {"a": 3}),
        ("{{ 'text' }}", "text"),
        (" {{ steps.list.output }}", " [3, 1, 2]"),
        ("{{ inputs.n }}{{ inputs.n }}", "33"),
    ],
)
def test_an_argument_that_is_one_expression_keeps_its_type(source: str, wanted: Any) -> None:
    assert value(source) == wanted
    assert type(value(source)) is type(wanted)


def test_every_text_in_nested_arguments_is_a_template() -> None:
    args = {"a": [1, {"b": "{{ steps.list.output }}", "c": "{{ inputs.topic }}!"}], "{{ key }}": None, "d": True}
    assert value(args) == {"a": [1, {"b": [3, 1, 2], "c": "cats!"}], "{{ key }}": None, "d": True}
    assert args["a"] == [1, {"b": "{{ steps.list.output }}", "c": "{{ inputs.topic }}!"}]


def test_arguments_without_templates_are_not_copied() -> None:
    args = {"a": [1, {"b": "x"}]}
    assert value(args) is args


@pytest.mark.slow
def test_arguments_nested_very_deeply_break_nothing() -> None:
    deep: Any = "{{ inputs.n }}"
    for _ in range(50_000):
        deep = [deep]
    rendered = value(deep)
    while isinstance(rendered, list):
        rendered = rendered[0]
    assert rendered == 3


def test_templates_are_found_with_their_places() -> None:
    assert list(templates_in({"a": ["x", "{{ 1 }}"], "b": "{{ 2 }}"})) == [(("a", 1), "{{ 1 }}"), (("b",), "{{ 2 }}")]


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("steps.check.output == 'yes'", True),
        ("{{ steps.check.output == 'no' }}", False),
        ("  steps.list.output | length > 2 ", True),
        ("inputs.n", True),
        ("steps.nothing.output", False),
        ("not steps.nothing.output and 'c' in inputs.topic", True),
    ],
)
def test_a_condition_may_stand_bare_or_in_braces(source: str, wanted: bool) -> None:
    assert evaluate_condition(source, INPUTS, OUTPUTS) is wanted


def test_an_expression_gives_its_native_value() -> None:
    assert evaluate_expression("steps.rows.output", INPUTS, OUTPUTS) == OUTPUTS["rows"]


@pytest.mark.parametrize(
    "source", ["", "a }} {{ b", "x {{ 1 }}", "{% if 1 %}x{% endif %}", "steps[", "{{ 1 }} or 2", "1 2"]
)
def test_a_condition_that_is_not_one_expression_is_a_finding(source: str) -> None:
    assert compile_expression(source).findings
    with pytest.raises(TemplateError):
        evaluate_condition(source, INPUTS, OUTPUTS)


@pytest.mark.parametrize(
    ("source", "code", "said"),
    [
        ("{{ steps.joke.output", "template-syntax", "end of"),
        ("one\ntwo\n{% if %}", "template-syntax", "line 3"),
        ("{{ {{ 1 }} }}", "template-syntax", ""),
        ("{{ steps.joke.outptu }}", "template-unknown-field", "'output'"),
        ("{{ steps.joke['text'] }}", "template-unknown-field", "only its output"),
        ("{{ steps.joke }}", "template-unknown-field", "steps.joke.output"),
        ("{{ steps[inputs.topic].output }}", "dynamic-reference", "only known in a run"),
        ("{% for s in steps %}{% endfor %}", "dynamic-reference", ""),
        ("{{ steps | length }}", "dynamic-reference", ""),
        ("{{ steps[0].output }}", "dynamic-reference", ""),
        ("{{ topic }}", "template-unknown-name", "inputs.topic"),
        ("{{ stepz.a.output }}", "template-unknown-name", "'steps'"),
        ("{{ self }}", "template-unknown-name", "self"),
        ("{{ lipsum() }}", "template-unknown-name", "lipsum"),
        ("{{ 'x' | uper }}", "template-unknown-name", "'upper'"),
        ("{{ [1] | random }}", "template-unknown-name", "random"),
        ("{{ 1 is evn }}", "template-unknown-name", "'even'"),
        ("{% set steps = 1 %}", "template-reserved-name", "steps"),
        ("{% for inputs in [1] %}{% endfor %}", "template-reserved-name", "inputs"),
        ("{% macro steps() %}{% endmacro %}", "template-reserved-name", "steps"),
        ("{% include 'x' %}", "template-statement", "include"),
        ("{% import 'x' as y %}", "template-statement", "import"),
        ("{% from 'x' import y %}", "template-statement", "from"),
        ("{% extends 'x' %}", "template-statement", "extends"),
        ("{% block a %}{% endblock %}", "template-statement", "block"),
        ("{{ ''.__class__ }}", "template-private", "__class__"),
        ("{{ ''['__class__'] }}", "template-private", "__class__"),
        ("{{ '' | attr('__class__') }}", "template-private", "__class__"),
        ("{{ [''] | map(attribute='__class__') | list }}", "template-private", "__class__"),
        ("{{ '' | attr('_' ~ '_class__') }}", "template-private", "__class__"),
        ("{{ steps.joke.output.__class__.__mro__ }}", "template-private", "__mro__"),
        ("{{ " + "(" * 50_000, "template-syntax", "too deeply"),
        ("{{ " + "-" * 50_000 + "1 }}", "template-syntax", "too deeply"),
        ("{{ 1" + "+1" * 500 + " }}", "template-syntax", "too deeply"),
        ("{% for i in [1] %}" * 30 + "{% endfor %}" * 30, "template-syntax", "nested"),
    ],
)
def test_faults_are_found_before_the_run(source: str, code: str, said: str) -> None:
    findings = compile_template(source).findings
    assert code in [finding.code for finding in findings]
    assert said in " ".join(f"{finding.message} {finding.fix}" for finding in findings)
    with pytest.raises(TemplateError):
        text(source)


ENDLESS = [
    "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}",
    "{% for i in range(99999) %}{% for j in range(99999) if false %}{% endfor %}{% endfor %}",
    "{% for i in range(99999) %}{{ range(99999) | select | list | length }}{% endfor %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "{% for x in [1, 1] recursive %}{% if loop.depth < 60 %}{{ loop([1, 1]) }}{% endif %}{% endfor %}",
    "{% set x = range(99999) | list %}{% for i in x %}{{ 5000000 in x }}{% endfor %}",
    "{{ range(10**9) }}",
    "{{ range(10**30) | list }}",
]
GIANT = [
    "{{ 'a' * 10**10 }}",
    "{{ [0] * 10**10 }}",
    "{{ 10**(10**10) }}",
    "{{ 'a' | center(10**10) }}",
    "{{ '%9999999999d' % 1 }}",
    "{{ '%*d' | format(9999999999, 1) }}",
    "{{ '{:9999999999}'.format(1) }}",
    "{{ 'a'.ljust(10**9) }}",
    "{{ 'x' * 9999999 }}{{ 'x' * 9999999 }}",
    "{{ ('x' * 99999).replace('', 'x' * 99999) }}",
    "{{ ('x' * 99999) | replace('', 'x' * 99999) }}",
    "{{ ('x' * 9999999).join(['', '', '']) }}",
    "{{ 'a' | indent(10**9, true) }}",
    "{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "{% set ns = namespace(x=7) %}{% for i in range(60) %}{% set ns.x = ns.x * ns.x %}{% endfor %}",
    "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
    "{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}{% endfor %}",
    "{% set ns = namespace(x=1) %}{% for i in range(60) %}{% set ns.x = dict(a=ns.x, b=ns.x) %}{% endfor %}",
]


@pytest.mark.parametrize("source", ENDLESS + GIANT)
def test_endless_and_giant_templates_stop_and_are_found_before_the_run(source: str) -> None:
    assert codes(source) == ["template-limit"]


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(inputs.big) %}{% for j in range(inputs.big) %}x{% endfor %}{% endfor %}",
        "{{ 'a' * inputs.huge }}",
        "{{ inputs.huge ** inputs.huge }}",
        "{{ 'x' | center(inputs.huge) }}",
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(inputs.big) }}",
        "{{ '%{}d'.format(inputs.huge) % 1 }}",
        "{{ inputs.long ~ inputs.long }}",
        "{{ inputs.long }}{{ inputs.long }}",
    ],
)
def test_what_only_a_run_can_know_is_stopped_in_the_run(source: str) -> None:
    assert codes(source) == []
    with pytest.raises(TemplateLimitError):
        render_text(source, {"big": 99_999, "huge": 10**10, "long": "x" * 9_999_999}, {})


@pytest.mark.parametrize(
    "source",
    [
        "{% if steps.a.output %}{{ 'a' * 10**10 }}{% endif %}",
        "{% macro m(n) %}{% if n == 0 %}.{% else %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(inputs.n) }}",
        "{% set x %}{{ steps.a.output }}{% endset %}{% if x == '' %}{{ 'a' * 10**10 }}{% endif %}",
        "{{ steps.a.output * 3 + inputs.n }}{{ 'x' in steps.a.output }}",
        "{{ steps.a.output | join(', ') | center(9) }}{{ steps.a.output[1:] | length }}",
        "{{ steps.a.output.items() | map('first') | list }}{{ '%s' % steps.a.output }}",
        "{{ '{}'.format(steps.a.output) }}{{ 'a'.join(steps.a.output) }}{{ steps.a.output() }}",
    ],
)
def test_nothing_is_refused_that_depends_on_what_the_steps_put_out(source: str) -> None:
    assert codes(source) == []


def test_a_loop_over_a_hundred_thousand_items_is_fine() -> None:
    rows = [{"k": number} for number in range(100_000)]
    source = "{% for row in steps.a.output %}{{ row.k }},{% endfor %}"
    assert len(render_text(source, {}, {"a": rows}).split(",")) == 100_001


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ inputs.topik }}", "'topic'"),
        ("{{ steps['a.b'].output.titel }}", "'title'"),
        ("{{ steps.jok.output }}", "'joke'"),
        ("{{ steps.joke.output.x.y }}", "x"),
        ("{% set s = steps.joke %}{{ s.otput }}", "only its output"),
        ("{{ 1 / (inputs.n - 3) }}", "division by zero"),
        ("a\nb\n{% for x in inputs.n %}{% endfor %}", "line 3"),
        ("{{ '{0.__class__}'.format(inputs) }}", "unsafe"),
        ("{{ inputs.n.to_bytes(5) }}", "unsafe"),
        ("{{ namespace() }}", "no text"),
        ("{{ steps.list.output.append(1) }}", "unsafe"),
    ],
)
def test_what_goes_wrong_in_a_run_is_said_plainly(source: str, said: str) -> None:
    with pytest.raises(TemplateError, match=said):
        text(source)


def test_an_argument_that_json_cannot_hold_is_refused() -> None:
    for source in ("{{ namespace() }}", "{{ range }}", "{{ [range] }}", "{{ [inputs.absent] }}"):
        with pytest.raises(TemplateError):
            value(source)


def test_outputs_cannot_be_changed_by_a_template() -> None:
    outputs = {"a": [1]}
    for source in ("{{ steps.a.output.append(2) }}", "{% set _ = steps.a.output.extend([2]) %}"):
        with pytest.raises(TemplateError):
            render_text(source, {}, outputs)
    assert outputs == {"a": [1]}


def test_templates_may_be_rendered_from_many_threads_at_once() -> None:
    source = "{% for x in steps.a.output %}{{ x }}{% endfor %}"
    results: list[str] = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(render_text(source, {}, {"a": [n] * 2000})))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == sorted(str(n) * 2000 for n in range(8))


def test_plain_references_agree_with_jinja() -> None:
    for source in (
        "{{ steps.joke.output }}",
        "{{steps['a.b'].output.title}} {{ inputs.n }}",
        "x{{ steps.nothing.output }}",
    ):
        assert compile_template(source).findings == ()
        assert text(source) == text(source.replace("}}", "| string }}"))


@pytest.mark.parametrize("source", ["{{{ steps.joke.output }}", "{{ steps.joke.output }", "{{ steps.joke.output %}"])
def test_braces_are_read_as_jinja_reads_them(source: str) -> None:
    assert codes(source) == ["template-syntax"]


def test_jinja_is_imported_only_when_a_template_needs_it() -> None:
    program = """
import sys
from executor.dependencies import plan
from executor.templates.template import render_text
from executor.model.workflow import Step, Workflow
steps = (Step(step_id="a", prompt="{x} plain"), Step(step_id="b", prompt="go {{ steps.a.output }}"))
assert plan(Workflow(steps=steps)).graph
assert render_text("go {{ steps.a.output }} {{ inputs.x }}", {"x": 1}, {"a": 2}) == "go 2 1"
assert "jinja2" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_wordwrap_gives_what_jinja_gives() -> None:
    chance = random.Random(1)
    mine, theirs = sandbox().filters["wordwrap"], JINJA_FILTERS["wordwrap"]
    for _ in range(3_000):
        source = " " * chance.choice([0, 0, 25]) + "".join(chance.choices("ab1-- \n\t,é", k=chance.choice([5, 60])))
        options = {
            "width": chance.randrange(1, 12),
            "break_long_words": chance.random() < 0.8,
            "break_on_hyphens": chance.random() < 0.6,
            "wrapstring": chance.choice([None, "|"]),
        }
        with budget():
            assert mine(sandbox(), source, **options) == theirs(sandbox(), source, **options)


@pytest.mark.parametrize(
    ("source", "given"),
    [
        ("{{ inputs.x | wordwrap }}", "a" * 9_000_000),
        ("{{ inputs.x | wordwrap(1) }}", "ab " * 1_700_000),
        ("{{ inputs.x | sort }}", "ab " * 1_700_000),
        ("{{ inputs.x | groupby('k') }}", "ab " * 1_700_000),
        ("{{ inputs.x.strip('b' * 99999 + 'a') }}", "a" * 9_000_000),
        ("{{ inputs.x.rfind('b' ~ inputs.x[:4000000]) }}", "a" * 9_000_000),
        ("{% for i in range(90000) %}{% set y = inputs.x[1:] %}{% endfor %}", "a" * 9_000_000),
        ("{{ (inputs.x | int(base=16)) // 3 }}", "f" * 9_000_000),
        ("{{ inputs.x is divisibleby(3) }}", "%999999999d"),
    ],
)
def test_what_would_take_long_on_a_large_value_is_refused(source: str, given: str) -> None:
    with pytest.raises(TemplateError):
        render_text(source, {"x": given}, {})


def test_a_mapping_with_many_keys_says_quickly_that_it_has_no_such_key() -> None:
    with pytest.raises(TemplateError, match="the mapping has no 'kkk"):
        render_text("{{ inputs.x[inputs.k] }}", {"x": {f"key{n}": n for n in range(100_000)}, "k": "k" * 1_000_000}, {})
