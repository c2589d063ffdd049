"""Where the metrics of a finished run go by the configuration: a Prometheus, a text file, both or nowhere.

Rules of this module:
- What goes wrong is a sentence for people; it never changes a run, its result or its exit status.
- Light to import: what sends is imported when something is to be sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.telemetry.telemetry_settings import Telemetry


def delivers_metrics(telemetry: Telemetry) -> bool:
    """Whether a run's metrics go anywhere."""
    return telemetry.prometheus.push or telemetry.prometheus.textfile is not None


def with_lost_spans(document: Mapping[str, Any], lost_spans: int) -> Mapping[str, Any]:
    """The document, in which the loss is at its first result: which cell's spans they were is unknown."""
    if not lost_spans or not document["results"] or not document["results"][0]["samples"]:
        return document
    first, *others = document["results"]
    sample, *samples = first["samples"]
    return {
        **document,
        "results": [{**first, "samples": [{**sample, "telemetry_lost": lost_spans}, *samples]}, *others],
    }


def deliver_metrics(document: Mapping[str, Any], telemetry: Telemetry) -> list[str]:
    """Send a run's metrics wherever the configuration says. Answers a sentence for each that failed."""
    settings = telemetry.prometheus
    faults: list[str] = []
    if settings.textfile is not None:
        faults += _written(document, settings.textfile, run_info=settings.run_info)
    if settings.push and settings.profile == "own":
        faults += _pushed(document, telemetry)
    elif settings.push and settings.textfile is None:
        faults.append(
            "metrics were not sent: telemetry.prometheus.profile is `shared`, which sends nothing by itself; set "
            "telemetry.prometheus.textfile, or let the metrics_port be scraped"
        )
    return faults


def _pushed(document: Mapping[str, Any], telemetry: Telemetry) -> list[str]:
    from harness.telemetry.prometheus.prometheus_push import Prometheus, PushError, push_runs  # noqa: PLC0415 - only a push pays

    settings = telemetry.prometheus
    try:
        with Prometheus(settings.url, timeout_seconds=telemetry.timeout_seconds) as server:
            answers = list(push_runs([document], server, run_info=settings.run_info))
    except PushError as error:
        answers = [str(error)]
    return [f"metrics were not sent: {answer}" for answer in answers if isinstance(answer, str)]


def _written(document: Mapping[str, Any], path: str, *, run_info: bool) -> list[str]:
    from harness.result import DocumentError  # noqa: PLC0415 - the same
    from harness.telemetry.prometheus.textfile import TextfileError, write_textfile  # noqa: PLC0415 - the same

    try:
        write_textfile([document], path, run_info=run_info)
    except (TextfileError, DocumentError) as error:
        return [f"metrics were not written: {error}"]
    return []
