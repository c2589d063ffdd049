"""Random calls to the scheduler alone, legal and not."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from tests.properties.effort import examples
from tests.properties.scheduler_machine import SchedulerMachine

TestScheduler = pytest.mark.timeout(600)(SchedulerMachine.TestCase)
TestScheduler.settings = settings(
    max_examples=examples(80),
    stateful_step_count=30,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
