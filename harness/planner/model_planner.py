"""The planner that asks a model: any endpoint that speaks OpenAI's chat completions.

Rules of this module:
- What a model writes is checked step by step by the three rules; faults go back to it for repair, at most twice.
- A model that gives no plan is a clear failure: nothing falls back to the other planner.
- Without an endpoint the stand-in plans (by the rules planner), and a warning says so.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final

from executor.model.findings import Finding, WorkflowError
from executor.model.workflow import Step, ToolDeclaration
from executor.tools.llm import LlmTool
from executor.tools.tool import RunContext, ToolContext, ToolError
from harness.config import Config, LanguageModel
from harness.local_llm import local_model
from harness.planner.accepting import PLAN_STEPS_LIMIT, Acceptor, TooLongPlanError, levels_of
from harness.planner.draft import groups_of
from harness.planner.model_prompt import first_messages, repair_messages, response_format
from harness.planner.partial_plan import BrokenPlanError, PlanReader
from harness.planner.planned_task import Planned, check_task
from harness.standin import StandIn
from harness.standin.chat_request import ChatRequest

REPAIRS: Final = 2
# Attempts at a request that the endpoint does not answer at all, and the longest wait between them.
_ATTEMPTS: Final = 3
_LONGEST_WAIT_SECONDS: Final = 30.0
# What a plan may take: a model that repeats itself for ever has to stop somewhere.
_MAX_TOKENS: Final = 16_000
_TASK_MARK: Final = "Task: "

OnSteps = Callable[[Sequence[Step]], object]


def plan_with_model(task: str, *, config: Config) -> Planned:
    """Ask for a plan, and wait for all of it.

    Raises:
        WorkflowError: the endpoint does not answer, or its model gave no plan that may run.

    """
    with ModelPlanner(task, config) as planner:
        steps = planner.write()
        return Planned(task, _grouped(steps), findings=tuple(planner.remarks))


class ModelPlanner:
    """One conversation about one task. ``remarks`` are worth showing beside the plan."""

    def __init__(self, task: str, config: Config, *, inputs: Mapping[str, Any] | None = None) -> None:
        check_task(task)
        self.task = task
        self.remarks: list[Finding] = []
        self._config = config
        self._tools = dict(config.tools)
        self._acceptor = Acceptor(self._tools, config.all_resources, inputs or {}, config.default_tool)
        self._context = ToolContext(RunContext("plan"), "plan")
        self._stand_in: StandIn | None = None
        self._tool: LlmTool | None = None
        self._open = ExitStack()

    @property
    def accepted(self) -> tuple[Step, ...]:
        """The steps that were accepted so far."""
        return tuple(self._acceptor.accepted)

    def __enter__(self) -> ModelPlanner:
        llm = self._open.enter_context(local_model(self._config.llm))
        if llm.base_url is None:
            message = "no model is configured (llm.base_url): the stand-in plans, by the rules planner"
            self.remarks.append(
                Finding("warning", "stand-in-plans", message, "set llm.base_url, or use --planner rules")
            )
            self._stand_in = StandIn(script=lambda request: _stand_in_plan(request, self._config))
            self._stand_in.start()
            llm = llm.model_copy(update={"base_url": self._stand_in.base_url})
        self._tool = LlmTool.from_declaration("planner", _declaration(llm, stand_in=self._stand_in is not None))  # type: ignore[assignment]  # of this class
        return self

    def __exit__(self, *_: object) -> None:
        if self._tool is not None:
            self._tool.close()
        if self._stand_in is not None:
            self._stand_in.close()
        self._open.close()

    def stop(self) -> None:
        """Break off, from another thread."""
        self._context.cancel()

    def write(self, on_steps: OnSteps | None = None) -> tuple[Step, ...]:
        """The whole conversation. ``on_steps`` gets the steps as they are accepted; they cannot be taken back then, so
        that a repair goes on after them.

        Raises:
            WorkflowError: see :func:`plan_with_model`.

        """
        writer = self._config.default_tool or next(iter(self._tools), "")
        messages = first_messages(self.task, self._tools, limit=PLAN_STEPS_LIMIT, writer=writer)
        findings: list[Finding] = []
        for _ in range(1 + REPAIRS):
            answer, findings = self._answer(messages, on_steps)
            if not findings:
                return self.accepted
            kept = [step.step_id for step in self.accepted] if on_steps is not None else []
            messages = [*messages, *repair_messages(answer, findings, kept)]
            self._acceptor.begin_again(keep=on_steps is not None)
        raise _no_plan(findings)

    def _answer(self, messages: list[dict[str, Any]], on_steps: OnSteps | None) -> tuple[str, list[Finding]]:
        """One answer, read as it comes, and what is wrong with it."""
        pieces: list[str] = []
        acceptor = self._acceptor

        def on_step(raw: Any) -> None:
            steps = acceptor.take(raw)
            if steps and on_steps is not None:
                on_steps(steps)

        reader = PlanReader(on_step)

        def on_text(text: str) -> None:
            pieces.append(text)
            reader.feed(text)

        fault: str | None = None
        try:
            self._ask(messages, on_text, pieces)
            reader.finish()
        except (BrokenPlanError, TooLongPlanError) as error:
            if isinstance(error, TooLongPlanError) and on_steps is not None:
                raise _no_plan([_finding("too-many-steps", str(error), "ask for less")]) from None
            fault = str(error)
        except ToolError as error:
            if not pieces or self._context.cancelled:
                raise _no_answer(str(error)) from None
            fault = _reason(reader, str(error))
        if fault is not None:
            return "".join(pieces), [
                _finding("broken-plan", fault, "answer with one whole JSON object"),
                *acceptor.finish(),
            ]
        return "".join(pieces), acceptor.finish()

    def _ask(self, messages: list[dict[str, Any]], on_text: Callable[[str], None], pieces: list[str]) -> None:
        """One request; one that is not answered at all is made again."""
        assert self._tool is not None, "enter the planner first"
        self._tool.on_text = on_text
        args = {"messages": messages, "response_format": response_format(list(self._tools)), "max_tokens": _MAX_TOKENS}
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                assert self._tool.call is not None
                self._tool.call(self._context, None, args)
            except ToolError as error:
                if pieces or not error.retryable or attempt == _ATTEMPTS or self._context.cancelled:
                    raise
                wait = error.retry_after_seconds
                time.sleep(min(_LONGEST_WAIT_SECONDS, 0.5 * 2**attempt if wait is None else wait))
            else:
                return


def _declaration(llm: LanguageModel, *, stand_in: bool) -> ToolDeclaration:
    words: dict[str, Any] = {
        "kind": "llm", "base_url": llm.base_url, "model": llm.model, "read_timeout_seconds": llm.timeout_seconds,
        "temperature": 0.0, "stand_in": stand_in,
    }  # fmt: skip
    if llm.api_key is not None and not stand_in:
        words["api_key"] = llm.api_key.get_secret_value()
    return ToolDeclaration.model_validate(words)


def _grouped(steps: Sequence[Step]) -> tuple[Step, ...]:
    groups = groups_of(levels_of(steps))
    return tuple(step.model_copy(update={"parallel_group": groups.get(at)}) for at, step in enumerate(steps))


def _stand_in_plan(request: ChatRequest, config: Config) -> str | None:
    """A plan by the rules planner, as a model would write it."""
    from harness.planner.rules_planner import plan_by_rules  # noqa: PLC0415 - only where no model is configured

    task = next(text for role, text in request.messages if role == "user").removeprefix(_TASK_MARK)
    steps = [
        {
            "step_id": step.step_id,
            "description": step.description,
            "tool": step.tool if step.tool in config.tools else config.default_tool,
            "prompt": step.prompt or step.description,
            "depends_on": list(step.depends_on),
        }
        for step in plan_by_rules(task, config=config).steps
    ]
    return json.dumps({"steps": steps}, ensure_ascii=False)


def _finding(code: str, message: str, fix: str) -> Finding:
    return Finding("error", code, message, fix)


def _reason(reader: PlanReader, ending: str) -> str | None:
    """What is wrong with a text that the tool refuses; nothing if the plan in it is whole all the same."""
    try:
        reader.finish()
    except BrokenPlanError as error:
        return f"{error} ({ending})"
    return None


def _no_plan(findings: Sequence[Finding]) -> WorkflowError:
    message = f"the model gave no plan that may run, in {1 + REPAIRS} answers; the last one had these faults:"
    fix = "use --planner rules, a larger model (llm.model), or a simpler sentence"
    return WorkflowError([Finding("error", "no-plan", message, fix), *findings])


def _no_answer(reason: str) -> WorkflowError:
    fix = "see that llm.base_url, llm.model and the key are right (`makespan doctor`), or use --planner rules"
    return WorkflowError([Finding("error", "no-answer", f"the model could not be asked for a plan: {reason}", fix)])


__all__ = ["REPAIRS", "ModelPlanner", "OnSteps", "plan_with_model"]
