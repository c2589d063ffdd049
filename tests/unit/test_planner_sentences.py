"""Sentences of many kinds for the rules planner: pairs, ranges, numbered things, marked lists, and what it assumed."""

from __future__ import annotations

import pytest

from harness.config import Config, load_config
from harness.planner import load_plan, plan_task
from harness.planner.planned_task import TASK_LIMIT_CHARACTERS
from harness.planner.tokens import PAIRS, listed, number_of, range_of, tokens_of

ASSUMED = "assumed-reading"


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config()


def planned_as(task: str, config: Config) -> list[str]:
    """Each step as ``description <- the steps that it waits for``."""
    return [
        f"{step.description} <- {', '.join(step.depends_on)}" if step.depends_on else str(step.description)
        for step in plan_task(task, config=config).steps
    ]


@pytest.mark.parametrize("words", ["an 11-line poem", "an 18 line poem", "an 8-line poem", "a 110-line poem"])
def test_a_number_has_the_article_with_which_it_is_said(words: str, config: Config) -> None:
    (step,) = plan_task(f"write {words}", config=config).steps
    assert step.prompt == f"Write {words}"


def assumed_of(task: str, config: Config) -> list[str]:
    findings = plan_task(task, config=config).findings
    return [finding.message for finding in findings if finding.code == ASSUMED]


