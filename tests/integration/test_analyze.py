"""``makespan analyze`` as people call it: one trace, many, documents, scenarios of traces, and what goes wrong."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from harness.files.packaged import shipped_scenarios
from harness.scenario.scenario_file import load
from harness.traces import foreign_run
from harness.traces.diagnosis.analysis_document import analysis_schema
from harness.traces.prediction.trace_scenario import scenario_text
from harness.traces.prediction.trace_what_if import WhatIf
from tests.integration.calling import called, folder, started, the_result
from tests.unit.trace_making import langgraph, otlp_text, trace

__all__ = ["folder"]

TIMES = {"fetch": (0.0, 2.0), "agent": (2.5, 8.0), "ask": (3.0, 5.0), "tool": (6.0, 7.5), "store": (8.0, 9.0)}
PARENTS = {"ask": "agent", "tool": "agent"}


def write(folder: Path, name: str, **more: Any) -> Path:
    path = folder / name
    times = more.pop("times", TIMES)
    path.write_text(otlp_text(trace(times, **{"parents": PARENTS if times is TIMES else {}, **more})), encoding="utf-8")
    return path


def analysis(text: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(text)
    jsonschema.validate(document, analysis_schema(), cls=jsonschema.Draft202012Validator)
    return document


def test_the_schema_of_the_analysis_is_one_and_allows_no_other_field(folder: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(analysis_schema())
    write(folder, "t.json")
    write(folder, "u.json", trace_id="b" * 32)
    for files in (["t.json"], ["t.json", "u.json"]):
        document = analysis(called("analyze", *files, "--json", "-").stdout)
        inner = [document] if len(files) == 1 else [document, document["groups"][0], document["groups"][0]["typical"]]
        for place in inner:
            place["more"] = 1
            with pytest.raises(jsonschema.ValidationError):
                analysis(json.dumps(document))
            del place["more"]


@pytest.mark.slow
def test_our_own_serial_trace_says_what_side_by_side_would_buy_and_that_is_what_it_buys(folder: Path) -> None:
    serial = ("--policy", "serial", "--trace-file", "t.jsonl", "--json", "run.json", "--no-store")
    predicted, real = [], []
    # The shortest of three, since what else the machine does makes either longer, and never shorter.
    for _ in range(3):
        (folder / "t.jsonl").unlink(missing_ok=True)
        assert started("run", "article_pipeline", *serial).returncode == 0
        done = called("analyze", "t.jsonl", "--json", "-")
        assert done.exit_code == 0, done.output
        found = analysis(done.stdout)
        assert found["from_makespan"]
        assert [set(one["steps"]) for one in found["together"]] == [{"summary", "twitter", "linkedin"}]
        assert found["together"][0]["rests_on"] == "edges"
        predicted.append(found["predictions"]["dataflow"]["4"]["makespan_seconds"])
        ran = started("run", "article_pipeline", "-w", "4", "--json", "-", "--no-store")
        real.append(the_result(ran.stdout)["makespan_seconds"]["median"])
    assert min(real) == pytest.approx(min(predicted), rel=0.05)
    # The analysis of the trace is that of the run.
    run = the_result((folder / "run.json").read_text(encoding="utf-8"))
    assert found["lost_seconds"] == pytest.approx(run["lost_seconds"])
    for name in ("critical_path_seconds", "work_seconds", "lower_bound_seconds"):
        assert found[name] == pytest.approx(run[name])
    assert found["makespan_seconds"] == run["makespan_seconds"]["median"]


@pytest.mark.slow
@pytest.mark.parametrize("scenario", list(shipped_scenarios()))
def test_the_analysis_of_our_own_traces_is_that_of_the_run(folder: Path, scenario: str) -> None:
    called("run", scenario, "--trace-file", "t.jsonl", "--json", "run.json", "--no-store", "-q")
    found = analysis(called("analyze", "t.jsonl", "--json", "-").stdout)
    run = the_result((folder / "run.json").read_text(encoding="utf-8"))
    assert found["lost_seconds"] == pytest.approx(run["lost_seconds"])
    assert found["critical_path_seconds"] == pytest.approx(run["critical_path_seconds"])
    assert [part["step_id"] for part in found["critical_path"]] == [part["step_id"] for part in run["critical_path"]]


def test_a_trace_of_others_is_told_in_text_and_as_a_document_that_say_the_same(folder: Path) -> None:
    write(folder, "t.json", attributes={"ask": {"gen_ai.operation.name": "chat"}})
    done = called("analyze", "t.json", "--json", "a.json")
    assert done.exit_code == 0, done.output
    found = analysis((folder / "a.json").read_text(encoding="utf-8"))
    assert sum(found["lost_seconds"].values()) == pytest.approx(found["makespan_seconds"]) == 9
    assert found["edge_counts"]["assumed"] == len(found["edges"]) == 3
    assert "lost time       running 6.5 s (72%), gap 2.5 s (28%)" in done.stdout
    assert "fetch 2 s" in done.stdout
    assert "agent › ask 2 s" in done.stdout
    assert list(found["predictions"]["dataflow"]) == ["2", "4", "8", "16", "unlimited"]
    assert "\x1b" not in done.stdout


def test_stdin_is_read_and_numbers_of_workers_and_limits_can_be_chosen(folder: Path) -> None:
    text = write(folder, "t.json", attributes={"ask": {"gen_ai.operation.name": "chat"}}).read_text(encoding="utf-8")
    from typer.testing import CliRunner

    from harness.cli import app

    done = CliRunner().invoke(app, ["analyze", "-", "-w", "3", "--rate", "llm=60", "--json", "-", "-q"], input=text)
    assert done.exit_code == 0, done.output
    found = analysis(done.stdout)
    assert list(found["predictions"]["dataflow"]) == ["3", "unlimited"]
    (limited,) = found["limited_predictions"]
    assert (limited["service"], limited["rate_per_minute"]) == ("llm", 60)


def test_a_file_of_edges_settles_what_was_assumed(folder: Path) -> None:
    write(folder, "t.json")
    (folder / "edges.txt").write_text("fetch -> store\n", encoding="utf-8")
    before = analysis(called("analyze", "t.json", "--json", "-").stdout)
    done = called("analyze", "t.json", "--edges", "edges.txt", "--json", "-")
    assert done.exit_code == 0, done.output
    after = analysis(done.stdout)
    assert before["edge_counts"]["declared"] == 0
    assert {"before": "fetch", "after": "store", "label": "declared", "source": "edges file"} in after["edges"]


def test_an_edge_of_the_file_that_the_times_contradict_is_said(folder: Path) -> None:
    (folder / "t.json").write_text(otlp_text(trace({"a": (0, 1), "b": (1, 3)})), encoding="utf-8")
    (folder / "e.txt").write_text("b -> a\n", encoding="utf-8")
    found = analysis(called("analyze", "t.json", "--edges", "e.txt", "--json", "-").stdout)
    assert [(one["code"], one["count"]) for one in found["findings"]] == [("contradicted_edge", 1)]


def test_an_analysis_is_no_scenario_to_simulate(folder: Path) -> None:
    write(folder, "t.json")
    called("analyze", "t.json", "--json", "a.json")
    done = called("simulate", "a.json")
    assert done.exit_code == 2
    assert "name what it was made of" in done.output


def test_the_page_holds_the_spans_and_no_script_of_the_trace(folder: Path) -> None:
    write(folder, "t.json", names={"ask": "</script><script>alert(1)</script>"})
    assert called("analyze", "t.json", "--html", "a.html", "-q").exit_code == 0
    page = (folder / "a.html").read_text(encoding="utf-8")
    assert "fetch" in page
    assert "<script>alert" not in page
    assert "edges are assumed, from the observed order alone" in page
    assert "Predicted makespan of the same spans under policy dataflow" in page


# The outermost span lasts longer than all that is in it; of a program that was killed that may be nothing.
@pytest.mark.parametrize(("seconds", "share"), [(1.0, "gap, 90 %"), (0.0, "gap, 100 %")])
def test_a_page_says_what_share_of_the_makespan_is_lost_behind_the_last_span(
    folder: Path, seconds: float, share: str
) -> None:
    write(folder, "t.json", times={"root": (0.0, 10.0), "a": (0.0, seconds)}, parents={"a": "root"})
    made = called("analyze", "t.json", "--html", "a.html", "-q")
    assert made.exit_code == 0, made.output
    assert share in (folder / "a.html").read_text(encoding="utf-8")


def test_a_trace_becomes_a_scenario_that_runs_and_takes_as_long(folder: Path) -> None:
    write(folder, "t.json")
    assert called("analyze", "t.json", "--scenario", "s.yaml", "-q").exit_code == 0
    text = (folder / "s.yaml").read_text(encoding="utf-8")
    assert "# assumed: from the observed order alone" in text
    done = called("run", "s.yaml", "-e", "virtual", "--json", "-", "--no-store")
    assert done.exit_code == 0, done.output
    # All but the half second between the outermost spans.
    assert the_result(done.stdout)["makespan_seconds"]["median"] == pytest.approx(8.5)


def test_the_scenario_of_our_own_trace_keeps_its_limits(folder: Path) -> None:
    called("run", "limited", "--trace-file", "t.jsonl", "--no-store", "-q")
    assert called("analyze", "t.jsonl", "--scenario", "s.yaml", "-q").exit_code == 0
    again = load(folder / "s.yaml")
    assert again.resources["llm"].rate_per_minute == 120
    found = analysis(called("analyze", "t.jsonl", "--json", "-").stdout)
    done = called("run", "s.yaml", "-e", "virtual", "--json", "-", "--no-store")
    makespan = the_result(done.stdout)["makespan_seconds"]["median"]
    assert makespan == pytest.approx(found["predictions"]["dataflow"]["8"]["makespan_seconds"], rel=0.05)


@pytest.mark.slow
def test_the_scenario_of_any_trace_runs(folder: Path) -> None:
    ugly = ["\x00", "\u202e", "a: b", "- x", '"', "{{ x }}", "é\n", "#", "steps[0]", "null", "a" * 500, " "]
    for seed in range(30):
        draw = random.Random(seed)
        times: dict[str, tuple[float, float]] = {}
        parents: dict[str, str] = {}
        names: dict[str, str] = {}
        for number in range(draw.randrange(1, 25)):
            key = f"k{number}"
            inside = draw.choice([None, *times]) if draw.random() < 0.6 else None
            low, high = times[inside] if inside else (0.0, 10.0)
            start = draw.uniform(low, high)
            times[key] = (start, draw.uniform(start, high))
            if inside:
                parents[key] = inside
            names[key] = draw.choice([*ugly, "plain"])
        failed = [key for key in times if draw.random() < 0.2]
        run = foreign_run(trace(times, parents=parents, names=names, failed=failed, root=draw.choice(ugly)))
        path = folder / f"s{seed}.yaml"
        path.write_text(scenario_text(run), encoding="utf-8")
        again = load(path)
        assert len(again.graph.steps) >= len(run.timeline.step_ids) - sum(not tries for tries in run.spans)
        done = called("run", str(path), "-e", "virtual", "-w", "1000", "--json", "-", "--no-store")
        assert done.exit_code == 0, done.output
        predicted = WhatIf(run)
        expected = (predicted.makespan_nanoseconds(None) - predicted.idle_nanoseconds) / 1e9
        assert the_result(done.stdout)["makespan_seconds"]["median"] == pytest.approx(expected, abs=1e-4)


def test_traces_of_a_folder_are_grouped_by_shape_with_what_differs_in_the_slowest(folder: Path) -> None:
    (folder / "traces").mkdir()
    for number in range(8):
        slow = 6.0 if number == 5 else 0.0
        times = {"fetch": (0.0, 2.0 + number / 100), "chat": (3.0, 4.0 + slow)}
        write(folder / "traces", f"{number}.json", times=times, trace_id=f"{number + 1:032x}")
    write(folder / "traces", "other.json", trace_id=f"{99:032x}", root="another")
    (folder / "traces" / "notes.txt").write_text("no trace", encoding="utf-8")
    done = called("analyze", "--from-dir", "traces", "--json", "m.json")
    assert done.exit_code == 0, done.output
    document = analysis((folder / "m.json").read_text(encoding="utf-8"))
    assert (document["kind"], document["traces"]) == ("traces", 9)
    group, other = document["groups"]
    assert (len(group["traces"]), len(other["traces"])) == (8, 1)
    assert group["makespan_seconds"]["median"] == 4
    low, high = group["makespan_seconds"]["ci95"]
    assert low == 4 <= high
    assert group["critical_path_share_ratio"] == {"fetch": 1, "chat": 1}
    assert group["slowest"][0]["trace_id"] == f"{6:032x}"
    (difference,) = group["slowest"][0]["differences"]
    assert (difference["name"], difference["seconds"], difference["usual_seconds"]) == ("chat", 7, 1)
    assert "chat 7 s where 1 s is usual" in done.stdout
    assert "notes.txt" in done.stderr
    assert group["typical"]["predictions"]["dataflow"]["4"]["makespan_seconds"] == 4


def test_what_traces_of_a_folder_lack_is_said(folder: Path) -> None:
    lost = {"resourceSpans": [{"scopeSpans": [{"spans": [
        {"traceId": f"{number}" * 32, "spanId": "a" * 16, "parentSpanId": "b" * 16, "name": "orphan",
         "startTimeUnixNano": "1000000000", "endTimeUnixNano": "3000000000"} for number in (1, 2)
    ]}]}]}  # fmt: skip
    (folder / "lost.json").write_text(json.dumps(lost), encoding="utf-8")
    done = called("analyze", "lost.json")
    assert "of 2 traces there is something to beware of" in done.output
    assert "whose parent is not in the trace" in done.output


def test_one_of_several_traces_is_picked_by_the_beginning_of_its_id(folder: Path) -> None:
    lines = [
        otlp_text(trace({"a": (0, float(number))}, trace_id=f"{number:x}" * 32)) for number in (1, 2, 3)
    ]  # fmt: skip
    (folder / "t.jsonl").write_text("\n".join(lines), encoding="utf-8")
    found = analysis(called("analyze", "t.jsonl", "--trace", "2222", "--json", "-").stdout)
    assert found["makespan_seconds"] == 2
    missing = called("analyze", "t.jsonl", "--trace", "9999")
    assert missing.exit_code == 2
    assert "no trace '9999'" in missing.output
    assert "1" * 32 in missing.output
    assert called("analyze", "t.jsonl", "--scenario", "s.yaml").exit_code == 2


def test_a_trace_can_be_simulated(folder: Path) -> None:
    write(
        folder, "t.json", links={"agent": ["fetch"], "store": ["agent"]},
        attributes={key: {"gen_ai.operation.name": "chat"} for key in ("ask", "tool")},
    )  # fmt: skip
    done = called("simulate", "t.json", "--speed-up", "fetch=2x", "--speed-up", "ask=2x", "--json", "-")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["subject"] == {"name": "pipeline", "kind": "trace"}
    gains = {one["change"]: one["gain_seconds"] for one in document["gains"]}
    assert gains == {"step fetch 2× as fast": pytest.approx(1), "step ask 2× as fast": pytest.approx(1)}
    wrong = called("simulate", "t.json", "--speed-up", "fetsh=2x")
    assert wrong.exit_code == 2
    assert "did you mean 'fetch'?" in wrong.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name a file of traces"),
        (("missing.json",), "missing.json"),
        (("joke.yaml",), "joke.yaml"),
        (("--from-dir", "nowhere"), "there is no such folder"),
        (("t.json", "--rate", "llm=60"), "calls a service 'llm'"),
        (("t.json", "--rate", "llm"), "does not read"),
        (("t.json", "--set-capacity", "llm=2.5"), "no whole number"),
        (("t.json", "--workers", "two"), "'two' is no whole number"),
        (("t.json", "--edges", "none.txt"), "none.txt"),
        (("t.json", "--json", "no/such/folder.json"), "cannot write"),
        (("t.json", "--json", "-", "--html", "-"), "only one of"),
    ],
)
def test_bad_input_is_a_message_and_no_traceback(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    write(folder, "t.json")
    done = called("analyze", *arguments)
    assert done.exit_code == 2, done.output
    assert said in done.output
    assert "Traceback" not in done.output


def test_langgraph_metadata_by_hand_gives_the_barrier_in_the_document(folder: Path) -> None:
    write(
        folder, "t.json",
        times={"plan": (0.0, 1.0), "slow": (1.0, 5.0), "quick": (1.0, 2.0), "after": (5.0, 8.0)},
        attributes={
            "plan": langgraph(1, "plan", "__start__"), "slow": langgraph(2, "slow", "branch:to:slow"),
            "quick": langgraph(2, "quick", "branch:to:quick"),
            "after": langgraph(3, "after", "branch:quick:condition:after"),
        },
    )  # fmt: skip
    found = analysis(called("analyze", "t.json", "--json", "-").stdout)
    (barrier,) = found["barriers"]
    assert (barrier["slowest"], barrier["waiting"], barrier["lost_seconds"]) == ("slow", ["after"], 3)
