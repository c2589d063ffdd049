"""The alert rules, judged by Prometheus' own tool: who is called, when, and with which words."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.files.packaged import dashboards_folder
from harness.telemetry.metrics.metric_table import FAMILIES, PREFIX
from tests.integration.prometheus_server import require

# The rules are asked of a real promtool and Prometheus.
pytestmark = pytest.mark.slow

FOLDER = dashboards_folder() / "prometheus"
RULES = FOLDER / "rules" / "makespan.rules.yml"


def promtool(*arguments: str, cwd: Path = FOLDER) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [require("promtool"), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return [rule for rule in group["rules"] if "alert" in rule]


def test_configuration_and_rules_are_what_prometheus_reads() -> None:
    done = promtool("check", "config", "prometheus.yml")
    assert done.returncode == 0, done.stderr
    assert "1 rule files found" in done.stdout


def test_a_spike_is_silent_a_lasting_step_fires_on_the_second_night_and_a_missing_night_fires() -> None:
    done = promtool("test", "rules", "makespan.rules.test.yml", cwd=FOLDER / "rules")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("makespan_run_makespan_seconds[26h] offset 24h", "makespan_run_makespan_seconds[26h]"),
        ("offset 24h) > 6 * 3600", "offset 24h) > -1"),
        ("> 26 * 3600", "> 28 * 3600"),
        ("growth_ratio ^ 2", "growth_ratio ^ 9"),
        ("[14d] offset 48h) >= 4", "[14d] offset 48h) >= 0"),
    ],
)  # fmt: skip
def test_a_rule_that_is_changed_fails_its_tests(tmp_path: Path, old: str, new: str) -> None:
    for name in ("makespan.rules.yml", "makespan.rules.test.yml"):
        shutil.copy(RULES.with_name(name), tmp_path)
    text = RULES.read_text("utf-8")
    assert old in text
    (tmp_path / RULES.name).write_text(text.replace(old, new), "utf-8")
    assert promtool("test", "rules", "makespan.rules.test.yml", cwd=tmp_path).returncode == 1


def test_each_alert_says_whether_schedule_or_work_got_worse() -> None:
    said = {(rule["alert"], rule["labels"]["got_worse"]): rule["annotations"]["description"] for rule in alerts()}
    assert set(said) == {
        ("MakespanSlowerThanTheLastTwoWeeks", "work"),
        ("MakespanSlowerThanTheLastTwoWeeks", "schedule"),
        ("MakespanStepsFailing", "work"),
        ("MakespanTelemetryLost", "neither"),
        ("MakespanNoBenchmarkFor26Hours", "unknown"),
    }
    for text in said.values():
        assert "schedule" in text
        assert "work" in text


def test_rules_ask_for_metrics_that_there_are() -> None:
    known = {name for family in FAMILIES for name in family.sample_names}
    asked = {word for word in RULES.read_text("utf-8").replace("{", " ").replace("[", " ").replace("(", " ").split()
             if word.startswith(PREFIX)}  # fmt: skip
    assert asked
    assert asked <= known
