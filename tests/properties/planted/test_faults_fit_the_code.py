"""Each planted fault names code that is there: seen at once, and not by the slow tests alone."""

from __future__ import annotations

import pytest

from tests.properties.planted.faults import FAULTS
from tests.properties.planted.planting import Fault, planted


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_text_that_a_fault_changes_is_in_its_function_once(fault: Fault) -> None:
    with planted(fault):
        pass
