"""A slow and obvious reference: plays a drawn run on a virtual clock, as the semantics of a run says, step by step.

It looks at every step again at every instant, so it is quadratic, and simple enough to be read beside the rules. It
makes the records that the oracle is tested with (subclasses plant faults), and a second opinion on any schedule.

Rules of this module:
- It shares nothing with the production scheduler; rules come from :mod:`harness.testing.oracle.plain_graph`, from here,
  and from :mod:`tests.properties.reference.reference_rules`: what may start.
- All completions of an instant come before any start; what starts and ends within it makes another round of it.
- Each rule is one short method, so that a subclass can break exactly one.
"""

from __future__ import annotations

from dataclasses import replace

from executor.record.timeline import Attempt, AttemptOutcome, Interval, Timeline, Wait
from harness.testing.drawing.behaviour import AttemptPlan, Call
from harness.testing.oracle.description import describe_step
from tests.properties.reference.reference_rules import MINUTE_NS, Life, StartingRules


class Reference(StartingRules):
    """One run. :meth:`run` plays it to its end."""

    # ---- the loop -----------------------------------------------------------------------------------------------

    def run(self) -> Timeline:
        """Play until every step is final. Raises RuntimeError if nothing can move before."""
        while True:
            self.turn += 1
            for life in self._happening():
                self._happens(life)
            self._cancel_asked()
            self._decide()
            self._start()
            if all(life.final for life in self.lives.values()):
                return self.timeline()
            if any(life.due == self.time for life in self.lives.values() if life.status == "running"):
                continue
            self._pass_time()

    def _happening(self) -> list[Life]:
        return [life for life in self.lives.values() if life.status in ("running", "blocked", "resuming")]

    def _happens(self, life: Life) -> None:
        """A running attempt reaches its next call or its end, or any attempt its timeout."""
        if life.final or life.now is None:
            return
        if life.holds and life.due == self.time and not (life.calls and self._timed_out(life)):
            plan = life.plan.attempt(life.attempt)
            if life.calls:
                self._call(life, life.calls.pop(0))
            else:
                self._end(life, plan.outcome, plan)
        elif self._timed_out(life):
            self._end(life, "timed_out", life.plan.attempt(life.attempt))

    def _pass_time(self) -> None:
        """Go to the next instant at which anything happens, and note what every step waits for until then."""
        times = [life.due for life in self.lives.values() if life.holds]
        times += [life.backoff_until for life in self.lives.values() if life.status == "ready"]
        times += [self._times_out_at(life) for life in self._happening()]
        times += [time for time, _ in self.cancels]
        times += [time for life in self.lives.values() if life.status == "ready" for time in self._rates_open(life)]
        later = [time for time in times if time > self.time]
        if not later:
            raise RuntimeError("nothing can move: " + ", ".join(f"{k} {v.status}" for k, v in self.lives.items()))
        after = min(later)
        for life in self.lives.values():
            if life.status == "ready":
                self._wait(life, self.reason(life), after)
            elif life.status == "resuming":
                self._wait(life, self._resuming_reason(life), after)
        for kind, name in self.levels:
            limit = self.resources[name]
            per_minute = (limit.rate_per_minute if kind == "rate" else limit.tokens_per_minute) or 0.0
            burst = limit.burst if kind == "rate" else limit.token_burst
            most = float(burst if burst is not None else per_minute)
            gained = (after - self.time) * per_minute / MINUTE_NS
            self.levels[kind, name] = min(most, self.levels[kind, name] + gained)
        self.time = after

    def _wait(self, life: Life, reason: str, until: int) -> None:
        if life.waits and life.waits[-1].reason == reason and life.waits[-1].end == self.time:
            life.waits[-1] = Wait(reason, life.waits[-1].start, until)
        else:
            life.waits.append(Wait(reason, self.time, until))

    # ---- what happens -------------------------------------------------------------------------------------------

    def _timed_out(self, life: Life) -> bool:
        return 0 <= self._times_out_at(life) <= self.time

    def _times_out_at(self, life: Life) -> int:
        if life.step.timeout_ns is None or life.now is None:
            return -1
        return life.now.granted + life.step.timeout_ns

    def _call(self, life: Life, call: Call) -> None:
        """Block, and add the called steps."""
        life.status = "blocked"
        life.blocked_since = self.time
        first = len(life.called)
        names = {child.step.step_id: f"{life.step.step_id}/{first + n}" for n, child in enumerate(call.children, 1)}
        for child in call.children:
            step = describe_step(child.step, parent=life.step.step_id, call=life.call_count, names=names)
            made = Life(step, child.plan, len(self.lives), self.time, life)
            life.called.append(made)
            self.lives[step.step_id] = made
        life.call_count += 1
        self.graph = replace(self.graph, steps=tuple(other.step for other in self.lives.values()))

    def _end(self, life: Life, outcome: AttemptOutcome, plan: AttemptPlan) -> None:
        """An attempt is over: the step is final, or tried again."""
        attempt = life.now
        if attempt is None:
            return
        if life.status in ("blocked", "resuming"):
            self._leave_block(life, self.time if life.status == "blocked" else None)
            if life.waits:
                attempt.waits = (*attempt.waits, *life.waits)
        attempt.ended = attempt.known = self.time
        attempt.outcome = outcome
        life.waits = []
        self._settle_tokens(life, attempt, plan if outcome in ("succeeded", "failed") else None)
        life.now = None
        if outcome in ("timed_out", "worker_died", "cancelled"):
            for child in life.called:
                self.cancel(child)
        if outcome == "succeeded":
            life.status = "succeeded"
        elif outcome == "cancelled":
            life.status = "cancelled"
        elif self.tries_again(life, outcome):
            life.status = "ready"
            life.ready = self.time
            life.backoff_until = self.time + self.backoff(life)
            life.failed_in = self.turn
        else:
            self._fail(life)

    def tries_again(self, life: Life, outcome: str) -> bool:
        """Whether a failed attempt is followed by another."""
        if self.stopped and life.caller is None:
            return False
        if outcome == "worker_died" and not life.step.idempotent:
            return False
        return life.attempt < life.step.retry.limit(outcome)

    def backoff(self, life: Life) -> int:
        """How long to wait before the next attempt."""
        asked = life.step.retry.wait_ns(life.attempt)
        return asked if life.step.retry.jitter == "none" else int(self.random.random() * asked)

    def _fail(self, life: Life) -> None:
        life.status = "failed"
        life.bad = True
        if life.step.stops:
            self.stopped = True

    def _settle_tokens(self, life: Life, attempt: Attempt, plan: AttemptPlan | None) -> None:
        used = plan.tokens_used if plan is not None else None
        attempt.tokens_used = used
        if used is None:
            return
        for name, _ in life.step.needs:
            if ("tokens", name) in self.levels:
                limit = self.resources[name]
                burst = limit.token_burst if limit.token_burst is not None else limit.tokens_per_minute
                level = self.levels["tokens", name] + life.step.tokens - used
                self.levels["tokens", name] = min(float(burst or 0), level)

    def cancel(self, life: Life) -> None:
        """Cancel a step that is not final, and its calls."""
        if life.final:
            return
        if life.now is not None:
            self._end(life, "cancelled", life.plan.attempt(life.attempt))
        else:
            life.status = "cancelled"
        for child in life.called:
            self.cancel(child)

    def _cancel_asked(self) -> None:
        while self.cancels and self.cancels[0][0] <= self.time:
            _, step_ids = self.cancels.pop(0)
            for life in list(self.lives.values()):
                if step_ids is None or life.step.step_id in step_ids:
                    self.cancel(life)

    def _leave_block(self, life: Life, unblocked: int | None) -> None:
        if life.now is not None and unblocked is not None:
            life.now.blocked = (*life.now.blocked, Interval(life.blocked_since, unblocked))

    # ---- fates --------------------------------------------------------------------------------------------------

    def _decide(self) -> None:
        """Decide every fate that can be decided, until nothing changes."""
        changed = True
        while changed:
            before = [life.status for life in self.lives.values()]
            for life in self.lives.values():
                if life.status == "waiting" and all(self.lives[other].final for other in life.step.data):
                    self.decide(life)
                elif life.status == "ready" and self.stopped and life.caller is None:
                    # One that backs off has failed; one that has not started is cancelled.
                    backs_off = self.time < life.backoff_until or life.failed_in == self.turn
                    life.status = "failed" if life.attempt and backs_off else "cancelled"
                    life.bad = life.status == "failed"
                elif life.status == "blocked" and all(child.final for child in life.called):
                    life.status = "resuming"
                    self._leave_block(life, self.time)
            changed = before != [life.status for life in self.lives.values()]

    def decide(self, life: Life) -> None:
        """All data dependencies are final: run, skip or cancel."""
        parents = [self.lives[other] for other in life.step.data]
        if any(parent.bad for parent in parents):
            life.status = "skipped"
            life.bad = True
        elif any(parent.status == "cancelled" for parent in parents) or (self.stopped and life.caller is None):
            life.status = "cancelled"
        elif life.step.when is False:
            life.status = "skipped"
        else:
            life.status = "ready"
        life.ready = life.backoff_until = self.time
        ends = [(one.ready, one.released_by) for one in parents if not one.ever_ran]
        ends += [(self._ended(one), one.step.step_id) for one in parents if one.ever_ran]
        life.released_by = max(ends, default=(0, None), key=lambda end: end[0])[1]
        if life.released_by is None and life.caller is not None:
            life.released_by = life.caller.step.step_id

    def _ended(self, life: Life) -> int:
        return max(one.known or 0 for one in self.attempts if one.step_id == life.step.step_id)

    # ---- starts -------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Start what can start, in the order of starts."""
        self._next_batch()
        resuming = [life for life in self.lives.values() if life.status == "resuming"]
        for life in sorted(resuming, key=lambda life: (-self.graph.depths[life.step.step_id], life.place)):
            if self.slot_free() and self.units_free(life):
                self._resume(life)
        ready = [life for life in self.lives.values() if life.status == "ready"]
        ready = [life for life in ready if self.reason(life) not in ("backoff", "barrier") and not self.locked(life)]
        for life in sorted(ready, key=self.precedence):
            if self.slot_free() and self.units_free(life) and self.rates_allow(life):
                self._grant(life)

    def _grant(self, life: Life) -> None:
        life.attempt += 1
        life.ever_ran = True
        parent = life.caller.step.step_id if life.caller else None
        attempt = Attempt(
            life.place, life.step.step_id, life.attempt, life.ready, self.time, life.released_by, parent, life.waits
        )
        life.waits = []
        attempt.started = self.time
        attempt.tokens_reserved = life.step.tokens
        self.attempts.append(attempt)
        life.now = attempt
        life.status = "running"
        life.progress = 0
        life.calls = list(life.plan.attempt(life.attempt).calls)
        for name, _ in life.step.needs:
            if ("rate", name) in self.levels:
                self.levels["rate", name] -= 1
            if ("tokens", name) in self.levels:
                self.levels["tokens", name] -= life.step.tokens
        self._go_on(life)

    def _resume(self, life: Life) -> None:
        life.status = "running"
        if life.now is not None and life.waits:
            life.now.waits = (*life.now.waits, *life.waits)
        life.waits = []
        self._go_on(life)

    def _go_on(self, life: Life) -> None:
        plan = life.plan.attempt(life.attempt)
        until = life.calls[0].offset_ns if life.calls else plan.duration_ns
        life.due = self.time + until - life.progress
        life.progress = until

    # ---- the record ---------------------------------------------------------------------------------------------

    def timeline(self) -> Timeline:
        """What happened so far."""
        ids = list(self.lives)
        places = {step_id: place for place, step_id in enumerate(ids)}
        lives = [self.lives[step_id] for step_id in ids]
        return Timeline(
            step_ids=ids,
            data_parents=[[places[other] for other in life.step.data] for life in lives],
            order_parents=[[places[other] for other in self.graph.order_parents[step_id]] for step_id in ids],
            statuses=[life.status for life in lives],
            attempts=self.attempts,
            workers=self.slots,
            nested_in=[places[life.caller.step.step_id] if life.caller else -1 for life in lives],
            needs=[dict(life.step.needs) or None for life in lives],
            resources=self.behaviour.resources,
            policy=self.policy,
            backend="virtual",
        )
