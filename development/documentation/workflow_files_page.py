"""What a workflow or scenario file may say, from the models that read it."""

from __future__ import annotations

from functools import partial
from typing import Final

from development.documentation.markdown import Parts, model_table, table
from executor.dependencies.step_requirements import DEFAULT_EXPECTED_TOKENS
from executor.model.workflow import Devices, Resource, Retry, Step, ToolDeclaration, Workflow
from executor.scheduler import WORKER_DEATH_ATTEMPTS
from executor.templates.filters import FILTERS
from harness.analysis.lost_time import LOST_CAUSES
from harness.expectations import METRICS, parse_expectation
from harness.expectations.measuring import LOST_KINDS, MAY_BE_AGGREGATED, ONLY_AGGREGATED
from harness.expectations.parsing import units_of
from harness.scenario.scenario_model import Benchmark, Scenario

_LINKS: Final = {
    "Retry": "[retry](#retry)",
    "Resource": "[resource](#resources)",
    "Devices": "[devices](#devices)",
    "ToolDeclaration": "[tool](#tools)",
    "Benchmark": "[benchmark](#benchmark)",
    "Step": "[steps](#steps)",
}

_TEMPLATE: Final = "a [template](#templates)"
_FILE_NAME: Final = "the file's name"

_WORKFLOW: Final = {
    "workflow_id": "the workflow's name",
    "description": "what it is, for people",
    "inputs": "what templates see as `inputs`",
    "steps": "the steps; at least one",
}
_SCENARIO: Final = {
    "scenario": "the name that results are kept under",
    "task": "the sentence that the workflow answers, for people",
    "description": "what it shows, for people",
    "scale": "multiplies the durations of synthetic steps and of the stand-in; `--set scale=…` replaces it",
    "seed": "feeds everything that is drawn at random; `--seed` replaces it",
    "inputs": "what templates see as `inputs`; `--set NAME=VALUE` replaces one",
    "resources": "limits that steps share",
    "devices": "devices by kind, such as `{gpu: [0, 1]}`; each step that needs one is told which it has",
    "tools": "tools by name; they lie over those of `config.yaml`",
    "expected_outputs": "by step, the output (of a mapped step, each item's) to expect where no tool runs",
    "benchmark": "what a benchmark varies",
    "expect": "what has to hold for a benchmark, one sentence each: `threads@4 speedup_ratio >= 1.2`, `errors == 0`",
}
_STEP: Final = {
    "step_id": "the step's name; unique, printable, and never used as a path",
    "description": "what it does, for people; a model step without a prompt is asked this",
    "tool": (
        "a tool that is declared, a built-in kind, or `module:function`; without one, the configuration's "
        "`default_tool`. `tool_name` is the same"
    ),
    "prompt": f"what the tool is asked, {_TEMPLATE}",
    "args": f"the tool's arguments; every text in them is {_TEMPLATE}",
    "parallel_group": (
        "a claim that all steps of this group are independent of each other; checked, and the batches of policy "
        '`barrier`. `1` and `"1"` are two groups'
    ),
    "depends_on": "steps that have to succeed first; what a template mentions need not be here",
    "reads": "names of states that it reads: no step that writes one of them runs meanwhile",
    "writes": "names of states that it changes: no step that reads or writes one of them runs meanwhile",
    "needs": (
        "units of resources that it holds while it runs; of [devices](#devices) whole ones, a share of one or its "
        "memory. Added to those of its tool, and its own numbers win"
    ),
    "when": (
        "a template expression; if it is false the step is skipped and its output is null, which its dependants accept"
    ),
    "for_each": (
        "a list, or a template expression that gives one: the step is done once for each item. Its templates see "
        "`item` and `index` (from 0); its output is the list of the items' outputs, in order"
    ),
    "max_parallel": "how many of its items may run at once",
    "expected_items": "how many items there are by your estimate: for plans and `virtual`, where the list is not known",
    "retry": "how it is tried again after a failure; its tool's where it says nothing, else it is not",
    "timeout": "seconds that an attempt may take, from its start; its tool's where it says nothing",
    "on_failure": "`continue`: all that does not need this step goes on. `stop`: nothing new is started",
    "idempotent": (
        "`false`: it must not run twice, so it fails if its worker dies. Else it is run again, up to "
        f"{WORKER_DEATH_ATTEMPTS} times where no `retry` says otherwise"
    ),
    "priority": "steps with a higher one start first, whatever the critical path says",
    "expected_seconds": "how long it takes by your estimate: for plans, for order, for the stand-in and `virtual`",
    "expected_tokens": (
        "model tokens that it will use, reserved from `tokens_per_minute` before it starts; "
        f"{DEFAULT_EXPECTED_TOKENS} where a limit counts tokens and none is given"
    ),
    "cache": (
        "`inputs`: its output is taken from an earlier run that made the same call, see "
        "[reuse outputs](../how-to/reuse-outputs.md); not with `idempotent: false`, `reads` or `writes`"
    ),
    "ttl": "seconds after which such an output is too old; without it, it never is",
}
_RETRY: Final = {
    "max_attempts": "how often it is tried in all, the first time included",
    "backoff_seconds": "the longest wait before the second attempt",
    "multiplier": "by how much the longest wait grows with each attempt",
    "max_backoff_seconds": "what it never grows beyond",
    "jitter": "`full`: the wait is drawn evenly from 0 to the longest. `none`: it is the longest",
}
_RESOURCE: Final = {
    "capacity": (
        "units that may be held at once; `auto`, or `{auto: {initial, min, max}}`, finds out how many pay off: see "
        "[adaptive limits](../how-to/adaptive-limits.md)"
    ),
    "auto": "where `capacity: auto` begins (`initial`) and what it stays between (`min`, `max`); written there",
    "rate_per_minute": "attempts that may start in a minute (each counts once, whatever it needs)",
    "burst": "attempts that may start at once after a pause",
    "tokens_per_minute": "model tokens that may be used in a minute",
    "token_burst": "model tokens that may be used at once after a pause; one minute's worth by default",
    "devices": "[devices](#devices) in place of a limit: the same as `devices: {NAME: …}`",
}
_DEVICES: Final = {
    "ids": (
        "their names, a number of them (from `0`), or `auto`: the GPUs that NVML (where `pynvml` is installed), "
        "`CUDA_VISIBLE_DEVICES` or `nvidia-smi` names"
    ),
    "memory_gb": "the memory of each in 10^9 bytes, one number or a list; where NVML knows it, it need not be stated",
}
_TOOL: Final = {
    "kind": "what it is: one of [the built-in kinds](tools.md), or that of an installed package",
    "description": "what it does, for people",
    "needs": "units of resources that each of its steps holds while it runs",
    "retry": "how its steps are tried again",
    "timeout": "seconds that an attempt may take",
    "idempotent": "`false`: its steps must not run twice",
    "expected_seconds": "how long its steps take by your estimate",
    "expected_tokens": "model tokens that its steps use",
}
_BENCHMARK: Final = {
    "executors": "executors to measure",
    "workers": "numbers of workers to measure each of them with",
    "policies": "orders of starts to measure",
    "repetitions": "how often each combination runs",
    "warmup": "runs before those that count",
    "parameters": "values of inputs, or of `scale`, to measure with",
}


