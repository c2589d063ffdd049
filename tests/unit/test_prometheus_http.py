"""What all that ask a Prometheus have in common: its address, and what is said of it."""

from __future__ import annotations

import pytest

from harness.dashboards.validation.prometheus_questions import NoPrometheusError, PrometheusQueries
from harness.telemetry.prometheus.prometheus_push import Prometheus, PushError

NO_ADDRESSES = ["http://[::1", "http://host:port", "http://user:secret@[::1"]


@pytest.mark.parametrize("url", NO_ADDRESSES)
@pytest.mark.parametrize(("who", "fault"), [(PrometheusQueries, NoPrometheusError), (Prometheus, PushError)])
def test_what_is_no_address_is_told_with_what_to_do(who: type, fault: type[Exception], url: str) -> None:
    with pytest.raises(fault, match=r"is no address .*--url") as caught:
        who(url)
    assert "secret" not in str(caught.value)


def test_user_and_password_stand_in_no_message_of_one_that_does_not_answer() -> None:
    with PrometheusQueries("http://user:secret@127.0.0.1:1/") as server, pytest.raises(NoPrometheusError) as caught:
        server.flags()
    assert "there is no Prometheus at http://***@127.0.0.1:1 " in str(caught.value)
    assert "secret" not in str(caught.value)
