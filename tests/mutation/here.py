"""The first round: plain quick tests, called one after another in a process that lasts for many mutants.

Rules of this module:
- Only tests that are functions of their parameters alone are asked: no fixtures, no drawn examples.
- Where a test fails, it is run once more without the mutant: if it fails then, too, the mutant has left something
  behind. The process is given up, and the mutant is left to the next round.
- Where the process dies, or says nothing for a while, the mutant is left to the next round, too: the machine may have
  been at fault.
"""

from __future__ import annotations

import os
import resource
import selectors
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.mutation.mutants import Mutant, code_of
from tests.mutation.session import Session, Verdict
from tests.properties.planted.planting import function_of

MOST_SECONDS = 0.3
SILENCE_SECONDS = 60
MEMORY_LIMIT_BYTES = 4 << 30
GIVEN_UP = 9


class TooLongError(BaseException):
    """A test takes far longer than without the mutant. No test can take it for its own."""


def parameters_of(seconds: float, item: pytest.Item) -> dict[str, Any] | None:
    """What a test is called with that takes so long, or None: it is not for this round."""
    assert isinstance(item, pytest.Function)
    given = dict(item.callspec.params) if hasattr(item, "callspec") else {}
    names = set(item._fixtureinfo.argnames)
    return None if seconds > MOST_SECONDS or names - set(given) or hasattr(item.obj, "hypothesis") else given


def asked_here(session: Session, mutants: Sequence[Mutant], jobs: int) -> Iterator[tuple[Mutant, Verdict]]:
    """Each mutant with what the quick tests say of it: found, or survived so far."""
    shares = [share for share in (deque(mutants[job::jobs]) for job in range(jobs)) if share]
    with selectors.DefaultSelector() as running:
        for share in shares:
            _begin(session, share, running)
        while running.get_map():
            ready = running.select(SILENCE_SECONDS)
            if not ready:
                for key in list(running.get_map().values()):
                    os.kill(key.data[0], signal.SIGKILL)
                continue
            for key, _ in ready:
                assert isinstance(key.fileobj, int)
                pid, share = key.data
                if said := os.read(key.fileobj, 1):
                    mutant, verdict = share.popleft(), Verdict(said[0])
                    if verdict is Verdict.UNSURE:
                        session.unsure.add(mutant)
                    yield mutant, verdict
                    continue
                running.unregister(key.fileobj)
                os.close(key.fileobj)
                _, status = os.waitpid(pid, 0)
                if share and not (os.WIFEXITED(status) and os.WEXITSTATUS(status) == GIVEN_UP):
                    session.unsure.add(share[0])
                    yield share.popleft(), Verdict.UNSURE
                if share:
                    _begin(session, share, running)


def _begin(session: Session, share: deque[Mutant], running: selectors.BaseSelector) -> None:
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reader)
        _ask(session, list(share), writer)
    os.close(writer)
    running.register(reader, selectors.EVENT_READ, (pid, share))


def _ask(session: Session, mutants: list[Mutant], writer: int) -> NoReturn:
    """In a process of its own: one byte for each mutant."""
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
        signal.signal(signal.SIGALRM, _too_long)
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            for mutant in mutants:
                verdict = _verdict(session, mutant)
                os.write(writer, bytes([verdict]))
                if verdict is Verdict.UNSURE:
                    os._exit(GIVEN_UP)
    finally:
        os._exit(0)


def _verdict(session: Session, mutant: Mutant) -> Verdict:
    """What the quick tests say. Unsure: a test fails without the mutant, too, so this process is of no use any more."""
    function = function_of(mutant.target)
    healthy, changed = function.__code__, code_of(mutant)
    for seconds, item in session.covering[mutant.target]:
        given = parameters_of(seconds, item)
        if given is None:
            continue
        function.__code__ = changed
        try:
            passes = _passes(item, given, seconds)
        finally:
            function.__code__ = healthy
        if not passes:
            return Verdict.BY_TESTS if _passes(item, given, seconds) else Verdict.UNSURE
    return Verdict.SURVIVED


def _passes(item: pytest.Item, given: dict[str, Any], seconds: float) -> bool:
    assert isinstance(item, pytest.Function)
    signal.setitimer(signal.ITIMER_REAL, 5 + 20 * seconds)
    try:
        item.obj(**given)
    except BaseException:
        return False
    else:
        return True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _too_long(*_: object) -> NoReturn:
    raise TooLongError
