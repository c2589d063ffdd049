"""What a reader copies from the pages works where nothing is installed but the wheel and the extra that they name."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.installed import built_wheel, environment_with
from tests.pages import BLOCK, PAGES, ROOT, Example, environment_for, examples, is_what_was_printed, run_in

# Wheels are installed with pip.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FILES = ROOT / "docs" / "examples"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment_with(wheel, tmp_path_factory.mktemp("installed") / "environment", ["testing"])


def test_the_environment_has_the_wheel_and_nothing_of_the_checkout(programs: Path, tmp_path: Path) -> None:
    script = "import executor, harness, json, sys; print(json.dumps([executor.__file__, harness.__file__, sys.path]))"
    done = run(programs, tmp_path, "python", "-c", script)
    assert str(ROOT) not in done.stdout
    assert all(str(programs.parent) in file for file in json.loads(done.stdout)[:2])


@pytest.mark.parametrize("example", examples(slow=True))
def test_an_example_runs_from_the_wheel_and_prints_what_is_shown(
    example: Example, programs: Path, tmp_path: Path
) -> None:
    printed = run_in(tmp_path, example, programs)
    if example.shown is not None and not is_what_was_printed(example.shown, printed, exact=example.exact):
        pytest.fail(f"shown:\n{example.shown}\nprinted:\n{printed}", pytrace=False)


@pytest.mark.parametrize("file", sorted(FILES.glob("test_*.py")), ids=lambda file: file.name)
def test_a_test_file_of_the_examples_does_what_its_page_shows(file: Path, programs: Path, tmp_path: Path) -> None:
    (status,) = {one.values[0].status for one in examples(slow=True) if one.values[0].text == f"pytest {file.name}"}
    shutil.copytree(FILES, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    done = run(programs, tmp_path, "pytest", "-W", "error", file.name)
    assert done.returncode == status, done.stdout


def test_the_fault_of_the_tiny_scheduler_is_mended_as_the_page_says(programs: Path, tmp_path: Path) -> None:
    shutil.copytree(FILES, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    scheduler = tmp_path / "tiny_scheduler.py"
    text = scheduler.read_text(encoding="utf-8").rstrip()
    assert text.endswith("self.changed.notify()")
    scheduler.write_text(text.removesuffix("notify()") + "notify_all()\n", encoding="utf-8")
    done = run(programs, tmp_path, "pytest", "test_tiny_scheduler.py")
    assert done.returncode == 0, done.stdout


def test_a_backend_that_hides_what_it_cannot_do_is_told_the_capability(programs: Path, tmp_path: Path) -> None:
    shutil.copytree(FILES, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    suite = tmp_path / "test_pool_backend.py"
    suite.write_text(re.sub(r' +"calls": .*\n', "", suite.read_text(encoding="utf-8")), encoding="utf-8")
    done = run(programs, tmp_path, "pytest", "--junit-xml=results.xml", "-k", "calls", "test_pool_backend.py")
    assert done.returncode == 1, done.stdout
    failures = [failure.text or "" for failure in ET.parse(tmp_path / "results.xml").iter("failure")]
    assert failures
    assert all("  calls: takes the calls" in failure for failure in failures)


def lines_of_the_page_on_installing() -> list[str]:
    text = (ROOT / "docs" / "how-to" / "install.md").read_text(encoding="utf-8")
    return re.findall(r"^\$ pip install (.+)$", text, re.MULTILINE)


@pytest.mark.parametrize("line", lines_of_the_page_on_installing())
def test_each_way_to_install_is_one_without_makespan_on_an_index(
    line: str, wheel: Path, programs: Path, tmp_path: Path
) -> None:
    """What makespan needs is left out (``--no-deps``): only makespan itself has to be found."""
    (tmp_path / "dist").symlink_to(wheel.parent)
    folder = ROOT if line.strip("'").startswith(".") else tmp_path
    done = run(programs, folder, "pip", "install", "--dry-run", "--no-deps", *shlex.split(line))
    assert done.returncode == 0, done.stdout
    assert re.search(r"Would install makespan|already satisfied: makespan|already installed", done.stdout), done.stdout


def test_every_test_file_of_a_page_is_run_on_that_page() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        files = re.findall(r"\bfile=(test_\w+\.py)", " ".join(block["mark"] for block in BLOCK.finditer(text)))
        assert [name for name in files if f"\n$ pytest {name}\n" not in text] == [], page


def run(programs: Path, folder: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(programs / name), *arguments],
        cwd=folder,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        env=environment_for(programs, folder),
    )
