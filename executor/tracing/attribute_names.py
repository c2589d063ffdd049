"""The names of spans and of their attributes: what a trace of a run says, and where.

::

    invoke_workflow {workflow}                     the run: from t = 0 to the last `known`
    ├── execute_tool {tool}  |  chat {model}       an attempt: from `granted` to `ended`
    │   ├── resource_wait {resource}               a wait for a resource, a rate or a state, where it happened
    │   ├── retry_backoff                          the wait before a retry, where it happened
    │   ├── …                                      spans of the step's own code
    │   └── execute_tool {tool}                    a call that the step made
    └── step_not_run {tool}                        a step without an attempt, or whose fate was decided after its last

Rules of this module:
- Names alone, no import of OpenTelemetry: readers of traces use it too.
- Times in attributes are integer nanoseconds from the run's t = 0, as in :class:`executor.record.timeline.Attempt`; the
  times of the spans are the same instants on the wall clock that was read once, at t = 0.
- The names of GenAI semantic conventions are strings here: the constants of the conventions' package move.
- What is None, or an empty list, in the record is absent in the span.
"""

from __future__ import annotations

from typing import Final

SCOPE_NAME: Final = "makespan"
# The root's attribute FORMAT: a reader sees that a trace is ours, and how it is to be read.
FORMAT_VERSION: Final = "1"

# ---------------------------------------------------------------------- names of spans
WORKFLOW_SPAN: Final = "invoke_workflow"
TOOL_SPAN: Final = "execute_tool"
CHAT_SPAN: Final = "chat"
RESOURCE_WAIT_SPAN: Final = "resource_wait"
BACKOFF_SPAN: Final = "retry_backoff"
NOT_RUN_SPAN: Final = "step_not_run"

# ---------------------------------------------------------------------- the run, on the root
FORMAT: Final = "makespan.format"
RUN_ID: Final = "makespan.run.id"
SCENARIO: Final = "makespan.run.scenario"
EXECUTOR: Final = "makespan.run.executor"  # the timeline's `backend`
POLICY: Final = "makespan.run.policy"
WORKERS: Final = "makespan.run.workers"
RESOURCES: Final = "makespan.run.resources"  # JSON: name → the words of a `Resource`
CAPACITY_CHANGES: Final = "makespan.run.capacity_changes"  # JSON: name → [[nanoseconds, capacity from then on], …]
WORKER_CHANGES: Final = "makespan.run.worker_changes"  # JSON: [[nanoseconds, workers from then on], …]
CLOCKS: Final = "makespan.run.clocks"  # JSON: worker → the words of a `ClockReading`
STARTUP_SECONDS: Final = "makespan.run.startup_seconds"
STEPS: Final = "makespan.run.steps"  # how many
ATTEMPTS: Final = "makespan.run.attempts"  # how many: a reader sees whether spans were lost
REPETITION: Final = "makespan.run.repetition"
PARAMETERS: Final = "makespan.run.parameters"  # JSON
INTERRUPTED: Final = "makespan.run.interrupted"
RESUMED_RUN: Final = "makespan.run.resumed_run"  # the id of the run that this one went on from
RESUMED_TRACE: Final = "makespan.run.resumed_trace"  # of its trace, hexadecimal; the root links to its root, too
# The root's error.type where a step failed.
STEPS_FAILED: Final = "steps_failed"

# ---------------------------------------------------------------------- the step, on each attempt and on step_not_run
STEP_ID: Final = "makespan.step.id"
STEP_INDEX: Final = "makespan.step.index"  # its place in the timeline's lists
DEPENDS_ON: Final = "makespan.step.depends_on"  # ids, data edges
ORDER_AFTER: Final = "makespan.step.order_after"  # ids, order edges
NESTED_IN: Final = "makespan.step.nested_in"  # the id of the calling step; the attempt's `parent` too
NEEDS: Final = "makespan.step.needs"  # JSON: resource → units
# On step_not_run alone, where it is the step's final status and goes before all others. Where there is none, the last
# attempt's outcome says it: succeeded, cancelled, and failed for every other.
OUTPUT_BYTES: Final = "makespan.step.output_bytes"  # of an output that stayed where it was made
TRANSFER_FROM: Final = "makespan.step.transfer_from"  # ids: whose outputs were moved to the step's worker
TRANSFER_BYTES: Final = "makespan.step.transfer_bytes"  # beside them: how large each was
STATUS: Final = "makespan.step.status"
REUSED: Final = "makespan.step.reused"  # on step_not_run: an earlier run left its result
CACHED: Final = "makespan.step.cached"  # beside it: any run that made the same call might have left it

# ---------------------------------------------------------------------- the attempt
ATTEMPT: Final = "makespan.attempt.number"  # counts from 1
GRANT_ORDER: Final = "makespan.attempt.order"  # its place in the timeline's `attempts`
READY: Final = "makespan.attempt.ready"
GRANTED: Final = "makespan.attempt.granted"
STARTED: Final = "makespan.attempt.started"
ENDED: Final = "makespan.attempt.ended"
KNOWN: Final = "makespan.attempt.known"
WAITS: Final = "makespan.attempt.waits"  # strings "START END REASON"
BLOCKED: Final = "makespan.attempt.blocked"  # integers: start, end, start, end, …
RELEASED_BY: Final = "makespan.attempt.released_by"
DEVICES: Final = "makespan.attempt.devices"  # JSON: kind → ids of the devices that the attempt had
WORKER: Final = "makespan.attempt.worker"
CPU_SECONDS: Final = "makespan.attempt.cpu_seconds"
OUTCOME: Final = "makespan.attempt.outcome"
TOKENS_RESERVED: Final = "makespan.attempt.tokens_reserved"
TOKENS_USED: Final = "makespan.attempt.tokens_used"
RETRY_AFTER_SECONDS: Final = "makespan.attempt.retry_after_seconds"  # the least wait that the other side asked for

# ---------------------------------------------------------------------- waits
WAIT_REASON: Final = "makespan.wait.reason"  # as in the record: resource.X, rate.X, lock.X, backoff

# ---------------------------------------------------------------------- links
LINK_TYPE: Final = "makespan.link.type"  # depends_on, retry_of or resumes
LINK_EDGE: Final = "makespan.link.edge"  # of depends_on: data or order
LINK_DEPENDS_ON: Final = "depends_on"
LINK_RETRY_OF: Final = "retry_of"
LINK_RESUMES: Final = "resumes"  # from the root of a run to that of the run that it went on from
EDGE_DATA: Final = "data"
EDGE_ORDER: Final = "order"

# ---------------------------------------------------------------------- GenAI semantic conventions, and general ones
OPERATION: Final = "gen_ai.operation.name"
TOOL_NAME: Final = "gen_ai.tool.name"
WORKFLOW_NAME: Final = "gen_ai.workflow.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_MODEL: Final = "gen_ai.response.model"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
INPUT_MESSAGES: Final = "gen_ai.input.messages"  # content: only where it was asked for
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"  # content: only where it was asked for
ERROR_TYPE: Final = "error.type"
HTTP_STATUS_CODE: Final = "http.response.status_code"
ERROR_MESSAGE: Final = "error.message"  # content: only where it was asked for