SENTENCES: list[tuple[str, list[str]]] = [
    # one "and" that joins more than two
    ("write poems about chapters 1 to 3 and 5", [f"Write poem about chapter {number}" for number in (1, 2, 3, 5)]),
    ("write posts about Ben & Jerry’s", ["Write posts about Ben & Jerry’s"]),
    ("write an 18 line poem", ["Write an 18 line poem"]),
    # an "and" inside of a noun phrase
    ("write a recipe for fish and chips", ["Write a recipe for fish and chips"]),
    ("write jokes about fish and chips", ["Write jokes about fish and chips"]),
    ("write tips on salt and pepper, oil & vinegar", ["Write tip on salt and pepper", "Write tip on oil & vinegar"]),
    ("Write a story about a man who buys fish and chips and a poem",
     ["Write a story about a man who buys fish and chips", "Write a poem"]),
    ("write terms and conditions and a privacy policy", ["Write terms and conditions", "Write a privacy policy"]),
    ("Describe the pros and cons of remote work", ["Describe the pros and cons of remote work"]),
    ("Explain supply and demand, inflation and interest rates",
     ["Explain supply and demand", "Explain inflation", "Explain interest rates"]),
    ("write pros and cons of remote work, then translate them to German",
     ["Write pros and cons of remote work", "Translate to German <- step1"]),
    ("write a question and answer it", ["Write a question", "Answer it <- step1"]),
    ("describe the difference between TCP and UDP", ["Describe the difference between TCP and UDP"]),
    ("describe both cats and dogs", ["Describe cats", "Describe dogs"]),
    ("write recipes for fish, and chips", ["Write recipe for fish", "Write recipe for chips"]),
    ("write posts for Ben & Jerry's and Marks & Spencer",
     ["Write post for Ben & Jerry's", "Write post for Marks & Spencer"]),
    # numbers that leave a range
    ("write 2 to 3 jokes", ["Write joke 1", "Write joke 2", "Write joke 3"]),
    ("write 2–3 jokes about cats, dogs and birds",
     ["Write joke about cats", "Write joke about dogs", "Write joke about birds"]),
    ("write two or three jokes about cats and dogs", ["Write joke about cats", "Write joke about dogs"]),
    ("write one or two haikus and a limerick", ["Write haiku 1", "Write haiku 2", "Write a limerick"]),
    ("Generate between two and three slogans for a bakery, then pick the best",
     ["Generate slogan 1 for a bakery", "Generate slogan 2 for a bakery", "Generate slogan 3 for a bakery",
      "Pick the best <- step1, step2, step3"]),
    ("Come up with at least 2 taglines", ["Write tagline 1", "Write tagline 2"]),
    ("write up to 2 poems", ["Write poem 1", "Write poem 2"]),
    ("write 2 or more poems", ["Write poem 1", "Write poem 2"]),
    ("write a joke and translate it to two to three languages",
     ["Write a joke", *(f"Translate to {language} <- step1" for language in ("French", "Spanish", "German"))]),
    ("write 2 to 3 sentences about cats", ["Write 2 to 3 sentences about cats"]),
    ("write a 2 to 3 sentence joke", ["Write a 2 to 3 sentence joke"]),
    ("Draft an email of 100 to 150 words to my team", ["Draft an email of 100 to 150 words to my team"]),
    ("write a haiku about 9 to 5 jobs", ["Write a haiku about 9 to 5 jobs"]),
    ("write the 2023-2024 report", ["Write the 2023-2024 report"]),
    ("write an ad for a 3-in-1 printer", ["Write an ad for a 3-in-1 printer"]),
    # things with numbers for names
    ("write chapter 1, chapter 2 and chapter 3", ["Write chapter 1", "Write chapter 2", "Write chapter 3"]),
    ("summarize chapter 1, chapter 2 and chapter 3",
     ["Summarize chapter 1", "Summarize chapter 2", "Summarize chapter 3"]),
    ("summarise chapters 1-3 of my book", [f"Summarise chapter {number} of my book" for number in (1, 2, 3)]),
    ("Translate sections 2 and 4 of the manual to German",
     ["Translate section 2 of the manual to German", "Translate section 4 of the manual to German"]),
    ("write summaries of chapters 1 to 3", [f"Write summary of chapter {number}" for number in (1, 2, 3)]),
    ("write a summary of chapters 1 to 3", ["Write a summary of chapters 1 to 3"]),
    ("compare chapter 1 and chapter 2", ["Compare chapter 1 and chapter 2"]),
    ("write chapters 1 and 2, then summarize chapter 2",
     ["Write chapter 1", "Write chapter 2", "Summarize chapter 2 <- step2"]),
    ("write chapter 1, chapter 2 and combine the chapters",
     ["Write chapter 1", "Write chapter 2", "Combine the chapters <- step1, step2"]),
    ("write 3 jokes and translate joke 2 to French",
     ["Write joke 1", "Write joke 2", "Write joke 3", "Translate the joke 2 to French <- step2"]),
    ("Explain Newton's laws 1, 2 and 3", [f"Explain Newton's law {number}" for number in (1, 2, 3)]),
    ("Review pull requests 12 and 15, then merge them",
     ["Review pull request 12", "Review pull request 15", "Merge them <- step1, step2"]),
    ("Write days 1 to 3 of a diary", [f"Write day {number} of a diary" for number in (1, 2, 3)]),
    ("write release notes for versions 1.2 and 2.0",
     ["Write release note for version 1.2", "Write release note for version 2.0"]),
    ("Summarize chapters one to three", [f"Summarize chapter {number}" for number in (1, 2, 3)]),
    ("Summarize chapter 2 or 3", ["Summarize chapter 2 or 3"]),
    ("report on chapter 4 and 5 other books", ["Report on chapter 4 and 5 other books"]),
    ('Translate "hello and goodbye" and "thank you" to Spanish',
     ['Translate "hello and goodbye" to Spanish', 'Translate "thank you" to Spanish']),
    # lists that are marked as such
    ("1. write a joke 2. translate it to French", ["Write a joke", "Translate to French <- step1"]),
    ("1. Write a joke.\n2. Translate it to French.\n3. Summarize it.",
     ["Write a joke", "Translate to French <- step1", "Summarize it <- step2"]),
    ("Do the following:\n1) write a joke\n2) write a poem\n3) combine them",
     ["Write a joke", "Write a poem", "Combine them <- step1, step2"]),
    ("Please do this: (1) write an article, (2) write a tweet about it, and (3) translate the tweet to Spanish",
     ["Write an article", "Write a tweet <- step1", "Translate the tweet to Spanish <- step2"]),
    ("a) write a joke b) translate it to German", ["Write a joke", "Translate to German <- step1"]),
    ("Step 1: write a joke. Step 2: write a poem.", ["Write a joke", "Write a poem <- step1"]),
    ("Steps:\n1. Research electric cars.\n2. Write a report on them.",
     ["Research electric cars", "Write a report <- step1"]),
    ("- write a joke\n- translate it to French", ["Write a joke", "Translate to French <- step1"]),
    ("I need:\n* a joke about cats\n* a poem about dogs\n* a summary of both",
     ["Write a joke about cats", "Write a poem about dogs", "Write a summary <- step1, step2"]),
    ("Write jokes about the following animals:\n- cats\n- dogs\n- birds",
     ["Write joke about cats", "Write joke about dogs", "Write joke about birds"]),
    ("Write: 1) an introduction 2) a conclusion", ["Write an introduction", "Write a conclusion"]),
    ("Write 2 poems:\n1. about love\n2. about war", ["Write 2 poems"]),
    ("Write an article with these sections:\n1. Introduction\n2. Methods\n3. Conclusion",
     ["Write an article with these sections"]),
    ("Write an article about AI:\n- keep it short\n- mention the costs", ["Write an article about AI"]),
    ("Summarize:\n- report.md\n- notes.md", ["Summarize: report.md", "Summarize: notes.md"]),
    ("Translate to French:\n1. good morning\n2. good night",
     ['Translate "good morning" to French', 'Translate "good night" to French']),
    ("Translate the list below to French:\n1. write a joke\n2. send it", ["Translate to French"]),
    ('Translate "1. one 2. two" to French', ["Translate to French"]),
    ("summarize chapter 1. Then summarize chapter 2.", ["Summarize chapter 1", "Summarize chapter 2 <- step1"]),
    ("Compare:\n- Python\n- Rust", ["Compare"]),
    ("* [ ] write a story\n* [x] illustrate it", ["Write a story", "Illustrate it <- step1"]),
    # one more of what was named, things for other things, and letters to a person
    ("Write a poem and two titles for it", ["Write a poem", "Write title 1 <- step1", "Write title 2 <- step1"]),
    ("Write to John and Mary", ["Write to John and Mary"]),
    ("Explain how to cook rice and fry eggs", ["Explain how to cook rice and fry eggs"]),
    # what "them" means where each thing has a clause of its own
    ("write a joke, write a poem, and translate both to French",
     ["Write a joke", "Write a poem", "Translate joke to French <- step1", "Translate poem to French <- step2"]),
    ("write a joke, translate it to French, then compare them",
     ["Write a joke", "Translate to French <- step1", "Compare them <- step1, step2"]),
    ("write limericks, proofread them and translate them to French",
     ["Write limericks", "Proofread them <- step1", "Translate to French <- step2"]),
    ("research sun and wind, write a report comparing them and translate the report to French",
     ["Research sun", "Research wind", "Write a report comparing them <- step1, step2",
      "Translate the report to French <- step3"]),
]  # fmt: skip


