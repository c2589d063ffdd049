"""The variables by which a program learns where its spans go, and the community's instrumentation where it is there.

Rules of this module:
- The standard ``OTEL_*`` variables, which SDKs of every language read; what a person has set besides them stays.
- A proxy is never asked for loopback.
- Python: a ``sitecustomize`` that starts the community's own instrumentation where the program's interpreter has it.
  Node: its package, where the program's folder has it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

PYTHON_START: Final = Path(__file__).resolve().parent / "python_start"
INSTRUMENT: Final = "MAKESPAN_RECORD_INSTRUMENT"
ONE_TRACE: Final = "MAKESPAN_RECORD_ONE_TRACE"
_NODE_PACKAGE: Final = Path("node_modules", "@opentelemetry", "auto-instrumentations-node")
_NODE_START: Final = "--require @opentelemetry/auto-instrumentations-node/register"
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
HTTP: Final = "http/protobuf"
GRPC: Final = "grpc"
# What only counts where it is not set yet: spans come while the program runs, and all of them.
_UNLESS_SET: Final = {"OTEL_BSP_SCHEDULE_DELAY": "500", "OTEL_TRACES_SAMPLER": "always_on"}


def wants_grpc(environment: Mapping[str, str]) -> bool:
    """Whether a person has asked SDKs for gRPC."""
    return next((environment[name] for name in _PROTOCOLS if environment.get(name)), HTTP) == GRPC


def exporter_variables(endpoint: str, protocol: str = HTTP) -> dict[str, str]:
    """The variables that send spans, and nothing but spans, to a receiver."""
    traces = endpoint if protocol == GRPC else f"{endpoint}/v1/traces"
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": traces,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_INSECURE": "true",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
    }


def child_environment(
    environment: Mapping[str, str],
    name: str,
    endpoint: str,
    protocol: str = HTTP,
    *,
    instrument: bool = True,
    one_trace: bool = True,
    folder: Path | None = None,
) -> dict[str, str]:
    """The environment of a program that is recorded. ``name``: its service, where it names none. ``one_trace``: of a
    Python program that is instrumented, all spans hang below one span of the program. ``folder``: where it starts.
    """
    found = {**_UNLESS_SET, "OTEL_SERVICE_NAME": name, **environment, **exporter_variables(endpoint, protocol)}
    found.pop("OTEL_SDK_DISABLED", None)
    for proxy in ("NO_PROXY", "no_proxy"):
        found[proxy] = ",".join(filter(None, (found.get(proxy, ""), "127.0.0.1", "localhost")))
    found[INSTRUMENT] = "1" if instrument else "0"
    found[ONE_TRACE] = "1" if one_trace else "0"
    if instrument:
        found["PYTHONPATH"] = os.pathsep.join(filter(None, (str(PYTHON_START), environment.get("PYTHONPATH", ""))))
        if _has_node_package(folder) and _NODE_START not in found.get("NODE_OPTIONS", ""):
            found["NODE_OPTIONS"] = f"{found.get('NODE_OPTIONS', '')} {_NODE_START}".strip()
    return found


def _has_node_package(folder: Path | None) -> bool:
    try:
        folder = folder or Path.cwd()
    except FileNotFoundError:  # the current folder is gone
        return False
    return any((above / _NODE_PACKAGE).is_dir() for above in (folder, *folder.parents))
