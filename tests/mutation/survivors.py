"""The mutants that no test finds, each with the reason why it changes nothing visible.

A mutant is named by its function, the text before and after, and which of several such places it is (from 1).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Survivor:
    """One mutant, and why it changes nothing."""

    target: str
    before: str
    after: str
    reason: str
    place: int = 1

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What names it; :attr:`tests.mutation.mutants.Mutant.key` is the same."""
        return (self.target, self.before, self.after, self.place)


SURVIVORS = (
    Survivor(
        "executor.dependencies.graph:levels_of",
        "0",
        "1",
        "the order holds every step and its parents before it, so each level is written before it is read",
    ),
    Survivor(
        "executor.dependencies.graph:levels_of",
        "levels[parent] > level",
        "levels[parent] >= level",
        "where both are equal, the value is replaced by the same value",
    ),
    Survivor(
        "executor.dependencies.graph:levels_of",
        "levels[parent] > level",
        "levels[parent] >= level",
        "where both are equal, the value is replaced by the same value",
        place=2,
    ),
    Survivor(
        "executor.dependencies.graph:ranks_of",
        "ranks[parent] < rank",
        "ranks[parent] <= rank",
        "where both are equal, the value is replaced by the same value",
    ),
    Survivor(
        "executor.dependencies.graph:ranks_of",
        "ranks[parent] < rank",
        "ranks[parent] <= rank",
        "where both are equal, the value is replaced by the same value",
        place=2,
    ),
    Survivor(
        "executor.dependencies.step_requirements:Resolver._inherited_from",
        "known = self._inherited.get(tool)",
        "known = None",
        "it is worked out again each time, with the same result",
    ),
    Survivor(
        "executor.scheduler.resources:Bucket.refill",
        "now > self.updated",
        "now >= self.updated",
        "in no time nothing is gained, and the level is never above `full`",
    ),
    Survivor(
        "executor.scheduler.scheduler:Scheduler.__init__",
        "False",
        "True",
        "it only saves time: where no state is used, ready steps ask for locks, ends for steps behind them, in vain",
        place=2,
    ),
    Survivor(
        "executor.scheduler.scheduler:Scheduler.__init__",
        "False",
        "True",
        "it only saves time: a run without calls is asked for the calls of its steps, in vain",
        place=3,
    ),
    Survivor(
        "executor.scheduler.short_way:_start_plain",
        "oldest = queue.epochs[0]",
        "oldest = None",
        "then `granted` is asked for every step; this is only its shorter way for most",
    ),
    Survivor(
        "executor.scheduler.short_way:succeed",
        "now > scheduler._now",
        "now >= scheduler._now",
        "at the same instant both branches leave both numbers as they are",
    ),
    Survivor(
        "executor.scheduler.short_way:_add_running_call",
        "0",
        "1",
        "what will become of a step that waits is asked only of steps that wait, and this one runs",
    ),
    Survivor(
        "executor.scheduler.short_way:_add_running_call",
        "0",
        "1",
        "how many parents a step waits for is asked only of steps that wait, and this one runs",
        place=2,
    ),
    Survivor(
        "executor.scheduler.short_way:call",
        "first < key",
        "first <= key",
        "two keys are never equal: the index of the step is in their lowest bits",
    ),
    Survivor(
        "executor.scheduler.admission:_grow",
        "0",
        "1",
        "when a step became ready is written as it becomes ready, and read only of steps that did",
    ),
    Survivor(
        "executor.scheduler.wait_reasons:waits_of",
        "break",
        "continue",
        "what comes before the start adds no wait; the loop ends there only to save time",
    ),
    Survivor(
        "executor.scheduler.scheduler:Scheduler._advance_to",
        "now < self._now",
        "now <= self._now",
        "at the same instant both branches leave the time as it is, and return it",
    ),
    Survivor(
        "executor.scheduler.scheduler:Scheduler._decide",
        "return False",
        "return None",
        "both callers ask only whether it is true",
    ),
    Survivor(
        "executor.scheduler.scheduler:Scheduler._ends_by_condition",
        "return False",
        "return None",
        "its one caller asks only whether it is true",
    ),
    Survivor(
        "executor.scheduler.constrained_start:_start_queued",
        "key < best_key",
        "key <= best_key",
        "two keys are never equal: the index of the step is in their lowest bits",
    ),
    Survivor(
        "executor.scheduler.constrained_start:note_lines",
        "history = line.history",
        "history = None",
        "a history takes in no reason twice in a row: to look first saves a call",
    ),
    Survivor(
        "executor.scheduler.constrained_start:note_lines",
        "'worker'",
        "'workerX'",
        "a history takes in no reason twice in a row: to look first saves a call",
    ),
    Survivor(
        "executor.scheduler.constrained_start:note_lines",
        "reason is not None and line.demand.rated",
        "reason is not None or line.demand.rated",
        "what is called does nothing for other reasons than that of a rate: to look first saves a call",
    ),
    Survivor(
        "executor.scheduler.resources:Limits.declare",
        "self._resources[name] = resource",
        "pass",
        "what is declared after the beginning has no devices, and is looked up nowhere else",
    ),
    Survivor(
        "executor.scheduler.prefetch:_first_heap",
        "key < first_key",
        "key <= first_key",
        "two keys are never equal: the index of the step is in their lowest bits",
    ),
    Survivor(
        "executor.scheduler.ready_queue:Line.waited_for_worker_since",
        "history[0][0] > time",
        "history[0][0] >= time",
        "where both are equal, the same is put in again, or a wait of no length",
    ),
    Survivor(
        "executor.scheduler.resources:Demand.room_beside",
        "0",
        "1",
        "at least one attempt holds a slot where steps are handed out, and it is taken off again",
        place=3,
    ),
    Survivor(
        "executor.scheduler.short_way:_first_line",
        "key < best_key",
        "key <= best_key",
        "two keys are never equal: the index of the step is in their lowest bits",
    ),
    Survivor(
        "executor.scheduler.short_way:succeed_together",
        "now > scheduler._now",
        "now >= scheduler._now",
        "where both are equal, the value is replaced by the same value",
    ),
    Survivor(
        "executor.scheduler.wait_reasons:waits_in_line",
        "history[-1][0] <= start",
        "history[-1][0] < start",
        "a reason that began as the wait did is one wait for it, as a bare reason or in a list",
    ),
    Survivor(
        "executor.scheduler.admission:add_graph",
        "True",
        "False",
        "a graph has as many entries in its index as lists of parents",
    ),
    Survivor(
        "executor.scheduler.admission:own_index",
        "scheduler.owns_index = True",
        "pass",
        "the index is copied once more",
    ),
    Survivor(
        "executor.scheduler.admission:own_index",
        "True",
        "False",
        "the index is copied once more",
    ),
    Survivor(
        "executor.scheduler.ready_queue:Epoch.__init__",
        "0",
        "1",
        "the first epoch has no steps: its time is set when the first comes, or it is empty at that time",
    ),
    Survivor(
        "executor.scheduler.ready_queue:ReadyQueue.end_epochs",
        "self._spare_epochs.append(ended)",
        "pass",
        "where none is kept, the next epoch is a new one",
    ),
    Survivor(
        "executor.scheduler.scheduler:Scheduler.first_in_order",
        "1",
        "2",
        "of those that are looked at, the first is taken",
    ),
)
LISTED = frozenset(survivor.key for survivor in SURVIVORS)


def table() -> str:
    """The list as it is in docs/correctness.md."""
    rows = [f"| {_place(survivor)} | {survivor.reason} |" for survivor in SURVIVORS]
    return "\n".join(["| mutant | why it changes nothing visible |", "|---|---|", *rows])


def _place(survivor: Survivor) -> str:
    module, _, function = survivor.target.removeprefix("executor.").partition(":")
    again = f" (place {survivor.place})" if survivor.place > 1 else ""
    return f"{module} {function}: {_code(survivor.before)} → {_code(survivor.after)}{again}"


def _code(text: str) -> str:
    text = text.replace("|", "\\|")
    return f"`` {text} ``" if "`" in text else f"`{text}`"
