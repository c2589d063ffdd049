"""The pages of ``docs/reference`` say what the code says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer.main
from pydantic import BaseModel, Field

from development.documentation import PAGES, filled
from development.documentation.__main__ import main
from development.documentation.command_line_page import commands_of
from development.documentation.document_pages import schema_parts
from development.documentation.markdown import model_table, type_words
from development.documentation.run_picture import COMMAND, last_seen, svg
from executor.model.workflow import ToolDeclaration
from executor.tools.registry import BUILT_IN, tool_kind
from executor.tools.tool import RunContext, ToolContext, ToolError
from harness.cli import app
from harness.result import run_schema
from harness.simulation.simulation_document import simulation_schema
from harness.traces.diagnosis.analysis_document import analysis_schema
from harness.workloads import granularity_schema

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"


def text_of(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_holds_what_the_code_says_today(name: str) -> None:
    text = text_of(name)
    assert text == filled(text, PAGES[name]), f"docs/reference/{name} is out of date: run `make docs`"


def test_the_command_writes_what_the_test_compares(tmp_path: Path) -> None:
    for name in PAGES:
        outdated = re.sub(r"(<!-- made: \S+ -->\n).*?(<!-- end -->)", r"\1outdated\n\2", text_of(name), flags=re.DOTALL)
        (tmp_path / name).write_text(outdated, encoding="utf-8")
    assert main([str(tmp_path)]) == 0
    for name in PAGES:
        assert (tmp_path / name).read_text(encoding="utf-8") == text_of(name)


def test_the_command_without_a_folder_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err


def test_every_option_of_every_command_stands_on_the_page() -> None:
    text = text_of("command-line.md")
    for name, command in commands_of(typer.main.get_command(app)):
        section = text.partition(f"## makespan {name}\n")[2].partition("\n## ")[0]
        options = [option for one in command.params if one.param_type_name == "option" for option in one.opts]
        missing = [one for one in options if one not in ("--help", "-h") and not re.search(rf"`{one}[ `]", section)]
        assert missing == [], name


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("result-document.md", run_schema()),
        ("analysis-document.md", analysis_schema()),
        ("simulation-document.md", simulation_schema()),
        ("granularity-document.md", granularity_schema()),
    ],
    ids=["result", "analysis", "simulation", "granularity"],
)
def test_every_definition_of_a_schema_stands_on_its_page(name: str, schema: dict[str, Any]) -> None:
    assert set(PAGES[name]) == {"document", *schema.get("$defs", ())}


def test_every_schema_has_a_page() -> None:
    text = "\n".join(text_of(name) for name in PAGES)
    schemas = sorted((ROOT / "harness" / "schemas").glob("*.json"))
    assert [path.name for path in schemas if f"harness/schemas/{path.name})" not in text] == []


def test_a_field_of_a_schema_without_a_description_is_named() -> None:
    inner = {"type": "object", "properties": {"size": {"type": "integer"}}}
    schema = {
        "$id": "urn:a",
        "description": "A thing.",
        "required": ["by_name"],
        "properties": {"by_name": {"description": "Things.", "type": "object", "additionalProperties": inner}},
    }
    with pytest.raises(KeyError, match=r"by_name\.\*\.size.*urn:a has no description"):
        schema_parts(schema, {})["document"]()
    inner["properties"] = {"size": {"type": "integer", "description": "How large."}}
    assert schema_parts(schema, {})["document"]().splitlines()[-2:] == [
        "| `by_name` | mapping of name to mapping | Things. |",
        "| `by_name.*.size` | whole number | How large. (may be absent) |",
    ]


def test_every_built_in_kind_has_a_section() -> None:
    headings = re.findall(r"^## (\w+)$", text_of("tools.md"), re.MULTILINE)
    assert headings == list(BUILT_IN)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [("noop", []), ("sleep", ["seconds"]), ("busy", ["seconds"]), ("flaky", ["fail_times", "fail_ratio", "seconds"])],
)
def test_a_kind_without_a_model_has_the_arguments_that_the_page_names(kind: str, arguments: list[str]) -> None:
    section = text_of("tools.md").partition(f"## {kind}\n")[2].partition("\n## ")[0]
    assert [name for name in arguments if f"`{name}`" not in section] == []
    tool = tool_kind(kind).from_declaration(kind, ToolDeclaration(kind=kind))
    context = ToolContext(RunContext(), "step", expected_seconds=0.0)
    for name in ("seconds", "fail_times", "fail_ratio"):
        # `flaky` wants exactly one of the two.
        args = {name: 0} | ({"fail_times": 0} if kind == "flaky" and name == "seconds" else {})
        if name in arguments:
            assert tool.simulate(context, None, args) is not None
        else:
            with pytest.raises(ToolError, match="unknown argument"):
                tool.simulate(context, None, args)


def test_a_part_without_a_place_and_a_place_without_a_part_are_named() -> None:
    place = "<!-- made: fields -->\nold\n<!-- end -->\n"
    assert filled(f"before\n{place}after", {"fields": lambda: "new\n"}) == (
        "before\n<!-- made: fields -->\nnew\n<!-- end -->\nafter"
    )
    for text, parts in (
        (place, ()),
        ("", ("fields",)),
        (place + place, ("fields",)),
    ):
        with pytest.raises(ValueError, match="fields"):
            filled(text, dict.fromkeys(parts, str))


class Options(BaseModel):
    size: int = Field(3, ge=1)
    name: str | None = None


def test_a_field_without_a_meaning_and_a_meaning_without_a_field_are_named() -> None:
    with pytest.raises(KeyError, match="name"):
        model_table(Options, {"size": "how large"})
    with pytest.raises(KeyError, match="colour"):
        model_table(Options, {"size": "how large", "name": "what it is", "colour": "gone"})
    shown = model_table(Options, {"size": "how <large>", "name": "`a|b`"})
    assert shown.splitlines()[2:] == [
        "| `size` | whole number ≥ 1 | `3` | how &lt;large> |",
        "| `name` | text |  | `a\\|b` |",
    ]


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string"}, "text"),
        ({"type": ["integer", "null"], "minimum": 1}, "whole number ≥ 1 or null"),
        ({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "null"}], "default": None}, "number > 0"),
        ({"oneOf": [{"type": "null"}, {"type": "string"}]}, "null or text"),
        ({"enum": ["a", "b", None]}, "`a` or `b` or null"),
        ({"type": "array", "items": {"enum": ["a", "b"]}}, "list, each `a` or `b`"),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "mapping of name to text"),
        ({"type": "object", "additionalProperties": True}, "mapping"),
        ({}, "any value"),
    ],
)
def test_a_type_is_said_in_words(schema: dict[str, object], words: str) -> None:
    assert type_words(schema, {}) == words


def test_the_picture_shows_lines_that_are_rewritten_as_they_were_last() -> None:
    text = "plan\r\nrunning\r\n  1 s\x1b[1A\r\x1b[2K\x1b[1B\r\x1b[2K\x1b[1A\r\x1b[?25hdone\r\n\r\n"
    assert last_seen(text.replace("\x1b[1B", "\n")) == ["plan", "done"]


def test_the_picture_holds_the_text_and_fetches_nothing() -> None:
    drawn = svg(COMMAND, ["\x1b[32mall is well\x1b[0m"])
    assert "all&#160;is&#160;well" in drawn
    assert "url(http" not in drawn
    assert "@font-face" not in drawn


def test_the_picture_in_the_docs_is_one_of_the_command_that_is_drawn() -> None:
    path = ROOT / "docs" / "images" / "run.svg"
    assert path.stat().st_size < 100_000
    shown = path.read_text(encoding="utf-8").replace("&#160;", " ")
    for text in (" ".join(COMMAND), "Summary of article_pipeline", "lower bound", "critical path"):
        assert text in shown