_METRICS: Final = {
    "makespan_seconds": "from the first start to the last end",
    "speedup_ratio": "the makespan of the serial run of the same round ÷ this one's",
    "efficiency_ratio": "speedup ÷ workers",
    "schedule_efficiency_ratio": "lower bound ÷ makespan",
    "baseline_seconds": "the makespan of the serial run of the same round",
    "work_seconds": "run times of all attempts together",
    "lower_bound_seconds": "no schedule of the measured run times is shorter",
    "critical_path_seconds": "the longest chain of steps that wait for each other",
    "overhead_seconds_per_step": "what a step costs beside its run time",
    "startup_seconds": "what the workers took to start, before the run",
    "cpu_seconds": "CPU time of the steps, where it is measured",
    "concurrency.mean": "steps that ran at once, on average",
    "concurrency.max": "steps that ran at once, at most",
    "errors": "steps that failed: the most of any repetition",
    "step_wait_seconds": "of each attempt: what it waited for before it could start",
    "step_duration_seconds": "of each attempt: its run time",
    "first_token_seconds": "of each attempt of a model that answers piece by piece: from its request to the first text",
}
_LOST_METRICS: Final = {
    "lost.CAUSE": "seconds of the makespan that went to a cause: " + ", ".join(f"`{one}`" for one in LOST_CAUSES)
    + ", " + ", ".join(f"`{kind}NAME`" for kind in LOST_KINDS),
    "lost.CAUSE share": "the same as a share of the makespan",
}  # fmt: skip


def _metrics() -> str:
    """The metrics of ``expect``.

    Raises:
        ValueError: one has no words here, or words are about none.
    """
    if set(_METRICS) != set(METRICS):
        raise ValueError(f"the words about metrics are not those of the code: {sorted(set(_METRICS) ^ set(METRICS))}")
    rows = [[f"`{name}`", _unit(name), _summed_up(name), words] for name, words in _METRICS.items()]
    lost = [[f"`{name}`", _unit(name), "may be", words] for name, words in _LOST_METRICS.items()]
    return table(["metric", "number", "`p95(…)`", "means"], [*rows, *lost])


def _unit(name: str) -> str:
    operator = "speedup_ratio >= 1" if name == "speedup_ratio" else f"{name.replace('CAUSE', 'worker')} < 1"
    if name in ONLY_AGGREGATED:
        operator = f"p95({name}) < 1"
    units = units_of(parse_expectation(operator).metric)
    return "seconds, `900ms`, `2min`" if "ms" in units else "ratio, `90%`" if units else "number"


def _summed_up(name: str) -> str:
    return "always" if name in ONLY_AGGREGATED else "may be" if name in MAY_BE_AGGREGATED else "no"


def _filters() -> str:
    return ", ".join(f"`{name}`" for name in sorted(FILTERS)) + "."


PARTS: Final[Parts] = {
    "workflow": partial(model_table, Workflow, _WORKFLOW, _LINKS, defaults={"workflow_id": _FILE_NAME}),
    "scenario": partial(model_table, Scenario, _SCENARIO, _LINKS, defaults={"scenario": _FILE_NAME}),
    "step": partial(model_table, Step, _STEP, _LINKS),
    "retry": partial(model_table, Retry, _RETRY),
    "resource": partial(model_table, Resource, _RESOURCE),
    "devices": partial(model_table, Devices, _DEVICES),
    "tool": partial(model_table, ToolDeclaration, _TOOL, _LINKS),
    "benchmark": partial(model_table, Benchmark, _BENCHMARK),
    "metrics": _metrics,
    "filters": _filters,
}
