"""One whole file of each kind that a person hands to a command, made by the commands themselves where they make it, and
the commands that read it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import yaml
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from harness.store.run_store import Store
from tests.integration.calling import called
from tests.integration.damaged_files import DEEP, LONG_NUMBER, NOT_A_NUMBER, TOO_LARGE, json_bytes, json_lines
from tests.properties.drawn_trace_files import Written, written_as
from tests.unit.project_documents import known_project, patterson, psplib
from tests.unit.wfformat_documents import document_1_4, document_1_5, known

FILE = "FILE"  # in the words of a command: the file
RICH = """
scenario: rich
description: A bit of everything
scale: 0.01
seed: 7
inputs: {topic: cats, languages: [fr, es]}
resources: {llm: {capacity: 2}, db: {rate_per_minute: 60000, burst: 10}}
tools:
  writer: {kind: llm, needs: {llm: 1}}
steps:
  - {step_id: plan, description: Plan, tool: writer, expected_seconds: 1, prompt: "Plan {{ inputs.topic }}"}
  - {step_id: each, tool: writer, expected_seconds: 1, for_each: "{{ inputs.languages }}", max_parallel: 2,
     prompt: "{{ steps.plan.output }} {{ item }} {{ index }}"}
  - {step_id: left, tool: sleep, args: {seconds: 0.5}, parallel_group: 1, depends_on: [plan], needs: {db: 1},
     retry: {max_attempts: 3, backoff_seconds: 0.1}, timeout: 60, priority: 2}
  - {step_id: right, tool: sleep, args: {seconds: 0.5}, parallel_group: 1, depends_on: [plan], writes: [notes]}
  - {step_id: read, tool: noop, reads: [notes], when: "{{ true }}", on_failure: stop, idempotent: false}
