"""The command as people call it: real files on every executor, plans, lists, and the machine-readable result."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from executor.backends.worker_facts import worker_facts
from harness.executor_check import _hosts
from harness.files.packaged import shipped_scenarios
from harness.result import timeline_from_document
from harness.scenario.scenario_file import load
from tests.integration.calling import EXECUTORS, called, folder, started, the_result

__all__ = ["folder"]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_scenario_runs_on_every_executor_with_a_valid_document(executor: str, folder: Path) -> None:
    done = started("run", "joke.yaml", "--executor", executor, "--json", "out.json")
    assert done.returncode == 0, done.stdout + done.stderr
    result = the_result((folder / "out.json").read_text(encoding="utf-8"))
    assert [step["status"] for step in result["steps"]] == ["succeeded"] * 3
    assert result["executor"] == executor
    assert result["workers"] >= 1
    assert sum(result["lost_seconds"].values()) == pytest.approx(result["makespan_seconds"]["median"], abs=1e-8)
    assert timeline_from_document(result).makespan_seconds == result["makespan_seconds"]["median"]
    for words in ("Workflow Plan (3 steps):", "Summary of joke", "makespan", "lower bound", "mean concurrency"):
        assert words in done.stdout
    assert "speedup" not in done.stdout
    assert "\x1b" not in done.stdout


def test_outputs_are_the_same_on_every_executor_that_runs_tools(folder: Path) -> None:
    found = []
    for executor in EXECUTORS[:-1]:
        result = the_result(called("run", "joke.yaml", "-e", executor, "--json", "-").stdout)
        found.append({step["step_id"]: step["output"] for step in result["steps"]})
    assert found[1:] == found[:1] * 3


def test_steps_that_run_together_are_shown_in_the_words_of_the_seed(folder: Path) -> None:
    done = called("run", "joke.yaml")
    assert done.exit_code == 0
    assert "Workflow Plan (3 steps):\n  1. Write a joke\n     Node task: A joke on" in done.stdout
    assert "Executing 2 steps in parallel:\n  - To French\n  - To Spanish\n" in done.stdout


def test_what_the_stand_in_made_is_labelled_and_what_was_simulated_too(folder: Path) -> None:
    assert "STAND-IN: no model was asked" in called("run", "joke.yaml").stdout
    simulated = called("run", "joke.yaml", "-e", "virtual").stdout
    assert "SIMULATED: no tool ran" in simulated
    assert "STAND-IN" not in simulated


def test_json_to_stdout_leaves_nothing_else_there(folder: Path) -> None:
    done = called("run", "joke.yaml", "--json", "-")
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert document["schema"] == "makespan.run/1"
    assert document["scenario"] == "joke"
    assert document["environment"]["stand_in"] is True
    assert "Workflow Plan (3 steps):" in done.stderr


def test_quiet_prints_nothing_but_faults(folder: Path) -> None:
    assert called("run", "joke.yaml", "--quiet").output == ""
    failing = called("run", "failing", "--set", "scale=0.001", "--quiet")
    assert failing.exit_code == 1
    assert failing.stdout == ""
    assert "step 'check'" in failing.stderr


def test_no_progress_leaves_plan_and_summary(folder: Path) -> None:
    done = called("run", "joke.yaml", "--no-progress")
    assert "Executing" not in done.stdout
    assert "Workflow Plan" in done.stdout
    assert "Summary of joke" in done.stdout


def test_a_setting_an_executor_a_policy_and_a_seed_reach_the_run(folder: Path) -> None:
    options = ("--set", "topic=dogs", "--set", "scale=0.01", "-w", "3", "-p", "barrier", "--seed", "7", "--json", "-")
    result = the_result(called("run", "joke.yaml", *options).stdout)
    assert result["parameters"] == {"topic": "dogs", "scale": 0.01}
    assert (result["workers"], result["policy"]) == (3, "barrier")
    assert "dogs" in result["steps"][0]["output"].lower()


def test_another_seed_gives_other_answers_and_the_same_seed_the_same(folder: Path) -> None:
    outputs = []
    for seed in ("1", "1", "2", "3", "4"):
        result = the_result(called("run", "joke.yaml", "--seed", seed, "--json", "-").stdout)
        outputs.append(result["steps"][0]["output"])
    assert outputs[0] == outputs[1]
    assert len(set(outputs)) > 1


def test_the_configuration_chooses_where_the_command_line_does_not(folder: Path) -> None:
    (folder / "mine.yaml").write_text("{executor: asyncio, workers: 2, policy: levels}", encoding="utf-8")
    result = the_result(called("run", "joke.yaml", "--config", "mine.yaml", "--json", "-").stdout)
    assert (result["executor"], result["workers"], result["policy"]) == ("asyncio", 2, "levels")
    overruled = the_result(called("run", "joke.yaml", "-c", "mine.yaml", "-e", "serial", "--json", "-").stdout)
    assert (overruled["executor"], overruled["workers"]) == ("serial", 1)


def test_a_shipped_scenario_runs_by_its_name(folder: Path) -> None:
    done = called("run", "three_jokes", "--set", "scale=0.001")
    assert done.exit_code == 0
    assert "Executing 3 steps in parallel:" in done.stdout


def test_a_failed_step_is_exit_status_1_and_the_rest_is_shown(folder: Path) -> None:
    done = called("run", "failing", "--set", "scale=0.001")
    assert done.exit_code == 1
    assert re.search(r"check\s+failed", done.stdout)
    assert re.search(r"report\s+skipped", done.stdout)
    assert re.search(r"archive\s+succeeded", done.stdout)


def test_an_output_that_cannot_be_json_is_named_and_the_run_goes_on(folder: Path) -> None:
    text = """
    tools: {opener: {kind: python, callable: "builtins:complex"}}
    steps:
      - {step_id: strange, tool: opener, args: {real: 1}}
      - {step_id: after, tool: noop, depends_on: [strange], prompt: fine}
    """
    (folder / "w.yaml").write_text(text, encoding="utf-8")
    done = called("run", "w.yaml", "--json", "out.json")
    result = the_result((folder / "out.json").read_text(encoding="utf-8"))
    strange, after = result["steps"]
    assert after["output"] == "fine"
    assert "cannot be" in done.stdout
    assert "JSON" in done.stdout
    assert strange["output"] is None


def test_control_characters_and_markup_in_outputs_do_not_reach_the_terminal(folder: Path) -> None:
    text = 'steps: [{step_id: s, description: "[red]D\\e[31m", tool: noop, prompt: "[bold]\\e]0;title\\a\\e[2J\\rX"}]'
    (folder / "w.yaml").write_text(text, encoding="utf-8")
    done = called("run", "w.yaml")
    assert done.exit_code == 0
    assert "[bold]" in done.stdout
    assert "[red]D" in done.stdout
    assert all(sign.isprintable() or sign == "\n" for sign in done.stdout)


@pytest.mark.parametrize("target", ["missing/out.json", "."])
def test_a_document_that_cannot_be_written_is_exit_status_2_before_anything_runs(target: str, folder: Path) -> None:
    done = called("run", "joke.yaml", "--json", target)
    assert done.exit_code == 2
    assert "cannot write JSON" in done.stderr
    assert "Executing" not in done.output


def test_an_unknown_executor_names_those_that_there_are(folder: Path) -> None:
    done = called("run", "joke.yaml", "--executor", "thread")
    assert done.exit_code == 2
    assert all(name in done.stderr for name in EXECUTORS)


# ---------------------------------------------------------------------- plan and the lists


def test_plan_shows_levels_path_bound_and_workers_and_runs_nothing(folder: Path) -> None:
    done = called("plan", "joke.yaml")
    assert done.exit_code == 0
    for words in (
        "Workflow Plan (3 steps):",
        "Levels (2):",
        "joke (100 ms) → french (60 ms) = 160 ms",
        "2 would suffice",
    ):
        assert words in done.stdout
    assert "stand-in" not in done.stdout.lower()


def test_plan_writes_a_workflow_that_runs_with_every_dependency_in_it(folder: Path) -> None:
    assert called("plan", "joke.yaml", "--json", "plan.json").exit_code == 0
    steps = {step["step_id"]: step for step in json.loads((folder / "plan.json").read_text(encoding="utf-8"))["steps"]}
    assert steps["french"]["depends_on"] == ["joke"]
    before, after = load("joke.yaml"), load("plan.json")
    assert after.graph.data_parents == before.graph.data_parents
    assert after.workflow.inputs == before.workflow.inputs
    assert called("run", "plan.json", "--quiet").exit_code == 0


def test_plan_shows_warnings_and_hints_with_their_place(folder: Path) -> None:
    text = "steps:\n  - {step_id: a, description: Think}\n  - {step_id: b, tool: noop, depends_on: [a]}\n"
    (folder / "w.yaml").write_text(text, encoding="utf-8")
    done = called("plan", "w.yaml")
    assert done.exit_code == 0
    assert "warning[default-tool] w.yaml:" in done.stdout


def test_plan_checks_the_lines_that_a_benchmark_would_refuse(folder: Path) -> None:
    text = "scenario: w\nsteps: [{step_id: a, tool: noop}]\nexpect:\n  - errors == 0\n  - makespan_second < 1 parsec\n"
    (folder / "w.yaml").write_text(text, encoding="utf-8")
    done = called("plan", "w.yaml")
    assert done.exit_code == 2
    assert "error[bad-expectation] w.yaml:5" in done.stderr
    assert "makespan_seconds" in done.stderr


@pytest.mark.parametrize("task", ["write a joke and translate it", "two words"])
def test_a_task_text_is_told_from_a_file_and_planned(task: str, folder: Path) -> None:
    done = called("plan", task)
    assert done.exit_code == 0
    assert "Workflow Plan (" in done.stdout


@pytest.mark.parametrize("name", ["missing", "missing.yaml", "with space.json", "with space.YML"])
def test_what_looks_like_a_file_is_a_file_for_plan(name: str, folder: Path) -> None:
    done = called("plan", name)
    assert done.exit_code == 2
    assert "error[missing-file]" in done.stderr


def test_plan_of_a_long_chain_needs_no_recursion(folder: Path) -> None:
    count = 20_000
    steps = [{"step_id": "s0", "tool": "noop"}]
    steps += [{"step_id": f"s{n}", "tool": "noop", "depends_on": [f"s{n - 1}"]} for n in range(1, count)]
    (folder / "chain.json").write_text(json.dumps({"steps": steps}), encoding="utf-8")
    done = called("plan", "chain.json")
    assert done.exit_code == 0, done.stderr[-500:]
    assert f"Workflow Plan ({count} steps):" in done.stdout
    assert f"Levels ({count}):" in done.stdout


def test_scenarios_lists_every_shipped_one_with_its_description() -> None:
    done = called("scenarios")
    assert done.exit_code == 0
    for name in shipped_scenarios():
        assert re.search(rf"^  {name} +\S", done.stdout, re.MULTILINE)


def test_tools_lists_kinds_and_declared_tools() -> None:
    done = called("tools")
    assert done.exit_code == 0
    for name in ("python", "command", "http", "llm", "sleep", "busy", "noop", "flaky", "content_generator"):
        assert re.search(rf"^  {name} +\S", done.stdout, re.MULTILINE)


def test_executors_lists_the_five_with_what_they_are_for() -> None:
    done = called("executors")
    assert done.exit_code == 0
    for name in EXECUTORS:
        assert re.search(rf"^  {name} +\S", done.stdout, re.MULTILINE)
    assert "not available" not in done.stdout


def test_doctor_finds_nothing_broken_here(folder: Path) -> None:
    done = started("doctor")
    assert done.returncode == 0, done.stdout
    for name in (*(f"executor {name}" for name in EXECUTORS), "python", "packages", "cores", "model endpoint"):
        assert name in done.stdout


def test_a_worker_with_other_versions_is_called_broken() -> None:
    here = worker_facts()
    there = [{**here, "host": "far"}, {**here, "host": "far", "python": "3.9.1", "pydantic": None}]
    (check,) = _hosts(there)
    assert (check.name, check.state) == ("host far", "broken")
    assert check.detail == f"Python 3.9.1 there, {here['python']} here; pydantic missing there, {here['pydantic']} here"
    assert [check.state for check in _hosts([here, here])] == ["ok"]


def test_doctor_calls_an_executor_whose_package_is_not_installed_missing_and_not_broken(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "executor.backends.dask.dask_backend", raising=False)
    monkeypatch.setitem(sys.modules, "distributed", None)
    done = called("doctor")
    assert done.exit_code == 0, done.output
    assert re.search(r"missing +executor dask .*pip install 'makespan\[dask\]'", done.stdout)


def test_doctor_looks_at_the_workers_of_one_executor(folder: Path) -> None:
    done = called("doctor", "--executor", "processes")
    assert done.exit_code == 0, done.output
    assert re.search(r"ok +executor processes +runs steps on \d+ workers", done.stdout)
    assert re.search(r"ok +host \S+ +processes that ran steps: \d+; Python 3\.", done.stdout)
    assert "model endpoint" not in done.stdout


def test_doctor_says_what_is_wrong_with_an_executor(folder: Path) -> None:
    done = called("doctor", "--executor", "ray", "--backend-option", "address=127.0.0.1:9")
    assert done.exit_code == 1
    assert re.search(r"broken +executor ray +ray: no Ray answers at 127\.0\.0\.1:9", done.stdout)
    done = called("doctor", "--executor", "threds")
    assert done.exit_code == 1
    assert "there is no executor 'threds'" in done.stdout
    assert called("doctor", "--backend-option", "address=127.0.0.1:9").exit_code == 2


def test_doctor_calls_an_endpoint_that_does_not_answer_broken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAKESPAN_LLM__BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("MAKESPAN_LLM__API_KEY", "sk-very-secret")
    done = called("doctor")
    assert done.exit_code == 1
    assert re.search(r"broken +model endpoint", done.stdout)
    assert "sk-very-secret" not in done.output
