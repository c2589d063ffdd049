"""The pytest plugin in a pytest of its own, with and without pytest-benchmark."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

# Each test is a run of pytest of its own, which measures.
pytestmark = pytest.mark.slow

pytest_plugins = ["pytester"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "benchmark-in-pytest.md"
WORKFLOW = """
import time
from executor import Step, Workflow

def nap(seconds):
    time.sleep(seconds)
    return seconds

def broken():
    raise ValueError("planted")

TOOLS = {"nap": nap, "broken": broken}
NAPS = Workflow(steps=tuple(Step(step_id=f"nap_{n}", tool="nap", args={"seconds": 0.02}) for n in range(4)))
BROKEN = Workflow(steps=(Step(step_id="bad", tool="broken", args={}),))
"""


@pytest.fixture
def tests(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    # Whether the entry point is installed or not: the plugins are those that a test names.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    # pytest-benchmark measures nothing where it believes that tests run side by side.
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"):
        monkeypatch.delenv(name, raising=False)
    return pytester


def ran(tests: pytest.Pytester, source: str, *arguments: str, beside: bool = False) -> pytest.RunResult:
    tests.makepyfile(WORKFLOW + source)
    plugins = ["-p", "harness.pytest_plugin", *(("-p", "benchmark") if beside else ())]
    return tests.runpytest_subprocess(*plugins, "-p", "no:cacheprovider", "-W", "error", *arguments)


def benchmarks(tests: pytest.Pytester) -> list[dict[str, Any]]:
    return list(json.loads((tests.path / "out.json").read_text(encoding="utf-8"))["benchmarks"])


@pytest.mark.slow
def test_a_workflow_is_measured_in_turns_with_serial(tests: pytest.Pytester) -> None:
    done = ran(tests, """
def test_naps(makespan):
    result = makespan(NAPS, executors=["threads@4", "asyncio"], repetitions=3, tools=TOOLS)
    samples = result.result("threads@4")["samples"]
    ratios = sorted(sample["baseline_seconds"] / sample["makespan_seconds"] for sample in samples)
    assert abs(result.speedup_ratio("threads@4") - ratios[1]) < 1e-6
    low, high = result.speedup_interval("threads@4/dataflow")
    assert low <= result.speedup_ratio("threads") <= high
    assert result.makespan_seconds("threads@4") >= result.lower_bound_seconds("threads@4")
    makespans = [sample["makespan_seconds"] for sample in samples]
    assert len(makespans) == 3
    assert abs(sum(result.lost_seconds("threads@4").values()) - sorted(makespans)[1]) < 1e-6
    assert result.remedy("asyncio")
    # It holds on any machine, whatever else it does.
    result.expect("threads@4 speedup_ratio > 0.001", "errors == 0")
""")  # fmt: skip
    done.assert_outcomes(passed=1)


def test_a_line_that_is_not_met_says_what_was_measured(tests: pytest.Pytester) -> None:
    done = ran(tests, """
def test_naps(makespan):
    makespan(NAPS, executors=["threads@4"], repetitions=2, tools=TOOLS).expect("threads@4 speedup_ratio > 100")
""")  # fmt: skip
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*NOT MET: threads@4 speedup_ratio > 100*"])


def test_a_step_that_fails_fails_the_test_unless_it_may(tests: pytest.Pytester) -> None:
    done = ran(tests, """
def test_broken(makespan):
    makespan(BROKEN, tools=TOOLS, repetitions=1, warmup=0)

def test_it_may(makespan):
    result = makespan(BROKEN, tools=TOOLS, repetitions=1, warmup=0, allow_errors=True)
    result.expect("errors == 1")
""")  # fmt: skip
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(["*StepsFailedError: *planted*"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ('makespan(NAPS, executors=["threads@x"], tools=TOOLS)', "*'threads@x' is no executor*"),
        ('makespan(NAPS, executors="threads", tools=TOOLS)', "*executors is a list of names*"),
        ('makespan(NAPS, executors=["thread"], tools=TOOLS)', "*no executor*'thread'*"),
        ("makespan(NAPS)", "*there is no tool 'nap'*"),
        ("makespan(NAPS, tools=TOOLS, repetitions=0)", "*repetitions has to be at least 1*"),
        ('makespan({"steps": []}, tools=TOOLS)', "*the workflow has no steps*"),
    ],
)
def test_a_call_that_makes_no_sense_says_why(tests: pytest.Pytester, call: str, message: str) -> None:
    done = ran(tests, f"\ndef test_it(makespan):\n    {call}\n")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines([message])


def test_a_name_that_means_several_cells_lists_them(tests: pytest.Pytester) -> None:
    done = ran(tests, """
def test_naps(makespan):
    result = makespan(NAPS, executors=["threads@2", "threads@4"], tools=TOOLS, repetitions=1, warmup=0)
    result.speedup_ratio("threads")
