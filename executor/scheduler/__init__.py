"""Which step may start now: a state machine in pure code.

- `scheduler`: the one class, with all that can be called.
- `states`: the table of transitions. `invariants`: what always holds. `errors`: what is said of an illegal call.
- What the class is made of: `ready_queue` (who is next), `wait_reasons` (why the others wait), `resources` and
  `adaptive_capacity` (limits), `locks` (order edges), `barriers` (policies), `call_tree` (calls), `backoff` (retries).
- Its functions in files of their own: `admission` (steps are added), `mapped_steps` (with `items`, their lists),
  `short_way` (plain runs and single calls), `prefetch` (steps handed out before their slot is free).
"""

from executor.scheduler.backoff import WORKER_DEATH_ATTEMPTS
from executor.scheduler.barriers import POLICIES, Policy
from executor.scheduler.errors import SchedulerError
from executor.scheduler.scheduler import Scheduler
from executor.scheduler.states import STATE_NAMES, TRANSITIONS

__all__ = ["POLICIES", "STATE_NAMES", "TRANSITIONS", "WORKER_DEATH_ATTEMPTS", "Policy", "Scheduler", "SchedulerError"]
