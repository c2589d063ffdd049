"""The metrics, and how a Prometheus of one's own is started, from the one table and the one list of flags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from development.documentation.markdown import Parts, table
from harness.telemetry.metrics.metric_table import CELL_LABELS, FAMILIES, SECONDS_BUCKETS, MetricFamily
from harness.telemetry.prometheus.server_flags import prometheus_arguments, prometheus_config

_CONFIG_FILE: Final = "prometheus.yml"
_DATA_FOLDER: Final = "prometheus-data"
_RUN: Final = "makespan_run_"
_HEAD: Final = ("metric", "type", "labels beside those of the cell", "is")


def _families(members: Sequence[MetricFamily]) -> str:
    rows = (
        (f"`{one.name}`", one.type, ", ".join(f"`{label}`" for label in one.labels), one.help) for one in members
    )  # fmt: skip
    return table(_HEAD, rows)


def _of_runs() -> str:
    return _families([one for one in FAMILIES if one.name.startswith(_RUN)])


def _over_time() -> str:
    return _families([one for one in FAMILIES if not one.name.startswith(_RUN)])


def _cell() -> str:
    names = ", ".join(f"`{name}`" for name in CELL_LABELS)
    return f"{names}.\n"


def _buckets() -> str:
    return ", ".join(f"{bound:g}" for bound in SECONDS_BUCKETS) + " seconds.\n"


def _start() -> str:
    flags = prometheus_arguments(_CONFIG_FILE, _DATA_FOLDER)
    command = " \\\n    ".join(["prometheus", *flags])
    return f"```sh\n{command}\n```\n"


def _config() -> str:
    return f"```yaml\n{prometheus_config()}```\n"


PARTS: Final[Parts] = {
    "cell": _cell,
    "of-runs": _of_runs,
    "over-time": _over_time,
    "buckets": _buckets,
    "start": _start,
    "config": _config,
}
