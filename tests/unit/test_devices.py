"""Devices from a file to the step: what is declared and found, what is refused, and how a step hears of what it has."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from executor import Devices, Resource, Step, ToolContext, Workflow, WorkflowError, run, step_devices
from executor.device_discovery import FoundDevice, found_on_machine, visible, with_devices
from executor.model.findings import Finding
from executor.node_runtime import CallError, call_tool
from harness.cli import app
from harness.config import load_config
from harness.result import timeline_from_document
from harness.scenario.scenario_file import load

TWO = {"gpu": Resource(devices=Devices(ids=("fake-0", "fake-1"), memory_gb=24.0))}
ON_MACHINE = [FoundDevice("0", "GPU-a0", 24.0), FoundDevice("1", "GPU-b1", 80.0)]


def written(folder: Path, text: str) -> str:
    path = folder / "scenario.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def faults(path: str) -> list[Finding]:
    with pytest.raises(WorkflowError) as caught:
        load(path)
    return [finding for finding in caught.value.findings if finding.severity == "error"]


# ---------------------------------------------------------------------- what is declared


@pytest.mark.parametrize(
    ("words", "ids", "memories"),
    [
        ("[0, 1]", ("0", "1"), (None, None)),
        ("2", ("0", "1"), (None, None)),
        ("[GPU-1f, b]", ("GPU-1f", "b"), (None, None)),
        ("{ids: [fake-0, fake-1], memory_gb: 24}", ("fake-0", "fake-1"), (24.0, 24.0)),
        ("{ids: 2, memory_gb: [24, 48]}", ("0", "1"), (24.0, 48.0)),
    ],
)
def test_devices_are_declared_in_short_and_in_full(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    ids: tuple[str, ...],
    memories: tuple[float | None, ...],
) -> None:
    monkeypatch.setattr("executor.device_discovery.found_on_machine", lambda: None)
    loaded = load(written(tmp_path, f"devices: {{gpu: {words}}}\nsteps: [{{step_id: a, tool: noop}}]"))
    devices = loaded.resources["gpu"].devices
    assert devices is not None
    assert (devices.names, devices.memories_gb) == (ids, memories)


BAD = """\
devices:
  gpu: {ids: [fake-0, fake-1], memory_gb: [24, 48]}
resources:
  llm: {capacity: 2}
