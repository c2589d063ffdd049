"""``makespan dashboards up``: a Prometheus of one's own, a Grafana where there is one, and the preview page.

Rules of this module:
- Everything listens on loopback alone, and everything that was started is ended with it.
- Stored runs are sent at the start, and runs that are kept while it is up, as they come.
- The Prometheus keeps its data from one time to the next, in the user's data folder.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.dashboards.grafana.dashboard_files import dashboards_of, read_dashboards
from harness.dashboards.grafana.provisioning import dashboard_provider, data_sources
from harness.dashboards.preview.child_servers import Child, ChildError, alone, check_port, started
from harness.dashboards.preview.preview_page import Preview
from harness.files.packaged import dashboards_folder
from harness.plain_text import counted
from harness.store.run_store import Store
from harness.store.store_errors import StoreError
from harness.telemetry.prometheus.prometheus_push import Prometheus, PushError, push_runs
from harness.telemetry.prometheus.server_flags import prometheus_arguments, prometheus_config
from harness.telemetry.telemetry_settings import Profile

PROFILE: Final[Profile] = "own"
_LOOK_SECONDS: Final = 1.0
_HOW_TO_GET_PROMETHEUS: Final = (
    "Debian and Ubuntu: apt-get install prometheus; macOS: brew install prometheus; or, with a container engine: "
    "the compose.yaml of `dashboards/`"
)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Ports:
    """Where things listen, on loopback. 0 for the page: any free port."""

    prometheus: int
    page: int
    grafana: int


@dataclass(slots=True)
class RunningPreview:
    """What is up: addresses, and the programs behind them."""

    prometheus_url: str
    page_url: str
    grafana_url: str | None
    children: list[Child]


@contextlib.contextmanager
def preview_up(data: Path, ports: Ports, *, scrape_port: int | None = None) -> Iterator[RunningPreview]:
    """Start it all; at the end it is down.

    Raises:
        ChildError: something does not start; the message says why and what to do.

    """
    program = shutil.which("prometheus")
    if program is None:
        raise ChildError(f"there is no `prometheus` on the PATH. {_HOW_TO_GET_PROMETHEUS}")
    check_port(ports.prometheus, "Prometheus", "--port")
    if ports.page:
        check_port(ports.page, "the preview page", "--page-port")
    dashboards, faults = read_dashboards(dashboards_of(PROFILE))
    if faults:
        raise ChildError(f"the dashboards cannot be read: {faults[0]}")
    with contextlib.ExitStack() as stack:
        stack.enter_context(alone(data))
        url = f"http://127.0.0.1:{ports.prometheus}"
        prometheus = _prometheus(program, data, ports.prometheus, url, scrape_port)
        stack.callback(prometheus.stop)
        children = [prometheus]
        grafana_url = None
        grafana_program = shutil.which("grafana") or shutil.which("grafana-server")
        if grafana_program is not None:
            check_port(ports.grafana, "Grafana", "--grafana-port")
            grafana_url = f"http://127.0.0.1:{ports.grafana}"
            children.append(_grafana(grafana_program, data, ports.grafana, url))
            stack.callback(children[-1].stop)
        page = stack.enter_context(Preview(dashboards, url, PROFILE, port=ports.page))
        yield RunningPreview(url, page.url, grafana_url, children)


def keep_sending(preview: RunningPreview, store_path: Path, say: Say, *, run_info: bool = True) -> None:
    """Send what is stored, and what is kept from then on, until Ctrl-C.

    Raises:
        ChildError: a program ended by itself.

    """
    sent: set[str] = set()
    trouble = ""
    with Prometheus(preview.prometheus_url) as server:
        while True:
            for child in preview.children:
                child.check()
            try:
                _send_new(server, store_path, sent, say, run_info=run_info)
                trouble = ""
            except (PushError, StoreError) as error:
                if str(error) != trouble:
                    say(f"warning: {error}")
                trouble = str(error)
            time.sleep(_LOOK_SECONDS)


def _send_new(server: Prometheus, store_path: Path, sent: set[str], say: Say, *, run_info: bool) -> None:
    """Send what was not sent yet, the oldest first, one run in memory at a time."""
    if not store_path.exists():
        return
    with Store.open(store_path, read_only=True) as store:
        runs = [run.run_id for run in store.history() if run.run_id not in sent and run.status != "unfinished"]
        if not runs:
            return
        done = samples = 0
        for answer in push_runs(_documents(store, runs[::-1], sent, say), server, run_info=run_info):
            if isinstance(answer, str):
                say(f"warning: {answer}")
            else:
                done += 1
                samples += answer.samples
    if done:
        say(f"sent {counted(done, 'run')}, {samples:,} samples")


def _documents(store: Store, run_ids: Iterable[str], sent: set[str], say: Say) -> Iterator[Mapping[str, Any]]:
    for run_id in run_ids:
        try:
            document = store.document(run_id)
        except StoreError as error:
            say(f"warning: {error}")
            document = None
        if document is not None:
            yield document
        sent.add(run_id)


def _prometheus(program: str, data: Path, port: int, url: str, scrape_port: int | None) -> Child:
    folder = data / "prometheus"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    config = folder / "prometheus.yml"
    rules = dashboards_folder() / "prometheus" / "rules" / "makespan.rules.yml"
    config.write_text(prometheus_config(scrape_port=scrape_port, rule_files=[str(rules)]), "utf-8")
    arguments = prometheus_arguments(config, folder / "data", port=port)
    return started("Prometheus", [program, *arguments], folder / "prometheus.log", f"{url}/-/ready")


def _grafana(program: str, data: Path, port: int, prometheus_url: str) -> Child:
    """Configured by its environment alone, so that a Grafana that is installed for other things stays as it is."""
    folder = data / "grafana"
    for name, text in (
        ("datasources", data_sources(prometheus_url, None)),
        ("dashboards", dashboard_provider(str(dashboards_of(PROFILE)))),
    ):
        place = folder / "provisioning" / name
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        (place / "makespan.yaml").write_text(text, "utf-8")
    environment = {
        "GF_SERVER_HTTP_ADDR": "127.0.0.1",
        "GF_SERVER_HTTP_PORT": str(port),
        "GF_PATHS_DATA": str(folder / "data"),
        "GF_PATHS_LOGS": str(folder / "logs"),
        "GF_PATHS_PROVISIONING": str(folder / "provisioning"),
        "GF_AUTH_ANONYMOUS_ENABLED": "true",
        "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
        "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH": str(dashboards_of(PROFILE) / "executors-compared.json"),
    }
    home = _grafana_home(program)
    verb = ["server"] if Path(program).name == "grafana" else []
    command = [program, *verb, *(["--homepath", home] if home else [])]
    return started(
        "Grafana", command, folder / "grafana.log", f"http://127.0.0.1:{port}/api/health", environment=environment
    )


def _grafana_home(program: str) -> str | None:
    """Where its pages lie: beside the program in its archive, else where packages put them."""
    beside = Path(os.path.realpath(program)).parent.parent
    for place in (beside, Path("/usr/share/grafana")):
        if (place / "conf" / "defaults.ini").is_file():
            return str(place)
    return None