expect: ["makespan_seconds < 60", "errors == 0"]
benchmark: {executors: [serial, threads], workers: [2], repetitions: 2, warmup: 0}
"""
_CONFIGURATION: Mapping[str, Any] = {
    "chat": {"planner": "auto", "workflow_mode": {"enabled": True, "detect_keywords": ["and"]}},
    "default_tool": "writer", "executor": "threads", "workers": 4, "backend_options": {"ray": {"address": "auto"}},
    "policy": "dataflow", "resources": {"llm": {"capacity": 2}}, "tools": {"writer": {"kind": "llm"}},
    "llm": {"base_url": None, "model": None, "timeout_seconds": 120, "slots": 4, "local": {"slots": 4, "threads": 2}},
    "telemetry": {"mode": "off", "endpoint": None, "protocol": "http", "headers": {"a": "b"}, "timeout_seconds": 5,
                  "prometheus": {"profile": "own", "push": False, "textfile": None}},
    "store": {"path": None},
}  # fmt: skip
_EDGES = {"chat": ["plan", "-/> tool"], "end": ["chat", "tool"]}


@dataclass(frozen=True)
class Kind:
    """``value``: what the file holds, for damage of its fields; None where it has none. ``text`` makes the bytes of it.
    ``beside``: other files of the current folder. ``folder``: where the file has to be. ``names_field``: a refusal has
    to name the damaged field.
    """

    suffix: str
    commands: Sequence[Sequence[str]]
    value: Any = None
    text: Callable[[Any], bytes] = json_bytes
    content: bytes = b""
    beside: Mapping[str, bytes] = field(default_factory=dict)
    folder: str = "."
    names_field: bool = True

    def whole(self) -> bytes:
        """The whole file."""
        return self.content if self.value is None else self.text(self.value)


def made(*words: str) -> None:
    """Have a command make something."""
    done = called(*words)
    assert done.exit_code == 0, (words, done.output)


def kinds_of_results(folder: Path) -> dict[str, Kind]:
    """What `run` and `bench` write. ``folder`` is the current one."""
    (folder / "rich.yaml").write_text(RICH, encoding="utf-8")
    made("run", "rich.yaml", "--json", "run.json", "--quiet", "--no-store")
    made("bench", "rich.yaml", "--json", "bench.json", "--record", "calls.jsonl", "--quiet", "--no-store")
    run, bench = (folder / "run.json").read_bytes(), (folder / "bench.json").read_bytes()
    readers = [
        ["simulate", FILE, "--json", "out.json", "--distribution", "--runs", "5", "-w", "2,4"],
        ["report", FILE, "-o", "out.html"],
        ["report", FILE, "-f", "perfetto", "-o", "out.json"],
        ["report", FILE, "-f", "csv", "-o", "out.csv"],
        ["report", FILE, "-f", "csv", "--table", "steps", "-o", "out.csv"],
        ["report", FILE, "-f", "csv", "--table", "cells", "-o", "out.csv"],
        ["report", FILE, "-f", "markdown", "-o", "out.md"],
        ["compare", "--force", "good.json", FILE, "--json", "out.json", "--markdown", "out.md"],
        ["compare", "--force", FILE, "good.json", "--fail-if", "makespan +5%"],
        ["compare", "good.json", "--against", "median(3)", "--history", FILE, "--json", "out.json"],
        ["dashboards", "push", FILE, "--profile", "shared", "--textfile", "out.prom"],
    ]
    against = ["bench", "rich.yaml", "--against", FILE, "-n", "1", "--quiet", "--no-store"]
    calls = [json.loads(line) for line in (folder / "calls.jsonl").read_text(encoding="utf-8").splitlines()]
    replay = ["bench", "rich.yaml", "--replay", FILE, "-n", "1", "--quiet", "--no-store", "--json", "out.json"]
    return {
        "run document": Kind(".json", readers, json.loads(run), beside={"good.json": run}),
        "bench document": Kind(".json", [*readers, against], json.loads(bench), beside={"good.json": bench}),
        "recorded calls": Kind(".jsonl", [replay], calls, json_lines),
    }


class _FirstOfAll(Random):
    """Draws the first of all, and shuffles nothing."""

    def choice(self, seq: Any) -> Any:
        return seq[0]

    def random(self) -> float:
        return 0.99


def _spans() -> list[Written]:
    begin, second, trace = 1_700_000_000_000_000_000, 10**9, "0af7651916cd43dd8448eb211c80319c"
    rows = [
        ("root", None, 0, 10), ("plan", "root", 0, 2), ("chat", "root", 2, 6), ("tool", "root", 2, 5),
        ("end", "root", 6, 10), ("inner", "chat", 3, 5),
    ]  # fmt: skip
    ids = {name: f"{number:016x}" for number, (name, *_) in enumerate(rows, start=1)}
    return [
        Written(trace, ids[name], None if parent is None else ids[parent], name, begin + start * second,
                begin + end * second, "app")
        for name, parent, start, end in rows
    ]  # fmt: skip


def _trace(form: str) -> Any:
    return json.loads(written_as(form, _spans(), _FirstOfAll()))


def _protobuf() -> bytes:
    document = _trace("otlp")
    for resource in document["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for name in {"traceId", "spanId", "parentSpanId"} & span.keys():
                    span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
    return bytes(json_format.ParseDict(document, ExportTraceServiceRequest()).SerializeToString())


def kinds_of_traces(folder: Path) -> dict[str, Kind]:
    """Traces of other programs in each format, one of ours, and files of edges."""
    (folder / "rich.yaml").write_text(RICH, encoding="utf-8")
    readers = [
        ["analyze", FILE, "--json", "out.json", "--html", "out.html"],
        ["analyze", FILE, "--scenario", "out.yaml", "--quiet"],
        ["simulate", FILE, "--json", "out.json", "-w", "2"],
    ]
    kinds = {
        f"trace as {form}": Kind(".json", readers, _trace(form), names_field=False)
        for form in ("otlp", "tempo", "jaeger", "jaeger bare", "zipkin", "bare")
    }
    console = [json.loads(text) for text in written_as("console", _spans(), _FirstOfAll()).splitlines()]
    kinds["trace as console"] = Kind(".json", readers, console, json_lines, names_field=False)
    kinds["trace as otlp lines"] = Kind(".jsonl", readers, [_trace("otlp lines")], json_lines, names_field=False)
    kinds["trace as protobuf"] = Kind(".pb", readers, content=_protobuf())
    made("run", "rich.yaml", "--quiet", "--no-store", "--trace-file", "own.jsonl")
    own = [json.loads(line) for line in (folder / "own.jsonl").read_text(encoding="utf-8").splitlines()]
    kinds["trace of our own"] = Kind(".jsonl", readers, own, json_lines, names_field=False)
    beside = {"trace.json": json_bytes(_trace("otlp"))}
    with_edges = [
        ["analyze", "trace.json", "--edges", FILE, "--json", "out.json"],
        ["simulate", "trace.json", "--edges", FILE],
    ]
    lines = b"# what needs what\nplan -> chat\ntool -/> chat\nchat -> end\n"
    kinds["edges as JSON"] = Kind(".json", with_edges, _EDGES, beside=beside)
    kinds["edges as YAML"] = Kind(".yaml", with_edges, _EDGES, yaml_bytes, beside=beside)
    kinds["edges as lines"] = Kind(".txt", with_edges, content=lines, beside=beside)
    return kinds


def yaml_bytes(value: Any) -> bytes:
    """As YAML, with what it writes otherwise than JSON."""
    words = {TOO_LARGE: ".inf", NOT_A_NUMBER: ".nan", LONG_NUMBER: "1" * 5000, DEEP: "[" * 3000 + "]" * 3000}
    text = yaml.safe_dump(value, sort_keys=False)
    for word, there in words.items():
        text = text.replace(f"'{word}'", there).replace(word, there)
    return str(text).encode()


def kinds_of_scenarios(folder: Path) -> dict[str, Kind]:
    """Scenarios as YAML and JSON, those of other systems, and configurations."""
    (folder / "rich.yaml").write_text(RICH, encoding="utf-8")
    readers = [
        ["plan", FILE, "--json", "out.json"],
        ["run", FILE, "-e", "virtual", "--no-store", "--json", "out.json", "--no-progress"],
        ["simulate", FILE, "--json", "out.json", "-w", "2"],
        ["bench", FILE, "--dry-run"],
        ["bench", FILE, "-n", "1", "-e", "virtual", "-w", "2", "--no-store", "--json", "out.json", "--quiet"],
    ]
    with_configuration = [
        ["run", "rich.yaml", "-c", FILE, "-e", "virtual", "--no-store", "--no-progress"],
        ["plan", "write a joke and translate it", "-c", FILE],
        ["history", "-c", FILE, "--store", "empty.sqlite"],
        ["simulate", "rich.yaml", "-c", FILE],
    ]
    Store.open("empty.sqlite").close()
    seed = json.loads((Path(__file__).parents[1] / "fixtures" / "seed_example_1.json").read_bytes())
    project = known_project(2)
    return {
        "scenario as YAML": Kind(".yaml", readers, yaml.safe_load(RICH), yaml_bytes),
        "scenario as JSON": Kind(".json", readers, yaml.safe_load(RICH)),
        "file of the seed system": Kind(".json", readers, seed),
        "WfFormat 1.4": Kind(".json", readers, document_1_4(known(3))),
        "WfFormat 1.5": Kind(".json", readers, document_1_5(known(3))),
        "project of PSPLIB": Kind(".sm", readers, content=psplib(project).encode()),
        "project as Patterson has it": Kind(".rcp", readers, content=patterson(project).encode()),
        "configuration": Kind(".yaml", with_configuration, dict(_CONFIGURATION), yaml_bytes),
    }