@pytest.mark.parametrize(("task", "steps"), SENTENCES, ids=[task[:50] for task, _ in SENTENCES])
def test_a_sentence_becomes_the_steps_that_a_person_would_name(task: str, steps: list[str], config: Config) -> None:
    planned = plan_task(task, config=config)
    assert planned_as(task, config) == steps
    assert load_plan(planned, config=config).graph.data_parents  # every rule holds


@pytest.mark.parametrize(
    ("task", "assumed"),
    [
        ("write jokes about cats and dogs", ['"about cats and dogs" is taken for one joke about each of the two']),
        ("write jokes about fish and chips", ['"fish and chips" is taken for one thing']),
        ("research wind and sun", ['"research" is taken for one step for each of the two: wind, sun']),
        ("write 2 to 3 jokes", ['"2 to 3" is taken for 3, the highest number in it']),
        ("write up to 3 jokes", ['"up to 3" is taken for 3']),
        ("write chapters 1 and 2",
         ["each of these is a step of its own, which knows nothing of the others: chapter 1, chapter 2"]),
        ("1. write a joke 2. write a poem",
         ["the list is taken for things to do in any order: 1 of its points wait for none before them"]),
    ],
)  # fmt: skip
def test_what_could_mean_two_things_says_what_was_taken_and_how_to_ask_for_the_other(
    task: str, assumed: list[str], config: Config
) -> None:
    assert assumed_of(task, config) == assumed
    findings = plan_task(task, config=config).findings
    assert all(finding.severity == "hint" and finding.fix for finding in findings if finding.code == ASSUMED)


