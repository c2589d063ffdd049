"""The words of `makespan history` and of stores, without a store."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harness.cli.history import read_since
from harness.cli.stores import rescue, store_path
from harness.config import Config
from harness.config import Store as StoreSettings
from harness.store.run_store import default_store_path


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_time_is_read_in_the_zone_of_whoever_asks(elsewhere: None) -> None:
    assert read_since("2026-03-01") == "2026-02-28T15:00:00.000+00:00"
    assert read_since("2026-03-01T12:00") == "2026-03-01T03:00:00.000+00:00"
    assert read_since(" 2026-03-01T12:00+00:00 ") == "2026-03-01T12:00:00.000+00:00"
    assert read_since(None) is None


@pytest.mark.parametrize(("words", "hours"), [("24h", 24), ("7d", 168), ("2 w", 336), ("0h", 0)])
def test_how_long_ago_is_counted_back_from_now(words: str, hours: int) -> None:
    since = datetime.fromisoformat(read_since(words) or "")
    assert abs(datetime.now(UTC) - timedelta(hours=hours) - since) < timedelta(minutes=1)


def test_the_command_line_names_the_store_before_the_configuration_does() -> None:
    config = Config(store=StoreSettings(path="~/runs.sqlite"))
    assert store_path("mine.sqlite", config) == Path.cwd() / "mine.sqlite"
    assert store_path(None, config) == Path("~/runs.sqlite").expanduser()
    assert store_path(None, Config()) == default_store_path()


def test_a_result_that_cannot_be_rescued_is_said_to_be_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert rescue({"run_id": "0123456789abcdef"}) == "the result is in 'makespan-0123456789ab.json' instead"
    Path("makespan-0123456789ab.json").unlink()
    Path("makespan-0123456789ab.json").mkdir()
    assert rescue({"run_id": "0123456789abcdef"}).startswith("cannot write JSON to 'makespan-0123456789ab.json'")
