"""Mutation testing of the core: every mutant should be found by a test, by random runs or by random calls.

`python -m tests.mutation [--sample N] [--jobs J] [--seed S] [--only WORD] [--tests PATHS] [--quick] [--all]
[--found FILE] [--table]`

The tests that come through the mutant's function are asked first, then (not with ``--quick``) runs of random workflows
and the machine of random calls. Mutants that are listed in :mod:`tests.mutation.survivors`, each with the reason why it
changes nothing, count as survivors and are not asked about, unless ``--all`` says so. ``--found FILE`` keeps what was
found, by the text of the function, and does not ask again. Exit status 1 if a mutant survives that is not listed.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from tests.mutation.asking import asked, by_runs, by_tests
from tests.mutation.here import asked_here
from tests.mutation.mutants import Mutant, all_mutants
from tests.mutation.rooms import MODULES, TESTS
from tests.mutation.session import WORDS, Session, Verdict
from tests.mutation.survivors import LISTED, table


def main() -> int:
    """Run the mutants, say what became of them, and how many were found."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("--sample", type=int, default=0, help="so many mutants, drawn at random (default: all)")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="only targets with one of these in their name, comma-separated")
    parser.add_argument("--tests", help="only these files or folders of tests, comma-separated")
    parser.add_argument("--quick", action="store_true", help="ask the tests alone, not random runs and calls")
    parser.add_argument("--all", action="store_true", help="ask about the listed survivors, too")
    parser.add_argument("--found", type=Path, help="a file in which what was found is kept")
    parser.add_argument(
        "--table", action="store_true", help="write the list of survivors as docs/correctness.md has it"
    )
    chosen = parser.parse_args()
    if chosen.table:
        print(table())
        return 0
    words = chosen.only.split(",")
    mutants = [mutant for mutant in all_mutants(MODULES) if any(word in mutant.target for word in words)]
    total = len(mutants)
    if chosen.sample and chosen.sample < total:
        mutants = random.Random(chosen.seed).sample(mutants, chosen.sample)
        mutants.sort(key=lambda one: (one.target, one.number))
    hunt = Hunt(chosen, mutants)
    print(f"{len(mutants)} of {total} mutants, {chosen.jobs} at a time", flush=True)
    try:
        Session({mutant.target for mutant in mutants}, hunt).run(chosen.tests.split(",") if chosen.tests else TESTS)
    except RuntimeError as error:
        print(error)
        return 1
    return hunt.report()


class Hunt:
    """Asks about the mutants, in three rounds: quick tests, all tests, then runs and calls, each for those left."""

    def __init__(self, chosen: argparse.Namespace, mutants: list[Mutant]) -> None:
        self.chosen = chosen
        self.mutants = mutants
        self.counts: Counter[str] = Counter()
        self.unlisted: list[Mutant] = []
        self.began = time.monotonic()
        self.found_file: Path | None = chosen.found
        known = self.found_file.read_text() if self.found_file and self.found_file.exists() else ""
        self.known = {line for line in known.splitlines() if line}

    def __call__(self, session: Session) -> None:
        fresh: list[Mutant] = []
        for mutant in self.mutants:
            if mutant.key in LISTED and not self.chosen.all:
                self.counts["listed"] += 1
            elif mutant.digest in self.known:
                self.counts["found before"] += 1
            else:
                fresh.append(mutant)
        jobs = self.chosen.jobs
        left = self._left(asked_here(session, fresh, jobs), "quick tests")
        left = self._left(asked(left, partial(by_tests, session), jobs), "tests")
        if not self.chosen.quick:
            left = self._left(asked(left, lambda _, watch: by_runs(watch), jobs), "runs and calls")
        for mutant in left:
            if mutant.key in LISTED:
                self.counts["listed"] += 1
                continue
            self.unlisted.append(mutant)
            print(f"survived: {mutant}; {len(session.covering[mutant.target])} tests come there", flush=True)

    def _left(self, verdicts: Iterable[tuple[Mutant, Verdict]], asked_what: str) -> list[Mutant]:
        """Note what was found, and return the others."""
        left: list[Mutant] = []
        for mutant, verdict in verdicts:
            if verdict in (Verdict.SURVIVED, Verdict.UNSURE):
                left.append(mutant)
                continue
            self.counts[WORDS[verdict]] += 1
            if self.found_file:
                with self.found_file.open("a") as file:
                    file.write(f"{mutant.digest}\n")
        seconds = time.monotonic() - self.began
        print(f"after {seconds:.0f} s {len(left)} are not found by {asked_what}", flush=True)
        return sorted(left, key=lambda one: (one.target, one.number))

    def report(self) -> int:
        """Say how many were found. The exit status."""
        survived = self.counts.pop("listed", 0) + len(self.unlisted)
        found = len(self.mutants) - survived
        print(", ".join(f"{name} {count}" for name, count in self.counts.most_common()))
        share = 100 * found / max(1, len(self.mutants))
        left = f"{survived} survived, {len(self.unlisted)} of them not listed"
        print(f"{found} of {len(self.mutants)} found, {share:.1f} %; {left}; {time.monotonic() - self.began:.0f} s")
        return int(bool(self.unlisted))


if __name__ == "__main__":
    sys.exit(main())
