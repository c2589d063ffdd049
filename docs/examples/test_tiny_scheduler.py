"""The adapter between the suite and the scheduler."""

from harness.testing.schedulers import SchedulerConformance
from tiny_scheduler import TinyScheduler


class TestTinyScheduler(SchedulerConformance):
    supports = frozenset()  # neither failures nor limits nor cancellation

    def run(self, graph, call, workers):
        TinyScheduler(workers).run(graph, call)
