"""Which step may start now: a state machine in pure code.

`states` the table · `machine` what can be called · `intake` steps come in · `starts` steps go out · `fast` and
`fast_calls` the short ways of plain runs and of single calls · `ahead` steps handed out before their slot is free ·
`settling` what an end brings about · `queue` who is next · `barriers` policies · `locks` order edges · `family` calls ·
`mapping` mapped steps · `items` their lists · `backoff` retries · `core` the fields · `story` errors · `validation` the
invariants · `diagram` draws the table.
"""

from executor.scheduler.barriers import POLICIES, Policy
from executor.scheduler.machine import WORKER_DEATH_ATTEMPTS, Scheduler
from executor.scheduler.states import STATE_NAMES, TRANSITIONS
from executor.scheduler.story import SchedulerError

__all__ = ["POLICIES", "STATE_NAMES", "TRANSITIONS", "WORKER_DEATH_ATTEMPTS", "Policy", "Scheduler", "SchedulerError"]
