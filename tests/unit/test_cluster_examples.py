"""The files of the page on clusters: each is read by what reads its kind, and the page names them all."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "examples" / "clusters"
FILES = sorted(path for path in FOLDER.iterdir() if path.is_file())


def of_kind(suffix: str) -> list[Path]:
    found = [path for path in FILES if path.suffix == suffix]
    assert found
    return found


@pytest.mark.parametrize("path", of_kind(".sh"), ids=str)
def test_a_shell_script_is_read_by_the_shell_and_says_how_it_is_used(path: Path) -> None:
    shell = shutil.which("sh")
    assert shell is not None
    assert subprocess.run([shell, "-n", path], capture_output=True, check=False).returncode == 0
    used = subprocess.run([shell, path, "start"], capture_output=True, text=True, check=False)
    assert used.returncode == 2
    assert used.stderr.startswith("usage: ")


@pytest.mark.parametrize("path", of_kind(".py"), ids=str)
def test_a_python_file_compiles(path: Path) -> None:
    compile(path.read_text(encoding="utf-8"), str(path), "exec")


@pytest.mark.parametrize("path", of_kind(".yaml"), ids=str)
def test_a_manifest_has_what_kubernetes_asks_for_and_starts_programs_that_there_are(path: Path) -> None:
    documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    assert [document["kind"] for document in documents] == ["DaskCluster", "DaskAutoscaler"]
    assert all({"apiVersion", "metadata", "spec"} <= set(document) for document in documents)
    cluster, autoscaler = (document["spec"] for document in documents)
    assert autoscaler["cluster"] == documents[0]["metadata"]["name"]
    for part in (cluster["scheduler"], cluster["worker"]):
        [container] = part["spec"]["containers"]
        # `dask-scheduler` and `dask-worker` are no commands any more.
        assert container["args"][0] == "dask"
        assert container["args"][1] == container["name"]


def test_the_page_names_every_file() -> None:
    page = (ROOT / "docs" / "how-to" / "run-on-a-cluster.md").read_text(encoding="utf-8")
    for path in FILES:
        assert f"../examples/clusters/{path.name}" in page
