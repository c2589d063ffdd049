"""Every metric that leaves the program: the one table of names, types, labels, units and help texts.

Rules of this module:
- It is light: the standard library alone, so that a module that needs only a name imports nothing heavy.
- Names follow Prometheus' practice: one prefix, base units, ``_total`` for counters, ``_ratio`` for ratios.
- No label holds a step id; a run's id, revision, machine and trace id stand in :data:`RUN_INFO` alone.
- What a scrape shows, what remote write sends, what the text file holds and what the reference page says is all made
  from this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

MetricType = Literal["gauge", "counter", "histogram"]

PREFIX: Final = "makespan_"

# What every metric of a run carries: the cell of the matrix that it belongs to.
CELL_LABELS: Final = ("scenario", "executor", "workers", "policy", "variant")
# The variant of a cell without parameters.
DEFAULT_VARIANT: Final = "default"

# Upper bounds in seconds: from steps that only compute to calls of a slow model.
SECONDS_BUCKETS: Final = (
    0.0001, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class MetricFamily:
    """One metric. ``name`` is whole, with prefix and suffix; ``labels`` are those beside :data:`CELL_LABELS`.

    ``unit`` is ``seconds``, ``ratio`` or empty for a count. ``buckets``: upper bounds, of histograms alone.
    """

    name: str
    type: MetricType
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    buckets: tuple[float, ...] = ()

    @property
    def sample_names(self) -> tuple[str, ...]:
        """The names under which a query finds samples of the family."""
        if self.type != "histogram":
            return (self.name,)
        return (f"{self.name}_bucket", f"{self.name}_sum", f"{self.name}_count")


def _gauge(name: str, help_text: str, labels: tuple[str, ...] = (), unit: str = "") -> MetricFamily:
    return MetricFamily(PREFIX + name, "gauge", help_text, labels, unit)


def _counter(name: str, help_text: str, labels: tuple[str, ...] = (), unit: str = "") -> MetricFamily:
    return MetricFamily(PREFIX + name, "counter", help_text, labels, unit)


def _histogram(name: str, help_text: str, labels: tuple[str, ...] = ()) -> MetricFamily:
    return MetricFamily(PREFIX + name, "histogram", help_text, labels, "seconds", SECONDS_BUCKETS)


# ---------------------------------------------------------------------- one sample a run, at its end

RUN_SPEEDUP: Final = _gauge(
    "run_speedup_ratio",
    "Serial makespan divided by makespan, median over repetitions; only benchmarks measure it.",
    unit="ratio",
)
RUN_EFFICIENCY: Final = _gauge("run_efficiency_ratio", "Speedup divided by workers.", unit="ratio")
RUN_MAKESPAN: Final = _gauge(
    "run_makespan_seconds", "From the first start to the last end, median over repetitions.", unit="seconds"
)
RUN_CRITICAL_PATH: Final = _gauge(
    "run_critical_path_seconds", "The longest chain of dependent run times.", unit="seconds"
)
RUN_LOWER_BOUND: Final = _gauge(
    "run_lower_bound_seconds", "No schedule of the measured durations is shorter.", unit="seconds"
)
RUN_SCHEDULE_EFFICIENCY: Final = _gauge(
    "run_schedule_efficiency_ratio", "Lower bound divided by makespan.", unit="ratio"
)
RUN_WORK: Final = _gauge("run_work_seconds", "The sum of all run times.", unit="seconds")
RUN_STEP_OVERHEAD: Final = _gauge(
    "run_step_overhead_seconds", "Time per step between could start and did start, and between end and known.",
    unit="seconds",
)  # fmt: skip
RUN_STARTUP: Final = _gauge(
    "run_startup_seconds",
    "Bringing the workers up before the first start; of a benchmark, the first time.",
    unit="seconds",
)
RUN_LOST: Final = _gauge(
    "run_lost_seconds", "The makespan split by cause, running included: the parts sum to it.", ("cause",), "seconds"
)
RUN_LOST_COMPLETED: Final = _gauge(
    "run_lost_completed_timestamp_seconds",
    "When the run ended that `run_lost_seconds` of this cause is from, seconds since 1970 in UTC.",
    ("cause",),
    "seconds",
)
RUN_COMPLETED: Final = _gauge(
    "run_completed_timestamp_seconds", "When the last repetition ended, seconds since 1970 in UTC.", unit="seconds"
)
RUN_COMPARED: Final = _gauge(
    "run_compared_timestamp_seconds",
    "When the benchmark ended that the cell was compared in, seconds since 1970 in UTC: the same for all its cells.",
    unit="seconds",
)
RUN_INFO: Final = _gauge(
    "run_info",
    "Always 1: the run, source revision, machine and trace behind the other metrics.",
    ("run_id", "revision", "machine", "trace_id"),
)

# ---------------------------------------------------------------------- while a run goes on

STEPS_RUNNING: Final = _gauge("steps_running", "Steps that run at this moment.")
STEPS_READY: Final = _gauge("steps_ready", "Steps that could run by their dependencies, and wait for something else.")
WORKERS: Final = _gauge("workers", "How many steps may run at once.")
RESOURCE_IN_USE: Final = _gauge(
    "resource_in_use",
    "Units of a resource that are held at this moment; of each device its share (1: the whole), and GB of memory.",
    ("resource", "device"),
)
RESOURCE_CAPACITY: Final = _gauge(
    "resource_capacity",
    "Units of a resource that there are; of each device 1, and its GB of memory.",
    ("resource", "device"),
)

RUNS: Final = _counter("runs_total", "Runs that ended, by result: succeeded, failed or interrupted.", ("result",))
STEP_ATTEMPTS: Final = _counter(
    "step_attempts_total", "Attempts at steps that ended, by tool and by result.", ("tool", "result")
)
STEP_FAILURES: Final = _counter(
    "step_failures_total",
    "Attempts that failed, by the type of the error and the HTTP status, which is empty where there was none.",
    ("error_type", "http_status_code"),
)
STEP_RETRIES: Final = _counter(
    "step_retries_total", "Attempts after the first, by the result of the one before.", ("reason",)
)
BUSY_WORKER: Final = _counter("busy_worker_seconds_total", "Time that workers spent running steps.", unit="seconds")
TELEMETRY_LOST: Final = _counter("telemetry_lost_total", "Spans that could not be delivered, and are not on the way.")

STEP_DURATION: Final = _histogram("step_duration_seconds", "Run times of attempts, blocked time left out.")
STEP_WAIT: Final = _histogram("step_wait_seconds", "Waits of attempts, by what they waited for.", ("reason",))

FAMILIES: Final = (
    RUN_SPEEDUP, RUN_EFFICIENCY, RUN_MAKESPAN, RUN_CRITICAL_PATH, RUN_LOWER_BOUND, RUN_SCHEDULE_EFFICIENCY, RUN_WORK,
    RUN_STEP_OVERHEAD, RUN_STARTUP, RUN_LOST, RUN_LOST_COMPLETED, RUN_COMPLETED, RUN_COMPARED, RUN_INFO, STEPS_RUNNING,
    STEPS_READY, WORKERS, RESOURCE_IN_USE, RESOURCE_CAPACITY, RUNS, STEP_ATTEMPTS, STEP_FAILURES, STEP_RETRIES,
    BUSY_WORKER, TELEMETRY_LOST, STEP_DURATION, STEP_WAIT,
)  # fmt: skip

# Exported as 0 before they happen, so that the first one is an increase.
RUN_RESULTS: Final = ("succeeded", "failed", "interrupted")
ATTEMPT_RESULTS: Final = ("succeeded", "failed", "timed_out", "worker_died", "cancelled")
RETRY_REASONS: Final = ("failed", "timed_out", "worker_died")
