"""Samples as Prometheus reads them: the text format, and OpenMetrics with exemplars.

Rules of this module:
- Help texts, types and units come from the table.
- A registry of its own: nothing of the process, and nothing that other code registered, is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from executor.record.timeline import NANOSECONDS
from harness.telemetry.metrics.metric_table import FAMILIES, MetricFamily
from harness.telemetry.metrics.samples import Sample

_TOTAL = "_total"


class SampleCollector(Collector):
    """Shows what a function answers at the moment of asking."""

    def __init__(self, samples: Callable[[], Iterable[Sample]]) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Metric]:
        """The metrics, in the order of the table."""
        yield from metrics_of(self._samples())


def registry_of(samples: Callable[[], Iterable[Sample]]) -> CollectorRegistry:
    """A registry that shows these samples alone."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SampleCollector(samples))
    return registry


def text_of(samples: Iterable[Sample]) -> str:
    """The text format, as files and old servers have it."""
    held = list(samples)
    return generate_latest(registry_of(lambda: held)).decode("utf-8")


def metrics_of(samples: Iterable[Sample]) -> Iterator[Metric]:
    """The samples by family."""
    by_family: dict[MetricFamily, list[Sample]] = {}
    for sample in samples:
        by_family.setdefault(sample.family, []).append(sample)
    for family in FAMILIES:
        members = by_family.get(family)
        if members is None:
            continue
        name = family.name.removesuffix(_TOTAL) if family.type == "counter" else family.name
        metric = Metric(name, family.help, family.type, family.unit)
        for sample in members:
            labels = {label: _readable(value) for label, value in sample.labels}
            metric.add_sample(sample.name, labels, sample.value, exemplar=_exemplar(sample))
        yield metric


def _exemplar(sample: Sample) -> Exemplar | None:
    found = sample.exemplar
    if found is None:
        return None
    return Exemplar({"trace_id": found.trace_id}, found.seconds, found.at / NANOSECONDS)


def _readable(value: str) -> str:
    # Half a surrogate pair has no UTF-8.
    return value.encode("utf-8", "replace").decode("utf-8")


__all__ = ["SampleCollector", "choose_encoder", "metrics_of", "registry_of", "text_of"]
