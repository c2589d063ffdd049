"""The table of transitions, and that the scheduler changes a state as it allows and nowhere else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import executor.scheduler
from executor.scheduler import STATE_NAMES, TRANSITIONS, SchedulerError
from executor.scheduler.states import EVENT_NAMES, allows
from tests.unit.scheduling import Hand, step

FOLDER = Path(executor.scheduler.__file__).parent


def test_every_state_of_the_table_has_transitions_or_is_final() -> None:
    assert set(TRANSITIONS) == set(STATE_NAMES)
    reachable = {state for events in TRANSITIONS.values() for states in events.values() for state in states}
    assert reachable | {"waiting"} == set(STATE_NAMES)


def test_every_event_of_the_table_has_a_number() -> None:
    assert {event for row in TRANSITIONS.values() for event in row} == set(EVENT_NAMES)
    assert len(EVENT_NAMES) == len(set(EVENT_NAMES)) == 11


def test_in_each_state_the_events_of_the_table_are_allowed_and_no_others() -> None:
    for state, name in enumerate(STATE_NAMES):
        assert {event: allows(state, number) for number, event in enumerate(EVENT_NAMES)} == {
            event: event in TRANSITIONS[name] for event in EVENT_NAMES
        }


@pytest.mark.parametrize("event", EVENT_NAMES)
def test_an_event_moves_a_step_as_the_table_says_and_is_refused_otherwise(event: str) -> None:
    scheduler = Hand([step("a")]).scheduler
    for state, before in enumerate(STATE_NAMES):
        for state_after, after in enumerate(STATE_NAMES):
            scheduler._state[0] = state
            if after in TRANSITIONS[before].get(event, ()):
                scheduler._move(0, EVENT_NAMES.index(event), state_after)
                assert scheduler.status(0) == after
                continue
            with pytest.raises(SchedulerError, match=f"^'{event}' cannot lead to '{after}'\nstep 'a' is {before}$"):
                scheduler._move(0, EVENT_NAMES.index(event), state_after)
            assert scheduler.status(0) == before


def written_states(path: Path) -> Iterator[str]:
    """The functions in which a state of a step is written, once for each place."""
    for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(function, ast.FunctionDef):
            continue
        aliases = {
            name.id
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and "_state" in [getattr(part, "attr", "") for part in ast.walk(node.value)]
            for target in node.targets
            for name in ast.walk(target)
            if isinstance(name, ast.Name)
        }
        for node in ast.walk(function):
            if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
                owner = node.value
                if getattr(owner, "attr", "") == "_state" or getattr(owner, "id", "") in aliases & {"state", "states"}:
                    yield function.name


def test_states_are_written_in_one_place_and_in_the_short_ways() -> None:
    places = {path.stem: sorted(written_states(path)) for path in sorted(FOLDER.glob("*.py"))}
    assert {module: functions for module, functions in places.items() if functions} == {
        "scheduler": ["_move"],
        "short_way": [
            "_add_running_call", "_release_plain", "_start_plain", "call", "come_back", "come_back", "come_back",
            "succeed", "succeed_together",
        ],
    }  # fmt: skip
