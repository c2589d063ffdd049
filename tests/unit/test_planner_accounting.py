"""The rules planner knows when it does not understand: sixty sentences, as the page of them states; and `auto`."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config import Config, load_config
from harness.planner import plan_task
from harness.planner.accounting import CODE
from tests.unit.test_planner_sentences import SENTENCES

PAGE = Path(__file__).parents[2] / "docs/reference/planner-sentences.md"


def rows(heading: str) -> list[tuple[str, str]]:
    """The rows of the table below a heading."""
    section = PAGE.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][1:]
    return [(sentence.strip(), said.strip()) for sentence, said in (line.strip("| ").split(" | ", 1) for line in lines)]


KNOWN, BEYOND = rows("Known to the rules"), rows("Beyond the rules")


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config()


def not_understood(task: str, config: Config) -> list[str]:
    found = [one for one in plan_task(task, config=config, planner="rules").findings if one.code == CODE]
    assert all(one.severity == "warning" and one.fix for one in found)
    return [
        one.message.removeprefix("not understood: ").removesuffix(": the plan takes no account of it") for one in found
    ]


def test_there_are_sixty_sentences_half_of_them_beyond_the_rules() -> None:
    assert (len(KNOWN), len(BEYOND)) == (30, 30)
    assert len({sentence for sentence, _ in (*KNOWN, *BEYOND)}) == 60


@pytest.mark.parametrize(("sentence", "steps"), KNOWN, ids=[sentence for sentence, _ in KNOWN])
def test_a_sentence_that_the_rules_know_is_planned_without_a_finding(sentence: str, steps: str, config: Config) -> None:
    planned = plan_task(sentence, config=config)
    made = [
        f"{step.description} ← {', '.join(step.depends_on)}" if step.depends_on else str(step.description)
        for step in planned.steps
    ]
    assert "; ".join(made) == steps
    assert not_understood(sentence, config) == []


@pytest.mark.parametrize(("sentence", "said"), BEYOND, ids=[sentence for sentence, _ in BEYOND])
def test_a_sentence_beyond_the_rules_has_a_finding_that_names_what_was_not_understood(
    sentence: str, said: str, config: Config
) -> None:
    assert said
    assert "; ".join(not_understood(sentence, config)) == said


@pytest.mark.parametrize(
    "sentence",
    [
        # What the rules once had a grammar for, each for one sentence alone.
        "explain the difference between TCP and UDP and between cats and dogs",
        "explain recursion to a child, a student and an expert",
        "write chapter 1, then chapter 2",
        "summarize the report, then the article",
        "Create 2 flashcards for biology and 3 for chemistry",
        "write 2 poems: one about love and one about war",
        "write two haikus, one about snow, one about sun",
        "write an email to my boss and one to my team",
        # Found silently misread.
        "write two riddles; the second one should be harder than the first",
        "translate everything but the title to French",
        "compare Paris with Rome, then write a poem on the winner",
        "write a blog post, have it reviewed by two editors and publish it",
        "write a poem every morning",
        "translate the first paragraph to French and the second to German",
        "make a list of the planets and describe each planet in one sentence",
        "write an article and cite at least three sources",
        "write two letters, to Anna and to Bob",
        "tell me a joke, and should it be bad, tell me another",
        "write a poem. Sing it to my wife.",
        "write a story, wait a day, then revise it",
        "please avoid rhymes and write a poem about autumn",
        "write the ending first and the beginning afterwards",
        "write two versions, one formal and one casual",
        "write 4 quiz questions per chapter",
        "write an ad, a slogan and a jingle, all about tea",
        "send the minutes to Tom, Tina, and Theo",
        "give me three ideas, then expand the best",
        "write a long and a short version of the joke",
        "write an abstract, an introduction and, last of all, a conclusion",
    ],
)
def test_a_sentence_that_would_be_misread_has_a_finding(sentence: str, config: Config) -> None:
    assert not_understood(sentence, config)


@pytest.mark.parametrize(
    "sentence",
    [
        "write a short but funny poem",
        "write an essay without using the letter e",
        "write a poem about the sea. It should rhyme.",
        "write a story in the style of Hemingway or Kafka",
        "write two poems and translate every poem to French",
    ],
)
def test_a_sentence_that_is_understood_has_none(sentence: str, config: Config) -> None:
    assert not_understood(sentence, config) == []


def test_no_sentence_of_the_rules_own_tests_is_reported(config: Config) -> None:
    assert {task: found for task, _ in SENTENCES if (found := not_understood(task, config))} == {}


@given(st.sampled_from(["zebra", "quasar", "Vilnius", "fjord"]), st.sampled_from([task for task, _ in KNOWN]))
def test_no_word_is_lost_without_a_finding(word: str, task: str) -> None:
    config = load_config()
    planned = plan_task(f"{task} {word}", config=config, planner="rules")
    asked = " ".join(f"{step.description} {step.prompt} {step.args}" for step in planned.steps).lower()
    found = [one for one in planned.findings if one.code == CODE and word in one.message]
    assert word.lower() in asked or found


# ---------------------------------------------------------------------- auto


@contextmanager
def model(answer: str | None) -> Iterator[str]:
    """An endpoint that always says the same; without an answer it refuses."""

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            said = {"choices": [{"message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}]}
            body = json.dumps(said if answer is not None else {"error": "no"}).encode()
            self.send_response(200 if answer is not None else 400)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def asking(url: str, config: Config, **more: Any) -> Config:
    return config.model_copy(update={"llm": config.llm.model_copy(update={"base_url": url, "model": "m", **more})})


PLAN = {"steps": [{"step_id": "a", "description": "From the model", "tool": "content_generator", "prompt": "Hi"}]}


def test_auto_asks_the_model_where_one_is_configured(config: Config) -> None:
    with model(json.dumps(PLAN)) as url:
        planned = plan_task("write a joke", config=asking(url, config))
    assert [step.description for step in planned.steps] == ["From the model"]


def test_auto_falls_back_to_the_rules_where_the_model_gives_no_plan_and_says_so(config: Config) -> None:
    with model(None) as url:
        planned = plan_task("write a joke", config=asking(url, config))
    assert [step.description for step in planned.steps] == ["Write a joke"]
    assert "planned-by-rules" in [one.code for one in planned.findings]


def test_without_a_model_auto_is_the_rules(config: Config) -> None:
    assert config.chat.planner == "auto"
    assert [one.code for one in plan_task("write a joke", config=config).findings] == []


@pytest.mark.parametrize(
    ("sentence", "prompts"),
    [
        (
            "compare python and rust, then summarize the comparison",
            ["Compare python and rust", "Summarize the comparison: {{ steps.step1.output }}"],
        ),
        (
            "explain tides, then write a poem, then rate the explanation",
            ["Explain tides", "Write a poem", "Rate the explanation: {{ steps.step1.output }}"],
        ),
        (
            "write a poem, a translation of it into french and a summary of the translation",
            ["Write a poem", "Translate to French: {{ steps.step1.output }}",
             "Write a summary of this translation: {{ steps.step2.output }}"],
        ),
        (
            "translate 'good morning' into italian, german and polish",
            [f"Translate to {language}: good morning" for language in ("Italian", "German", "Polish")],
        ),
        (
            "write a joke and polish it",
            ["Write a joke", "Polish it: {{ steps.step1.output }}"],
        ),
        (
            'proofread and translate to german: "the cat sat on teh mat"',
            ['Proofread: "the cat sat on teh mat"', "Translate to German: {{ steps.step1.output }}"],
        ),
        ("write essays on time and on space", ["Write an essay on time", "Write an essay on space"]),
    ],
)  # fmt: skip
def test_what_a_step_speaks_of_is_handed_to_it(sentence: str, prompts: list[str], config: Config) -> None:
    planned = plan_task(sentence, config=config, planner="rules")
    assert [step.prompt for step in planned.steps] == prompts
    assert not not_understood(sentence, config)


@pytest.mark.parametrize(
    ("sentence", "missing"),
    [
        ("summarize the article, the review and the letter", "summarize"),
        ("rewrite the paragraph so that it is shorter", "rewrite"),
        ("summarise each of the translations", "summarise"),
        ("improve my essay", "improve"),
        ("translate the story to french", "translate"),
        ("proofread", "proofread"),
    ],
)
def test_a_text_that_the_task_does_not_hold_is_missed(sentence: str, missing: str, config: Config) -> None:
    messages = [one.message for one in plan_task(sentence, config=config, planner="rules").findings]
    assert f"the task does not hold the text to {missing}" in messages


@pytest.mark.parametrize(
    "sentence",
    [
        "summarize the French Revolution",
        "improve the following text: we was late",
        'proofread the sentence "the cat sat on teh mat"',
        "summarize the novel Moby Dick",
        "write a story, then shorten the story",
        "simplify the proof of Pythagoras",
    ],
)
def test_a_text_that_the_task_holds_or_a_model_knows_is_not_missed(sentence: str, config: Config) -> None:
    messages = [one.message for one in plan_task(sentence, config=config, planner="rules").findings]
    assert not any("does not hold" in message for message in messages)


@pytest.mark.parametrize(
    ("sentence", "named"),
    [
        ("make a list of ten cities and describe each of them in one sentence", "each of them"),
        ("write a limerick about onions and have it proofread", "have it proofread"),
        ("write a post and get the post translated", "get the post translated"),
    ],
)
def test_what_would_be_asked_as_one_text_is_named(sentence: str, named: str, config: Config) -> None:
    assert any(named in one for one in not_understood(sentence, config)), not_understood(sentence, config)


@pytest.mark.parametrize(
    ("sentence", "prompts"),
    [
        (
            "write a four-line poem, count its syllables and report the count",
            ["Write a four-line poem", "Count its syllables: {{ steps.step1.output }}",
             "Report the count: {{ steps.step2.output }}"],
        ),
        (
            "write a letter of complaint and make a German version",
            ["Write a letter of complaint", "Make a German version on this letter: {{ steps.step1.output }}"],
        ),
        ("write a tale and its moral", ["Write a tale", "Write a moral on this tale: {{ steps.step1.output }}"]),
        ("write jokes about a cat and a dog", ["Write a joke about a cat", "Write a joke about a dog"]),
    ],
)  # fmt: skip
def test_what_a_possessive_or_a_version_is_of_is_handed_to_it(
    sentence: str, prompts: list[str], config: Config
) -> None:
    assert [step.prompt for step in plan_task(sentence, config=config, planner="rules").steps] == prompts
    assert not not_understood(sentence, config)


@pytest.mark.parametrize(
    ("sentence", "named"),
    [
        ("give me the pros of tea, the pros of coffee, and a verdict", "the pros of coffee"),
        ("write a glossary of ten terms and translate the terms to polish", "the terms"),
        ("extract the dates from the text and sort them", "the text"),
    ],
)
def test_a_list_that_holds_more_than_topics_and_a_part_that_nobody_made_are_named(
    sentence: str, named: str, config: Config
) -> None:
    assert any(named in one for one in not_understood(sentence, config)), not_understood(sentence, config)


@pytest.mark.parametrize(
    "sentence", ["write a summary", "create an abstract in german", "turn the notes into an essay"]
)
def test_what_is_made_from_a_text_misses_it(sentence: str, config: Config) -> None:
    messages = [one.message for one in plan_task(sentence, config=config, planner="rules").findings]
    assert any("does not hold the text" in message for message in messages), messages
