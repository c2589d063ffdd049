"""The rules planner: the tasks that the seed quotes, their cousins, and any other text."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from executor.dependencies import plan
from executor.model.findings import WorkflowError
from executor.model.workflow import Step, Workflow
from harness.config import Chat, Config, WorkflowMode, load_config
from harness.planner import Planned, load_plan, plan_task
from harness.planner.draft import STEPS_LIMIT
from harness.planner.planned_task import name_of

QUOTED = (
    "write a joke and translate to french and spanish",
    "write 3 different jokes about cats, dogs, and birds",
    "write a technical article, a summary, and social media posts",
    "convert document to PDF, DOCX, and HTML",
    "generate 5 different headlines for A/B testing",
)


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config()


def shape(planned: Planned) -> list[tuple[str, int | str | None, list[str]]]:
    """Description, group and dependencies of each step."""
    return [(step.description, step.parallel_group, list(step.depends_on)) for step in planned.steps]


def steps_of(task: str, config: Config) -> tuple[Step, ...]:
    return plan_task(task, config=config).steps


def without_mode(config: Config, *, enabled: bool = False, keywords: tuple[str, ...] = ()) -> Config:
    mode = WorkflowMode(enabled=enabled, detect_keywords=keywords)
    return config.model_copy(update={"chat": Chat(workflow_mode=mode)})


# ---------------------------------------------------------------------- what the seed quotes


def test_a_joke_and_its_translations_side_by_side(config: Config) -> None:
    planned = plan_task(QUOTED[0], config=config)
    assert shape(planned) == [
        ("Write a joke", None, []),
        ("Translate to French", 1, ["step1"]),
        ("Translate to Spanish", 1, ["step1"]),
    ]
    assert [step.tool for step in planned.steps] == ["content_generator", "nmt_translator", "nmt_translator"]
    assert planned.steps[1].prompt == "Translate to French: {{ steps.step1.output }}"


def test_three_jokes_are_independent(config: Config) -> None:
    assert shape(plan_task(QUOTED[1], config=config)) == [
        ("Write joke about cats", 1, []),
        ("Write joke about dogs", 1, []),
        ("Write joke about birds", 1, []),
    ]


def test_summary_and_posts_wait_for_the_article_alone(config: Config) -> None:
    planned = plan_task(QUOTED[2], config=config)
    assert shape(planned) == [
        ("Write a technical article", None, []),
        ("Write a summary", 1, ["step1"]),
        ("Write a Twitter post", 1, ["step1"]),
        ("Write a LinkedIn post", 1, ["step1"]),
    ]
    assert planned.steps[1].tool == "summarizer"


def test_conversions_are_independent(config: Config) -> None:
    planned = plan_task(QUOTED[3], config=config)
    assert shape(planned) == [("Convert to PDF", 1, []), ("Convert to DOCX", 1, []), ("Convert to HTML", 1, [])]
    assert [step.args["to"] for step in planned.steps if step.args] == ["pdf", "docx", "html"]
    assert [finding.code for finding in planned.findings] == ["no-document"]


def test_five_headlines_are_independent_and_each_knows_its_number(config: Config) -> None:
    planned = plan_task(QUOTED[4], config=config)
    assert shape(planned) == [(f"Generate headline {number} for A/B testing", 1, []) for number in range(1, 6)]
    assert len({step.prompt for step in planned.steps}) == 5


@pytest.mark.parametrize("task", QUOTED)
def test_every_quoted_task_passes_the_rules_without_a_hint(task: str, config: Config) -> None:
    loaded = load_plan(plan_task(task, config=config), config=config)
    assert [finding.code for finding in loaded.findings if finding.code != "no-document"] == []


@pytest.mark.parametrize("task", QUOTED)
def test_no_keyword_is_needed_where_a_list_or_a_number_stands(task: str, config: Config) -> None:
    assert shape(plan_task(task, config=without_mode(config))) == shape(plan_task(task, config=config))


# ---------------------------------------------------------------------- their cousins


@pytest.mark.parametrize(
    "task",
    [
        "write three jokes about cats, dogs and birds",
        "Write 3 jokes about cats, dogs, birds.",
        "please write jokes about cats, dogs, and birds",
        "could you write 3 distinct jokes about these animals: cats, dogs and birds?",
        "3 jokes about cats, dogs as well as birds",
    ],
)
def test_a_list_may_be_written_in_many_ways(task: str, config: Config) -> None:
    assert [step.description for step in steps_of(task, config)] == [
        "Write joke about cats",
        "Write joke about dogs",
        "Write joke about birds",
    ]


def test_a_chain_hands_on_what_was_made_last(config: Config) -> None:
    task = "write an article about rust, then summarise it and then translate the summary to French"
    assert shape(plan_task(task, config=config)) == [
        ("Write an article about rust", None, []),
        ("Summarise it", None, ["step1"]),
        ("Translate the summary to French", None, ["step2"]),
    ]


@pytest.mark.parametrize(
    ("task", "dependencies"),
    [
        ("write a joke, then write a poem", [[], ["step1"]]),
        ("write a joke and write a poem", [[], []]),
        ("write a poem and a haiku about spring", [[], []]),
        ("write 2 poems and pick the best", [[], [], ["step1", "step2"]]),
        ("write 2 jokes and translate them to French", [[], [], ["step1"], ["step2"]]),
        ("write a joke, translate it to French and German, then combine the translations",
         [[], ["step1"], ["step1"], ["step2", "step3"]]),
        ("write a joke, translate to French and German, and then proofread each translation",
         [[], ["step1"], ["step1"], ["step2"], ["step3"]]),
        ("write a story and its French and Spanish translations", [[], ["step1"], ["step1"]]),
        ("write a blog post about AI, then write a tweet about it", [[], ["step1"]]),
        ("research wind, sun and water, then compare them", [[], [], [], ["step1", "step2", "step3"]]),
        ("write a report and convert it to PDF and Word", [[], ["step1"], ["step1"]]),
        ("write an essay; proofread it; convert it to PDF", [[], ["step1"], ["step2"]]),
        ("write a joke, translate to French and German, then summarise it", [[], ["step1"], ["step1"], ["step1"]]),
        ("write a letter and post it to Mastodon", [[], ["step1"]]),
        ("write an article about AI and a summary of it", [[], ["step1"]]),
        ("write a story, a review of it and a title for it", [[], ["step1"], ["step1"]]),
        ("write 2 taglines, rank them, and write an ad for the best one",
         [[], [], ["step1", "step2"], ["step3"]]),
        ("research the history of Rome and Athens and write a report comparing them", [[], [], ["step1", "step2"]]),
    ],
)  # fmt: skip
def test_words_that_refer_to_something_become_dependencies(
    task: str, dependencies: list[list[str]], config: Config
) -> None:
    assert [list(step.depends_on) for step in steps_of(task, config)] == dependencies


@pytest.mark.parametrize(
    ("task", "descriptions"),
    [
        ("write a joke about cats and dogs", ["Write a joke about cats and dogs"]),
        ("write a funny, short joke", ["Write a funny, short joke"]),
        ("write 3 sentences about cats", ["Write 3 sentences about cats"]),
        ("write a list of 5 jokes", ["Write a list of 5 jokes"]),
        ("write a greeting in French and German", ["Write greeting in French", "Write greeting in German"]),
        ("create Twitter and LinkedIn posts about us",
         ["Create a Twitter post about us", "Create a LinkedIn post about us"]),
        ("write product descriptions for shoes, hats and socks for children",
         [f"Write product description for {thing} for children" for thing in ("shoes", "hats", "socks")]),
        ("translate 'good morning and then some' to French, Klingon", ["Translate to French", "Translate to Klingon"]),
        ("translate to French and German: I love you, and then left.", ["Translate to French", "Translate to German"]),
        ("bake a cake", ["Bake a cake"]),
        ("write a 500 word essay about 3 famous battles", ["Write a 500 word essay about 3 famous battles"]),
        ("write an 800 word essay", ["Write an 800 word essay"]),
        ("proofread my letter and write the 3 page report", ["Proofread my letter", "Write the 3 page report"]),
        ("write 0 jokes", ["Write 0 jokes"]),
        ("write a dialogue between Tom and Jerry", ["Write a dialogue between Tom and Jerry"]),
        ("write a poem in English and in French", ["Write poem in English", "Write poem in French"]),
        ("research the history of Rome and Athens",
         ["Research the history of Rome", "Research the history of Athens"]),
    ],
)  # fmt: skip
def test_what_is_one_thing_and_what_is_several(task: str, descriptions: list[str], config: Config) -> None:
    assert [step.description for step in steps_of(task, config)] == descriptions


def test_a_sentence_on_how_it_is_to_be_reaches_the_prompt_of_what_was_asked_for(config: Config) -> None:
    (step,) = steps_of("Write a poem about spring. Make it funny.", config)
    assert step.prompt == "Make it funny.\nWrite a poem about spring"


def test_a_summary_in_several_languages_asks_for_each_of_them(config: Config) -> None:
    steps = steps_of("write an article about AI and a summary of it in French and in German", config)
    assert [step.prompt for step in steps[1:]] == [
        f"Write a summary of this article in {language}: {{{{ steps.step1.output }}}}"
        for language in ("French", "German")
    ]


def test_braces_of_a_task_reach_the_prompt_as_they_are(config: Config) -> None:
    (step,) = steps_of("write a joke about {{ topic }}", config)
    assert step.description == "Write a joke about {{ topic }}"
    assert step.prompt is not None
    assert step.prompt.endswith("topic }}")


def test_a_named_file_is_the_input(config: Config) -> None:
    planned = plan_task("convert report.md to PDF and EPUB", config=config)
    assert planned.inputs["document"] == "report.md"
    assert planned.findings == ()
    assert [step.args["to"] for step in planned.steps if step.args] == ["pdf", "epub"]


def test_what_the_task_does_not_hold_is_said(config: Config) -> None:
    codes = [finding.code for finding in plan_task("translate it to French", config=config).findings]
    assert codes == ["unclear-task"]
    codes = [finding.code for finding in plan_task("convert photo to PNG and PDF", config=config).findings]
    assert "no-converter" in codes


# ---------------------------------------------------------------------- workflow_mode


def test_a_chain_is_one_step_where_workflow_mode_is_off(config: Config) -> None:
    task = "write a joke and translate it to french"
    planned = plan_task(task, config=without_mode(config))
    assert shape(planned) == [(task, None, [])]
    assert planned.steps[0].prompt == task
    assert "workflow_mode is off" in planned.findings[0].message


def test_a_chain_is_several_steps_if_a_keyword_stands_in_it(config: Config) -> None:
    task = "write a joke; improve it"
    assert len(steps_of(task, config)) == 1
    assert len(steps_of(task, without_mode(config, enabled=True, keywords=("improve",)))) == 2
    assert len(steps_of(task, without_mode(config, enabled=True, keywords=("prove",)))) == 1


# ---------------------------------------------------------------------- any other text


def test_braces_of_the_task_are_text_and_no_template(config: Config) -> None:
    planned = plan_task("write a joke about {{ inputs.secret }} and {% raw %} and a poem", config=config)
    assert load_plan(planned, config=config).graph.data_parents == [(), ()]


@pytest.mark.parametrize(
    ("task", "code"), [("", "empty-task"), (" ?!. ", "empty-task"), ("x" * 20_001, "task-too-long")]
)
def test_what_is_no_task_is_refused_with_a_fix(task: str, code: str, config: Config) -> None:
    with pytest.raises(WorkflowError) as caught:
        plan_task(task, config=config)
    assert [(finding.code, bool(finding.fix)) for finding in caught.value.findings] == [(code, True)]


@pytest.mark.parametrize(
    "task", [f"write {STEPS_LIMIT + 1} jokes", "write 999999999 jokes", "write 600 jokes, 600 poems"]
)
def test_more_steps_than_anybody_means_are_refused(task: str, config: Config) -> None:
    with pytest.raises(WorkflowError, match="more than 1,000 steps"):
        plan_task(task, config=config)


WORDS = """
    write generate translate convert summarise proofread pick compare post make keep please then and , , . ; : ! ( )
    a an the 3 five several couple of different each every joke jokes summary article posts poem translations French
    spanish PDF HTML to into about for in on with it them both all this these its their "quoted text" report.md result
    cats dogs birds A/B {{ }} {% # 0 1000 première 日本 next finally after that as well as one
    chapter chapters 1 2 1.2 to 3 between up or more how following report Step 1: 1. 2. 3. a) b) (1) (2) - * [ ] &"""
PHRASES = ["\n", "\n-", "\n1.", "\n2.", "fish and chips", "pros and cons", "2 to 3", "up to 3", "Romeo & Juliet"]


@given(st.lists(st.sampled_from([*WORDS.split(), *PHRASES]), max_size=30).map(" ".join))
@example("{{ \n- about of 1. these ,")
@settings(max_examples=150, deadline=None)
def test_any_sentence_of_known_words_becomes_a_valid_plan(text: str) -> None:
    check_any(text)


@given(st.text(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_text_at_all_becomes_a_valid_plan_or_a_refusal(text: str) -> None:
    check_any(text)


_CONFIG = load_config()


def check_any(text: str) -> None:
    try:
        planned = plan_task(text, config=_CONFIG)
    except WorkflowError as error:
        codes = {finding.code for finding in error.findings}
        if not codes <= {"empty-task", "too-many-steps"}:
            raise
        return
    found = plan(Workflow(steps=planned.steps, inputs=dict(planned.inputs)))
    assert [finding for finding in found.findings if finding.severity == "error"] == []
    assert found.graph is not None
    # What a template mentions is declared: nothing of the task's own text became a reference.
    for step, parents in zip(planned.steps, found.graph.data_parents, strict=True):
        assert len(parents) == len(step.depends_on)
    load_plan(planned, config=_CONFIG)


@given(st.text(max_size=60))
@settings(max_examples=100, deadline=None)
def test_the_name_of_a_plan_is_short_and_not_empty(task: str) -> None:
    assert 0 < len(name_of(task)) <= 48
