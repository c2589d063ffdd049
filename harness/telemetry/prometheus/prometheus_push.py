"""Sending finished runs to a Prometheus: by remote write, at the times at which they ran.

Rules of this module:
- Same run, same samples: sending it twice, or in another order with others, changes nothing.
- Every failure is a :class:`PushError` that says what to do; runs that were sent before it stay sent.
- The server is asked first what it keeps, where it can be asked: one that would drop a run without a word is an error.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import httpx

from harness.result import DocumentError
from harness.telemetry.metrics.time_series import end_of, series_of
from harness.telemetry.prometheus.http_api import Connection, answered
from harness.telemetry.prometheus.remote_write import HEADERS, requests
from harness.telemetry.prometheus.server_flags import OUT_OF_ORDER_WINDOW, REMOTE_WRITE_FLAG, RETENTION, RETENTION_FLAG

_WRITE_PATH: Final = "/api/v1/write"
_DURATION: Final = re.compile(r"(\d+)(ms|[smhdwy])")
_UNIT_MILLISECONDS: Final = {
    "ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "y": 31_536_000_000,
}  # fmt: skip
# A server that is starting, or overloaded, is asked again after so many seconds.
_PAUSES_SECONDS: Final = (0.2, 1.0)
_TOO_MANY_REQUESTS: Final = 429
_SERVER_ERROR: Final = 500
_BODY_SHOWN: Final = 300
_ID_SHOWN: Final = 12
_DAY_SECONDS: Final = 86_400.0
_HOUR_SECONDS: Final = 3_600.0
DEFAULT_TIMEOUT_SECONDS: Final = 5.0


class PushError(Exception):
    """Runs that could not be sent; the message says why and what to do."""


class UnreachableError(PushError):
    """No server answers: it makes no sense to try the next run."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What was sent of a run."""

    run_id: str
    scenario: str
    series: int
    samples: int


class Prometheus:
    """A server that takes remote write. A context manager: connections live as long.

    Raises:
        PushError: the address is none.

    """

    def __init__(self, url: str, *, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> None:
        self._connection = Connection(
            url.rstrip("/").removesuffix(_WRITE_PATH),
            timeout_seconds=timeout_seconds,
            unreachable=UnreachableError,
            when_slow="see whether it is well, or give it longer (telemetry.timeout_seconds)",
        )
        self.shown_url = self._connection.shown_url
        self._retention: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def check(self) -> None:
        """See that it is there, and takes what will be sent.

        Raises:
            PushError: it is not there, or does not.

        """
        answer = self._asked("GET", "/api/v1/status/flags")
        flags = _data(answer)
        if flags.get(REMOTE_WRITE_FLAG.removeprefix("--")) == "false":
            raise PushError(self._takes_no_remote_write())
        runtime = _data(self._asked("GET", "/api/v1/status/runtimeinfo"))
        self._retention = _milliseconds(str(runtime.get("storageRetention", "")))

    def push(self, document: Mapping[str, Any], *, run_info: bool = True) -> Pushed:
        """Send one run.

        Raises:
            PushError: it was not sent, or not wholly.
            DocumentError: the document is not whole.

        """
        run_id = str(document["run_id"])
        try:
            series = series_of(document, run_info=run_info)
            if series:
                self._check_age(run_id, end_of(document))
        except (ValueError, KeyError, TypeError) as error:
            raise DocumentError(f"run {run_id[:_ID_SHOWN]} cannot be sent: {error}") from error
        for body in requests(series):
            self._write(run_id, body)
        return Pushed(run_id, str(document["scenario"]), len(series), sum(len(one.points) for one in series))

    def _check_age(self, run_id: str, end: int) -> None:
        age = time.time() - end / 1_000
        if age < -_HOUR_SECONDS:
            raise PushError(
                f"run {run_id[:_ID_SHOWN]} ended {_ago(-age)} from now: one of the clocks is wrong, and what lies in "
                "the future would stand in the way of what comes"
            )
        if self._retention and age * 1_000 > self._retention:
            raise PushError(
                f"run {run_id[:_ID_SHOWN]} ended {_ago(age)} ago, and the Prometheus at {self.shown_url} would drop it "
                f"without a word, since it keeps {_ago(self._retention / 1_000)}: start it with "
                f"{RETENTION_FLAG}={RETENTION}"
            )

    def _write(self, run_id: str, body: bytes) -> None:
        answer = self._asked("POST", _WRITE_PATH, body)
        if answer.is_success:
            return
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise PushError(self._takes_no_remote_write())
        said = " ".join(answer.text.split())[:_BODY_SHOWN]
        raise PushError(
            f"the Prometheus at {self.shown_url} refused run {run_id[:_ID_SHOWN]}: {answer.status_code} {said}"
            f"{_advice(said)}"
        )

    def _asked(self, method: str, path: str, body: bytes | None = None) -> httpx.Response:
        for pause in (*_PAUSES_SECONDS, None):
            answer = self._connection.request(method, path, body=body, headers=HEADERS if body is not None else None)
            busy = answer.status_code >= _SERVER_ERROR or answer.status_code == _TOO_MANY_REQUESTS
            if pause is None or not busy:
                return answer
            time.sleep(pause)
        raise AssertionError("the last pause is None")

    def _takes_no_remote_write(self) -> str:
        return (
            f"the Prometheus at {self.shown_url} takes no remote write: start it with {REMOTE_WRITE_FLAG}, or, where "
            "it is not yours to start, use --profile shared (telemetry.prometheus.profile), which writes a text file "
            "for the node exporter"
        )


def push_runs(
    documents: Iterable[Mapping[str, Any]], server: Prometheus, *, run_info: bool = True
) -> Iterator[Pushed | str]:
    """Send runs; the oldest first is fastest. Answers for each what was sent, or a sentence why it was not.

    Raises:
        PushError: the server cannot be used at all, or is gone.

    """
    server.check()
    for document in documents:
        try:
            yield server.push(document, run_info=run_info)
        except UnreachableError:
            raise
        except (PushError, DocumentError) as error:
            yield str(error)


def _data(answer: httpx.Response) -> Mapping[str, Any]:
    """The data of an API answer; empty where it is none: other servers take remote write and know no such question."""
    if not answer.is_success:
        return {}
    data = (answered(answer) or {}).get("data")
    return data if isinstance(data, dict) else {}


def _milliseconds(text: str) -> int | None:
    """A duration as Prometheus writes it, such as 15d or 1h30m; None for 0 and for what is none (``15d or 5GiB``: the
    time in front).
    """
    parts: Sequence[tuple[str, str]] = _DURATION.findall(text.partition(" ")[0])
    return sum(int(count) * _UNIT_MILLISECONDS[unit] for count, unit in parts) or None


def _ago(seconds: float) -> str:
    if seconds >= 2 * _DAY_SECONDS:
        return f"{seconds / _DAY_SECONDS:.0f} days"
    return f"{seconds / _HOUR_SECONDS:.1f} hours"


def _advice(said: str) -> str:
    if "duplicate sample" in said:
        return "; another run of the same cell was at work in the same millisecond, and is kept"
    if any(words in said for words in ("out of order", "out of bounds", "too old")):
        return (
            "; the server takes only what is newer than what it has: set `storage: {tsdb: {out_of_order_time_window: "
            f"{OUT_OF_ORDER_WINDOW}}}}}` in its configuration"
        )
    return ""