steps:
"""


@pytest.mark.parametrize(
    ("needs", "code", "words"),
    [
        ("gpu: 1.5", "share-above-one", "only whole devices"),
        ("gpu: 3", "need-above-capacity", "needs 3 devices of 'gpu', and there are 2"),
        ("gpu_memory_gb: 50", "memory-above-device", "no device has more than 48"),
        ("gpu: 2, gpu_memory_gb: 30", "memory-above-device", "with 30 GB each, and 1 has so much"),
        ("gpu: 0", "out-of-range", "at least 1"),
        ("gpu: -0.5", "out-of-range", "greater than 0"),
        ("llm: 0.5", "not-whole", "counted in whole units"),
        ("llm: 1, gpu: 1.5", "share-above-one", "only whole devices"),
        ("tpu: 1", "unknown-resource", "no resource"),
    ],
)
def test_a_need_that_no_device_can_meet_is_told_with_file_step_and_field(
    tmp_path: Path, needs: str, code: str, words: str
) -> None:
    (finding,) = faults(written(tmp_path, f"{BAD}  - {{step_id: a, tool: noop, needs: {{{needs}}}}}\n"))
    assert (finding.code, finding.step, finding.line) == (code, "a", 6)
    assert finding.path[:3] == ("steps", 0, "needs")
    assert words in finding.message


def test_a_share_of_what_is_counted_in_whole_units_says_what_to_do(tmp_path: Path) -> None:
    (finding,) = faults(written(tmp_path, f"{BAD}  - {{step_id: a, tool: noop, needs: {{llm: 0.5}}}}\n"))
    assert finding.fix == "need a whole number; shares are for devices"


@pytest.mark.parametrize(
    ("text", "code", "path"),
    [
        ("devices: {npu: auto}", "no-devices", ("devices", "npu")),
        ("devices: {gpu: [fake-0, fake-0]}", "invalid", ("devices", "gpu")),
        ("devices: {gpu: {ids: 2, memory_gb: [1, 2, 3]}}", "invalid", ("devices", "gpu")),
        ("devices: {gpu: 2}\nresources: {gpu: {capacity: 1}}", "declared-twice", ("devices", "gpu")),
        ("devices: {gpu: 2}\nresources: {gpu_memory_gb: {capacity: 1}}", "ambiguous-need", ("devices", "gpu")),
        ("resources: {gpu: {devices: 2, capacity: 1}}", "invalid", ("resources", "gpu")),
    ],
)
def test_what_is_wrong_with_a_declaration_is_told_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, code: str, path: tuple[str, ...]
) -> None:
    monkeypatch.setattr("executor.device_discovery.found_on_machine", lambda: None)
    found = faults(written(tmp_path, f"{text}\nsteps: [{{step_id: a, tool: noop}}]"))
    assert [(finding.code, finding.path, finding.line) for finding in found] == [(code, path, 1)]


def test_devices_of_the_configuration_hold_for_every_scenario(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("devices: {gpu: {ids: [fake-7], memory_gb: 8}}\n")
    path = written(tmp_path, "steps: [{step_id: a, tool: noop, needs: {gpu_memory_gb: 4}}]")
    devices = load(path, config=load_config(config)).resources["gpu"].devices
    assert devices is not None
    assert devices.names == ("fake-7",)


def test_the_plan_of_a_bad_file_ends_with_status_two(tmp_path: Path) -> None:
    path = written(tmp_path, f"{BAD}  - {{step_id: a, tool: noop, needs: {{gpu: 1.5}}}}\n")
    ended = CliRunner().invoke(app, ["plan", path])
    assert ended.exit_code == 2
    assert "step 'a', steps[0].needs.gpu: needs 1.5 of 'gpu'" in ended.output


# ---------------------------------------------------------------------- what is found


def resolved(
    ids: Any, found: Any, environment: Mapping[str, str] | None = None, **words: Any
) -> tuple[Devices, list[str]]:
    devices = {"gpu": Resource(devices=Devices(ids=ids, **words))}
    resources, findings = with_devices(devices, find=lambda: found, environment=environment or {})
    changed = resources["gpu"].devices
    assert changed is not None
    return changed, [finding.code for finding in findings]


def test_auto_takes_what_the_machine_has_with_its_memory() -> None:
    assert resolved("auto", ON_MACHINE) == (Devices(ids=("0", "1"), memory_gb=(24.0, 80.0)), [])
    assert resolved("auto", ON_MACHINE, memory_gb=10.0) == (Devices(ids=("0", "1"), memory_gb=10.0), [])


def test_what_cuda_visible_devices_hides_is_not_found() -> None:
    assert resolved("auto", ON_MACHINE, {"CUDA_VISIBLE_DEVICES": "1"})[0].names == ("1",)
    assert resolved("auto", ON_MACHINE, {"CUDA_VISIBLE_DEVICES": "GPU-b1, 0"})[0].names == ("1", "0")
    assert resolved("auto", None, {"CUDA_VISIBLE_DEVICES": "2,5"})[0].names == ("2", "5")
    assert visible(ON_MACHINE, {"CUDA_VISIBLE_DEVICES": "0,-1,1"}) == ON_MACHINE[:1]
    assert resolved("auto", ON_MACHINE, {"CUDA_VISIBLE_DEVICES": ""})[1] == ["no-devices"]


def test_auto_on_a_machine_without_devices_is_a_fault() -> None:
    assert resolved("auto", None)[1] == ["no-devices"]


def test_a_device_that_is_not_there_is_a_fault_where_the_machine_can_say() -> None:
    assert resolved((0, 7), ON_MACHINE)[1] == ["device-not-there"]
    assert resolved(("GPU-ffff",), ON_MACHINE)[1] == ["device-not-there"]
    assert resolved(("GPU-b1", "MIG-1/2/3", "fake-0"), ON_MACHINE)[1] == []
    assert resolved((0, 7), None)[1] == []


def test_the_memory_of_declared_devices_is_that_of_the_machine_where_it_is_not_stated() -> None:
    assert resolved((1,), ON_MACHINE)[0].memories_gb == (80.0,)
    assert resolved((1,), ON_MACHINE, memory_gb=40.0)[0].memories_gb == (40.0,)


def nvml(*, broken: bool = False) -> ModuleType:
    """What `pynvml` has, as far as it is used, for a machine with two devices."""
    module: Any = ModuleType("pynvml")
    module.nvmlInit = module.nvmlShutdown = lambda: None
    module.nvmlDeviceGetCount = lambda: 2
    module.nvmlDeviceGetHandleByIndex = lambda place: place
    module.nvmlDeviceGetUUID = lambda place: ("GPU-a0", b"GPU-b1")[place]
    module.nvmlDeviceGetMemoryInfo = lambda place: SimpleNamespace(total=(24 + 56 * place) * 10**9)
    if broken:

        def no_driver() -> None:
            raise OSError("driver not loaded")

        module.nvmlInit = no_driver
    return module  # type: ignore[no-any-return]  # the functions above are put into a module


def test_nvml_is_asked_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml())
    assert found_on_machine() == ON_MACHINE


@pytest.mark.parametrize(
    ("listing", "status", "found"),
    [
        (
            "GPU 0: NVIDIA H100 (UUID: GPU-a0)\nGPU 1: NVIDIA H100 (UUID: GPU-b1)\n",
            0,
            [("0", "GPU-a0"), ("1", "GPU-b1")],
        ),
        ("GPU 0: NVIDIA H100 (UUID: GPU-a0)\n  MIG 1g.10gb Device 0: (UUID: MIG-1)\n", 0, [("0", "GPU-a0")]),
        ("", 0, []),
        ("NVIDIA-SMI has failed", 9, None),
    ],
)
def test_else_nvidia_smi_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listing: str, status: int, found: list[tuple[str, str]] | None
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '%s' '{listing}'\nexit {status}\n")
    program.chmod(0o755)
    monkeypatch.setitem(sys.modules, "pynvml", nvml(broken=True))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    answer = found_on_machine()
    assert (None if answer is None else [each[:2] for each in answer]) == found


# ---------------------------------------------------------------------- how a step hears of its devices


def seen(given: str | None = None) -> list[Any]:
    """What a step sees: its devices, its environment, and what a template gave it."""
    return [dict(step_devices()), os.environ.get("CUDA_VISIBLE_DEVICES"), given]


def steps(*needs: dict[str, float] | None, tool: str = "seen") -> Workflow:
    args = {"given": "{{ devices.gpu }}"}
    return Workflow(
        steps=tuple(
            Step(step_id=f"s{place}", tool=tool, needs=each, args=args if each else None, expected_seconds=1.0)
            for place, each in enumerate(needs)
        )
    )


@pytest.mark.parametrize("backend", ["serial", "threads", "asyncio", "processes"])
def test_python_code_hears_of_its_devices_on_every_executor(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "outer")
    result = run(steps({"gpu": 2}, {"gpu": 0.5}, None), tools={"seen": seen}, resources=TWO, backend=backend, workers=1)
    both = ("fake-0", "fake-1")
    own = backend == "processes"
    assert [list(result.outputs[f"s{place}"]) for place in range(3)] == [
        [{"gpu": both}, "fake-0,fake-1" if own else "outer", "fake-0,fake-1"],
        [{"gpu": both[:1]}, "fake-0" if own else "outer", "fake-0"],
        [{}, "outer", None],
    ]
    shared = [warning for warning in result.warnings if "share one environment" in warning]
    assert len(shared) == (0 if own else 1)


@pytest.mark.parametrize("backend", ["threads", "processes", "asyncio"])
def test_programs_and_nodes_get_their_devices_by_their_environment(backend: str) -> None:
    said = "echo $CUDA_VISIBLE_DEVICES $MAKESPAN_DEVICES_GPU"
    node = "from node_runtime import step_devices\ndef main():\n    return step_devices()\n"
    workflow = Workflow(
        steps=(
            Step(step_id="program", tool="command", needs={"gpu": 2}, args={"argv": ["sh", "-c", said]}),
            Step(step_id="node", tool="node", needs={"gpu": 0.5}, args={"source": node, "input": {}}),
            Step(step_id="without", tool="command", args={"argv": ["sh", "-c", said]}),
        )
    )
    result = run(workflow, resources=TWO, backend=backend)
    assert result.outputs == {"program": "fake-0,fake-1 fake-0,fake-1", "node": {"gpu": ["fake-0"]}, "without": ""}
    assert not any("share one environment" in warning for warning in result.warnings)


def test_the_declared_environment_of_a_program_does_not_hide_the_devices() -> None:
    tools = {
        "say": {
            "kind": "command",
            "argv": ["sh", "-c", "echo $CUDA_VISIBLE_DEVICES"],
            "env": {"CUDA_VISIBLE_DEVICES": "9"},
        }
    }
    workflow = Workflow(steps=(Step(step_id="a", tool="say", needs={"gpu": 1}),))
    assert run(workflow, tools=tools, resources=TWO).outputs == {"a": "fake-0"}


def test_a_call_of_a_step_with_devices_that_needs_devices_fails_with_a_message() -> None:
    def caller() -> str:
        try:
            return str(call_tool("other"))
        except CallError as error:
            return error.reason

    tools = {"caller": caller, "other": {"kind": "noop", "needs": {"gpu": 0.5}}}
    workflow = Workflow(steps=(Step(step_id="a", tool="caller", needs={"gpu": 0.5}),))
    assert "'a' keeps its devices (gpu)" in run(workflow, tools=tools, resources=TWO).outputs["a"]


def test_templates_of_conditions_and_lists_know_no_devices(tmp_path: Path) -> None:
    step = "{step_id: a, tool: noop, needs: {gpu: 1}, when: devices.gpu == '0'}"
    (finding,) = faults(written(tmp_path, f"devices: {{gpu: [fake-0]}}\nsteps: [{step}]"))
    assert "before a step gets its devices" in finding.message


def test_the_output_of_a_step_is_taken_from_the_cache_whichever_device_it_had(tmp_path: Path) -> None:
    def cached(*names: str) -> Workflow:
        args = {"given": "{{ devices.gpu }} for it"}
        return Workflow(
            steps=tuple(
                Step(step_id=name, tool="told", needs={"gpu": 0.75}, args=args, prompt=None, cache="inputs")
                for name in names
            )
        )

    def told(given: str) -> str:
        return given

    first = run(cached("a"), tools={"told": told}, resources=TWO, cache=tmp_path / "cache.db")
    # Here it would get the other device.
    again = run(cached("b", "a"), tools={"told": told}, resources=TWO, cache=tmp_path / "cache.db")
    assert first.outputs["a"] == again.outputs["a"] == "fake-0 for it"
    assert again.cached == {"a", "b"}


def test_a_tool_finds_its_devices_in_its_context() -> None:
    from executor import Tool

    class Asks(Tool):
        def call(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Any:  # type: ignore[override]
            return {kind: list(ids) for kind, ids in (context.devices or {}).items()}

    assert run(steps({"gpu": 1}, tool="ask"), tools={"ask": Asks("ask")}, resources=TWO).outputs["s0"] == {
        "gpu": ["fake-0"]
    }


# ---------------------------------------------------------------------- the record


def test_the_document_of_a_run_keeps_the_devices_of_each_attempt(tmp_path: Path) -> None:
    path = written(
        tmp_path, f"{BAD}  - {{step_id: a, tool: noop, needs: {{gpu: 1, llm: 1}}}}\n  - {{step_id: b, tool: noop}}\n"
    )
    options = ["--executor", "virtual", "--json", str(tmp_path / "run.json"), "--no-progress"]
    assert CliRunner().invoke(app, ["run", path, *options]).exit_code == 0
    document = json.loads((tmp_path / "run.json").read_text())
    (result,) = document["results"]
    with_device, without = result["steps"]
    assert with_device["attempts"][0]["devices"] == {"gpu": ["fake-0"]}
    assert "devices" not in without["attempts"][0]
    assert "devices" not in result["resources"]["llm"]
    timeline = timeline_from_document(result)
    assert [attempt.devices for attempt in timeline.attempts] == [{"gpu": ("fake-0",)}, None]
    assert timeline.resources["gpu"].devices == Devices(ids=("fake-0", "fake-1"), memory_gb=(24.0, 48.0))