@pytest.mark.parametrize(
    "task",
    [
        "write a recipe for fish and chips",
        "write jokes about cats, dogs and birds",
        "write a joke about cats and dogs",
        "write a joke for each of Monday and Tuesday",
        "write 2 to 3 jokes about cats, dogs and birds",
        "write 3 jokes",
        "1. write a joke 2. translate it to French",
        "Step 1: write a joke. Step 2: write a poem.",
        "Translate to French:\n1. good morning\n2. good night",
        "Translate 'good morning' and 'good night' to French",
    ],
)
def test_what_means_one_thing_alone_is_not_remarked_on(task: str, config: Config) -> None:
    assert assumed_of(task, config) == []


def test_the_way_out_that_a_remark_names_gives_the_other_reading(config: Config) -> None:
    assert planned_as("write one joke about cats and dogs", config) == ["Write one joke about cats and dogs"]
    assert len(planned_as("write jokes about fish, chips", config)) == 2
    assert planned_as("research 'wind and sun'", config) == ["Research 'wind and sun'"]
    assert len(planned_as("write 2 jokes", config)) == 2


def test_words_before_a_list_that_say_what_it_is_for_reach_every_point(config: Config) -> None:
    steps = plan_task("Plan my party:\n1. write invitations\n2. write a menu", config=config).steps
    assert [step.prompt for step in steps] == ["Plan my party.\nWrite invitations", "Plan my party.\nWrite a menu"]


def test_points_that_belong_to_one_thing_reach_its_prompt(config: Config) -> None:
    (step,) = plan_task("Write an article with these sections:\n1. Start\n2. End", config=config).steps
    assert step.prompt == "Write an article with these sections: Start; End"


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("2 to 3", (2, 3)), ("2-3", (2, 3)), ("two – three", (2, 3)), ("between 1 and 4", (1, 4)), ("up to 5", (5, 5)),
        ("3 or more", (3, 3)), ("5+", (5, 5)), ("9 to 5", None), ("3 to 3", None), ("2023-2024", None),
        ("0 to 2", None), ("3", None), ("three", None), ("cats", None), ("2 to", None),
    ],
)  # fmt: skip
def test_a_range_has_to_rise_and_to_be_a_count(word: str, found: tuple[int, int] | None) -> None:
    assert range_of(word) == found
    if found is not None:
        assert number_of(word) == found[1]


def test_every_pair_is_one_word_of_a_list() -> None:
    for first, second in sorted(PAIRS):
        items = listed(tokens_of(f"{first.capitalize()} and {second}, atoms & {first}"))
        assert [token.low for token in items[0]] == [f"{first} and {second}"]
        assert len(items) == 3


@pytest.mark.parametrize("piece", ["1. ", "fish and ", "1 to ", "chapter 1, ", "between ", "\n", " ", "a) "])
def test_texts_that_repeat_a_sign_without_end_are_planned(piece: str, config: Config) -> None:
    text = (piece * TASK_LIMIT_CHARACTERS)[: TASK_LIMIT_CHARACTERS - 8] + " a joke"
    assert plan_task(text, config=config).steps
