"""How a Prometheus of one's own is started: its flags and its configuration, in one place for documents and code.

Rules of this module:
- It is light, and starts nothing.
- It listens on loopback alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

DEFAULT_PORT: Final = 9090
REMOTE_WRITE_FLAG: Final = "--web.enable-remote-write-receiver"
RETENTION_FLAG: Final = "--storage.tsdb.retention.time"
# As long as one looks back for trends. A run older than that is deleted without a word.
RETENTION: Final = "2y"
# Runs are pushed in any order and long after they ran: as far back as they are kept.
OUT_OF_ORDER_WINDOW: Final = "2y"
# A sample counts for that long at most, so that one run's curve does not reach into the next one's. It holds for the
# whole server: never for a shared one.
LOOKBACK: Final = "2s"


def prometheus_arguments(
    config_file: str | Path, data_folder: str | Path, *, port: int = DEFAULT_PORT, more: Sequence[str] = ()
) -> list[str]:
    """The arguments of ``prometheus`` for the profile `own`; ``more`` is added at the end."""
    return [
        f"--config.file={config_file}",
        f"--storage.tsdb.path={data_folder}",
        f"--web.listen-address=127.0.0.1:{port}",
        REMOTE_WRITE_FLAG,
        "--enable-feature=exemplar-storage",
        f"{RETENTION_FLAG}={RETENTION}",
        f"--query.lookback-delta={LOOKBACK}",
        *more,
    ]


def prometheus_config(
    *, scrape_port: int | None = None, rule_files: Sequence[str] = (), out_of_order_window: str = OUT_OF_ORDER_WINDOW
) -> str:
    """The configuration file (YAML) for the profile `own`. ``scrape_port``: a `--metrics-port` to be scraped each
    second while runs go on.
    """
    lines = [
        "global:",
        "  scrape_interval: 1s",
        "  scrape_timeout: 1s",
        "  evaluation_interval: 1m",
        "storage:",
        "  tsdb:",
        f"    out_of_order_time_window: {out_of_order_window}",
        "  exemplars:",
        "    max_exemplars: 100000",
    ]
    if rule_files:
        lines += ["rule_files:", *(f"  - {one}" for one in rule_files)]
    if scrape_port is not None:
        lines += [
            "scrape_configs:",
            "  - job_name: makespan",
            "    static_configs:",
            f'      - targets: ["127.0.0.1:{scrape_port}"]',
        ]
    return "\n".join(lines) + "\n"
