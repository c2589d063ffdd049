"""``python -m development.release_check FOLDER`` builds sdist and wheel into the folder, and tries what was built.

1. The sdist is built, and the wheel from the sdist, as a publisher does.
2. twine and check-wheel-contents look at both; the sdist holds the files that git keeps, and no others.
3. The wheel alone is installed in a new environment, and each command and script of the README runs from it, each in an
   empty folder. Files that a command names come from the sdist. Commands within sentences answer ``--help``.
4. What the wheel brings is listed: names at the top level, packages, sizes.

Rules of this module:
- A fault is reported at once, and the others are looked for; the exit status is 1 if there was one, 2 for a wrong call.
- Nothing is sent anywhere.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tests.installed import environment_with
from tests.pages import BLOCK, ROOT, Example, commands_in, environment_for, examples_in, is_what_was_printed, run_in

# What an example measures on a machine that is busy may call for other words.
TRIES = 3
README = ROOT / "README.md"
# What the wheel may bind at the top level of a Python's packages.
TOP_LEVEL = frozenset({"executor", "harness", "node_runtime.py"})


def main(arguments: Sequence[str]) -> int:
    """Build and check; say how it went."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m development.release_check FOLDER (usually dist)\n")
        return 2
    folder = ROOT / arguments[0]
    faults = [fault for fault in found(folder) if fault]
    print(f"\n{len(faults)} faults" if faults else f"\nready: {folder.relative_to(ROOT)}/ can be published")
    return 1 if faults else 0


def found(folder: Path) -> Iterator[str]:
    """Does one check after the other, says how each went, and yields what is wrong (nothing where it is well)."""
    shutil.rmtree(folder, ignore_errors=True)
    yield reported("sdist and wheel", run([sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]))
    sdists, wheels = list(folder.glob("*.tar.gz")), list(folder.glob("*.whl"))
    if len(sdists) != 1 or len(wheels) != 1:
        return
    (sdist,), (wheel,) = sdists, wheels
    yield reported("twine check", run([sys.executable, "-m", "twine", "check", "--strict", str(sdist), str(wheel)]))
    # Modules of one name in several packages are meant (W002), and `node_runtime` beside them (W009).
    checked = run([sys.executable, "-m", "check_wheel_contents", "--ignore", "W002,W009", str(wheel)])
    yield reported("check-wheel-contents", checked)
    yield reported("files of the sdist", strange_files(sdist))
    yield reported("top level of the wheel", strange_names(wheel))
    with tempfile.TemporaryDirectory(prefix="makespan-release-") as name:
        place = Path(name)
        programs = environment_with(wheel, place / "environment")
        yield from tried(programs, sdist, place)
        brought(wheel, sdist, programs)


def reported(name: str, fault: str) -> str:
    """Print how a check went. Returns the fault."""
    print(f"{'FAULT' if fault else 'ok':<6} {name}" + (f"\n{fault}" if fault else ""), flush=True)
    return fault


def run(command: list[str], folder: Path = ROOT, environment: dict[str, str] | None = None) -> str:
    """Run it. Returns what it said if it failed, else nothing."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return "" if done.returncode == 0 else f"{shlex.join(command)}: exit status {done.returncode}\n{done.stdout}"


def strange_files(sdist: Path) -> str:
    """The files that either the sdist has or git keeps, and not both."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    kept = {name for name in listed.split("\0") if name and (ROOT / name).is_file()}
    with tarfile.open(sdist) as archive:
        files = {name.partition("/")[2] for name in (one.name for one in archive if one.isfile())} - {"PKG-INFO"}
    named = {"not in git": files - kept, "not in the sdist": kept - files}
    return "; ".join(f"{what}: {', '.join(sorted(names))}" for what, names in named.items() if names)


def strange_names(wheel: Path) -> str:
    """The names at the top level of the wheel that are not expected there."""
    return ", ".join(sorted(top_level(wheel) - TOP_LEVEL))


def top_level(wheel: Path) -> set[str]:
    """The names that the wheel adds to a Python's packages, its own description aside."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name.partition("/")[0] for name in archive.namelist()}
    return {name for name in names if not name.endswith(".dist-info")}


def tried(programs: Path, sdist: Path, place: Path) -> Iterator[str]:
    """Runs the examples of the README with these programs."""
    text = README.read_text(encoding="utf-8")
    for number, (line, example) in enumerate(examples_in(text)):
        fault, tries = "not tried", 0
        while fault and tries < TRIES:
            tries += 1
            folder = place / f"example-{number}-{tries}"
            folder.mkdir()
            began = time.monotonic()
            fault = fault_of(example, programs, folder, sdist)
        took = f"{time.monotonic() - began:.1f} s" + (f", try {tries}" if tries > 1 else "")
        yield reported(f"README.md:{line}: {example.text if example.kind == 'console' else 'script'} ({took})", fault)
    for words in sorted(set(only_named(text))):
        help_of = [str(programs / "makespan"), *words, "--help"]
        yield reported(f"makespan {' '.join(words)} --help", run(help_of, place, environment_for(programs, place)))


def fault_of(example: Example, programs: Path, folder: Path, sdist: Path) -> str:
    """What is wrong with what an example prints, in a folder with nothing but the files that it names."""
    words = shlex.split(example.text) if example.kind == "console" else []
    with tarfile.open(sdist) as archive:
        inside = {one.name.partition("/")[2]: one for one in archive if one.isfile()}
        for word in words:
            if word in inside:
                copy = folder / word
                copy.parent.mkdir(parents=True, exist_ok=True)
                file = archive.extractfile(inside[word])
                assert file is not None, word  # a regular file has contents
                copy.write_bytes(file.read())
    try:
        printed = run_in(folder, example, programs)
    except AssertionError as error:
        return str(error)
    if example.shown is None or is_what_was_printed(example.shown, printed, exact=example.exact):
        return ""
    return f"shown:\n{example.shown}\nprinted:\n{printed}"


def only_named(text: str) -> Iterable[tuple[str, ...]]:
    """The commands in a sentence, or in a block that is not run: their names without what follows."""
    named = [match["command"] for match in re.finditer(r"`makespan (?P<command>[a-z][^`]*)`", BLOCK.sub("", text))]
    for block in BLOCK.finditer(text):
        if "no-run" in block["mark"].split():
            named += [command.partition(" ")[2] for command, _ in commands_in(block["body"])]
    for command in named:
        words = re.match(r"(?:llm|dashboards) \w+|\w+", command)
        if words is not None:
            yield tuple(words[0].split())


def brought(wheel: Path, sdist: Path, programs: Path) -> None:
    """Print what an installation of the wheel adds."""
    listed = subprocess.run(
        [str(programs / "python"), "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"],
        check=True,
        capture_output=True,
        text=True,
    )
    packages = [
        line for line in listed.stdout.splitlines() if not line.startswith(("pip=", "setuptools=", "makespan="))
    ]
    size = sum(one.stat().st_size for one in programs.parent.rglob("*") if one.is_file())
    print(f"\n{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB; {sdist.name}: {sdist.stat().st_size / 1e6:.1f} MB")
    print(f"names at the top level: {', '.join(sorted(top_level(wheel)))}")
    print(f"packages that it needs: {len(packages)}; the environment has {size / 1e6:.0f} MB")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