""")  # fmt: skip
    done.stdout.fnmatch_lines(["*'threads' means 2 of them; measured were*threads@2/dataflow*"])


def test_a_scenario_file_may_be_measured_and_virtual_is_compared_with_virtual(tests: pytest.Pytester) -> None:
    (tests.path / "naps.yaml").write_text(
        "scenario: naps\ninputs: {long: 1}\nsteps:\n"
        + "".join(
            f'  - {{step_id: s{n}, tool: sleep, args: {{seconds: "{{{{ inputs.long }}}}"}}}}\n' for n in range(4)
        ),
        encoding="utf-8",
    )
    done = ran(tests, """
def test_naps(makespan):
    result = makespan("naps.yaml", executors=["virtual@2"], repetitions=2, inputs={"long": 3})
    assert result.makespan_seconds() == 6
    assert result.speedup_ratio() == 2
    assert result.document["scenario"] == "naps"
""")  # fmt: skip
    done.assert_outcomes(passed=1)


@pytest.mark.slow
def test_the_makespans_become_the_benchmark_and_the_figures_its_extra_info(tests: pytest.Pytester) -> None:
    done = ran(tests, """
import pytest

@pytest.mark.benchmark(group="naps")
def test_naps(makespan):
    result = makespan(NAPS, executors=["threads@4"], repetitions=3, tools=TOOLS)
    makespan(NAPS, executors=["asyncio@4"], repetitions=2, tools=TOOLS)
    print("MEASURED", *[sample["makespan_seconds"] for sample in result.result()["samples"]])
""", "--benchmark-json=out.json", "--benchmark-only", "-s", beside=True)  # fmt: skip
    done.assert_outcomes(passed=1)
    (line,) = [line for line in done.outlines if "MEASURED" in line]
    makespans = [float(text) for text in line.partition("MEASURED ")[2].split()]
    (one,) = benchmarks(tests)
    assert one["group"] == "naps"
    assert one["stats"]["data"] == pytest.approx(makespans)
    first, second = one["extra_info"]["makespan"]
    assert first["threads@4/dataflow"]["speedup_ratio"]["median"] > 0
    assert set(second) == {"serial@1/dataflow", "asyncio@4/dataflow"}


def test_a_test_that_asks_for_benchmark_itself_keeps_it(tests: pytest.Pytester) -> None:
    done = ran(tests, """
def test_naps(makespan, benchmark):
    makespan(NAPS, executors=["threads@4"], repetitions=1, warmup=0, tools=TOOLS)
    benchmark.pedantic(nap, args=(0.01,), rounds=2)
""", "--benchmark-json=out.json", beside=True)  # fmt: skip
    done.assert_outcomes(passed=1)
    (one,) = benchmarks(tests)
    assert one["stats"]["rounds"] == 2
    assert one["stats"]["min"] > 0.009
    assert len(one["extra_info"]["makespan"]) == 1


@pytest.mark.slow
def test_benchmarks_that_are_skipped_or_disabled_stay_that(tests: pytest.Pytester) -> None:
    source = """
def test_naps(makespan):
    assert makespan(NAPS, executors=["threads@4"], repetitions=1, warmup=0, tools=TOOLS).makespan_seconds() > 0
"""
    ran(tests, source, "--benchmark-skip", beside=True).assert_outcomes(skipped=1)
    ran(tests, source, "--benchmark-disable", beside=True).assert_outcomes(passed=1)


def test_a_test_that_fails_before_it_measures_is_blamed_for_that_alone(tests: pytest.Pytester) -> None:
    done = ran(tests, "\ndef test_naps(makespan):\n    assert False\n", beside=True)
    done.assert_outcomes(failed=1)


def test_a_session_without_the_fixture_imports_nothing_of_ours_but_the_plugin(tests: pytest.Pytester) -> None:
    done = tests.makepyfile("""
import sys

def test_it():
    ours = {name for name in sys.modules if name.partition(".")[0] in ("harness", "executor")}
    assert ours == {"harness", "harness.pytest_plugin"}
    assert not {"scipy", "numpy", "pydantic", "typer", "yaml"} & set(sys.modules)
""") and tests.runpytest_subprocess("-p", "harness.pytest_plugin", "-p", "no:cacheprovider")  # fmt: skip
    done.assert_outcomes(passed=1)


def test_the_example_of_the_page_passes(tests: pytest.Pytester) -> None:
    blocks = re.findall(r"^```python file=\S+\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    tests.makepyfile(test_page=blocks[0])
    done = tests.runpytest_subprocess("-p", "harness.pytest_plugin", "-p", "benchmark", "-p", "no:cacheprovider")
    done.assert_outcomes(passed=1)


def test_the_plugin_registers_the_mark_of_the_suites(pytestconfig: pytest.Config) -> None:
    assert "slow: takes long or needs much memory" in pytestconfig.getini("markers")
