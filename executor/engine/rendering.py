"""What a step's tool gets: its prompt and arguments with the outputs of other steps in them.

Rules of this module:
- Everything is rendered once: an output that looks like a template stays text.
- A step without templates costs a look for braces and nothing more.
- On the virtual clock (:meth:`Renderer.simulated_work`) a value that only a run knows is handed on, and fails nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from executor.child_steps.child_step import ChildStep
from executor.engine.keeping import Keeper
from executor.model.device_needs import HeldDevices
from executor.model.workflow import Step
from executor.record.remote_outputs import RemoteOutput, RemoteOutputs
from executor.templates.render_budget import STUB, Stub, UnknownValueError
from executor.tools.tool import RunContext, Tool, ToolError

# tool, prompt, args, whether prompt and args are constant
Work: TypeAlias = tuple[Tool, str | None, Mapping[str, Any], bool]

# Prompt and arguments -> the call without a context, or None.
Bind: TypeAlias = Callable[[str | None, Mapping[str, Any]], Callable[[], Any] | None]

# A template that is one output and nothing else.
_WHOLE_OUTPUT = re.compile(
    r"\{\{ *steps(?:\.(?P<id>[A-Za-z_][A-Za-z_0-9]*)"
    r"|\[(?P<quote>['\"])(?P<quoted>[^'\"\\\n]+)(?P=quote)\])\.output *\}\}"
)
_NO_ARGS: Mapping[str, Any] = {}


class Renderer:
    """Renders the steps of one run. ``outputs`` is filled by the engine as steps succeed; ``variables[i]`` is what the
    templates of step i, an item of a mapped step, see beside them.
    """

    def __init__(
        self,
        tools: Mapping[str, Tool],
        context: RunContext,
        outputs: Mapping[str, Any],
    ) -> None:
        self.tools = tools
        self._context = context
        self._outputs = outputs
        self.variables: dict[int, Mapping[str, Any]] = {}
        # Called with each call that is made ready.
        self.keeper: Keeper | None = None
        # Of a step: the devices that it has now. None where the run has no devices.
        self.devices_of: Callable[[int], HeldDevices | None] | None = None
        # Outputs that may be elsewhere.
        self.remote: RemoteOutputs | None = None
        # An import costs as much as most conditions: it is done once.
        self._evaluate_condition: Callable[[str, Mapping[str, Any], Mapping[str, Any]], bool] | None = None

    def work(self, step: Step, index: int) -> tuple[Tool, str | None, Mapping[str, Any]]:
        """The tool of a step, with its prompt and arguments rendered. ``index``: the step's place in the run.

        Raises:
            Exception: a template cannot be rendered, or the tool is not there.
        """
        tool, prompt, args = self.rendered(step, index)
        if self.keeper is not None:
            if self.devices_of is not None and self.devices_of(index):
                # The same call, whichever devices it got.
                self.keeper.rendered(step, index, *self._rendered(step, self._without_devices(step, index)))
            else:
                self.keeper.rendered(step, index, tool, prompt, args)
        return tool, prompt, args

    def rendered(self, step: Step, index: int) -> tuple[Tool, str | None, Mapping[str, Any]]:
        """The same where nothing is going to be called. A step that has no devices yet sees the name of their kind.

        Raises:
            Exception: a template cannot be rendered, or the tool is not there.
        """
        return self._rendered(step, self._variables(step, index))

    def _variables(self, step: Step, index: int) -> Mapping[str, Any]:
        """What the templates of a step see beside inputs and outputs."""
        held = None if self.devices_of is None else self.devices_of(index)
        if held is None:
            return self._without_devices(step, index)
        return {**self.variables.get(index, _NO_ARGS), "devices": {kind: ",".join(ids) for kind, ids in held.items()}}

    def _without_devices(self, step: Step, index: int) -> Mapping[str, Any]:
        of_item = self.variables.get(index, _NO_ARGS)
        if self.devices_of is None or not step.needs:
            return of_item
        return {**of_item, "devices": {name: name for name in step.needs}}

    def _rendered(self, step: Step, variables: Mapping[str, Any]) -> tuple[Tool, str | None, Mapping[str, Any]]:
        tool, prompt, args, constant = self._look_at(step)
        if constant:
            return tool, prompt, args
        # Jinja2 is imported by the first template and not before: most of `--help` and many runs have none.
        from executor.templates.template import render_text, render_value  # noqa: PLC0415  # see above

        inputs, outputs, of_item = self._context.inputs, self._outputs, variables
        if prompt is not None:
            prompt = render_text(prompt, inputs, outputs, of_item)
        stays = self._stays
        return (
            tool,
            prompt,
            {
                name: render_value(value, inputs, outputs, of_item) if (remote := stays(value)) is None else remote
                for name, value in args.items()
            },
        )

    def _stays(self, value: Any) -> RemoteOutput | None:
        """Where an argument is nothing but an output that is elsewhere, it is handed on as it is; where the call is
        kept (journal, cache), it is read.
        """
        if self.remote is None or self.keeper is not None or not isinstance(value, str):
            return None
        found = _WHOLE_OUTPUT.fullmatch(value)
        return None if found is None else self.remote.remote(found["id"] or found["quoted"])

    def simulated_work(self, step: Step, index: int) -> tuple[Tool, str | None, Mapping[str, Any], bool]:
        """The same where no tool runs, and whether all of it is known. An argument that only a run knows is a value
        that cannot be looked into; such a prompt is a labelled text.

        Raises:
            Exception: a template cannot be rendered, whatever the outputs; or the tool is not there.
        """
        try:
            tool, prompt, args = self.rendered(step, index)
        except UnknownValueError:
            return self._partly_known(step, index)
        return tool, prompt, args, not args or not any(isinstance(value, Stub) for value in args.values())

    def _partly_known(self, step: Step, index: int) -> tuple[Tool, str | None, Mapping[str, Any], bool]:
        from executor.templates.template import render_text, render_value  # noqa: PLC0415  # as in `work`

        tool, prompt, args, _ = self._look_at(step)
        inputs, outputs, of_item = self._context.inputs, self._outputs, self._variables(step, index)
        if prompt is not None:
            try:
                prompt = render_text(prompt, inputs, outputs, of_item)
            except UnknownValueError:
                prompt = f"[virtual] prompt of {step.step_id}"
        known: dict[str, Any] = {}
        for name, value in args.items():
            try:
                known[name] = render_value(value, inputs, outputs, of_item)
            except UnknownValueError:
                known[name] = STUB
        return tool, prompt, known, False

    def is_unsimulated(self, step: Step) -> bool:
        """Whether nothing of a step is rendered, and its tool has no words for the virtual clock."""
        tool = self.tools.get(step.tool or "")
        if tool is None or type(tool).simulate is not Tool.simulate:
            return False
        return not (step.prompt or step.args) or _is_constant(step)

    def direct_calls(self, steps: Sequence[Step], *, asynchronous: bool) -> list[Callable[[], Any] | None]:
        """For each step its call without context, or None where it needs a context. A call renders its templates.

        With ``asynchronous`` those that may run in an event loop, else those of plain functions.
        """
        return [self._direct_call(step, asynchronous=asynchronous) for step in steps]

    def _direct_call(self, step: Step, *, asynchronous: bool) -> Callable[[], Any] | None:
        tool = self.tools.get(step.tool or "")
        # What must not be done twice is not begun before that is kept: the long way sees to it.
        if tool is None or (self.keeper is not None and step.idempotent is False):
            return None
        bind = tool.direct_async if asynchronous else tool.direct
        args: Mapping[str, Any] = step.args or _NO_ARGS
        call = None if tool.call is None and not asynchronous else bind(step.prompt, args)
        if call is None or _is_constant(step):
            return call
        if self.keeper is not None or self.devices_of is not None or self.remote is not None:
            # Somebody wants to know what was rendered, or more than inputs and outputs may be in it.
            return None
        return self._rendering_call(bind, step.prompt, args)

    def _rendering_call(self, bind: Bind, prompt: str | None, args: Mapping[str, Any]) -> Callable[[], Any]:
        # As in `work`.
        from executor.templates.template import render_text, render_value  # noqa: PLC0415

        inputs, outputs = self._context.inputs, self._outputs

        def call() -> Any:
            text = None if prompt is None else render_text(prompt, inputs, outputs)
            values = {name: render_value(value, inputs, outputs) for name, value in args.items()} if args else args
            bound = bind(text, values)
            # Whether a tool needs a context does not depend on values: see `Tool.direct`.
            assert bound is not None
            return bound()

        return call

    def late_call(self, step: Step, *, asynchronous: bool) -> Callable[[], Any] | None:
        """The same for a step that was not there at first: the calls of running steps have no templates."""
        if type(step) is not ChildStep or step.timeout is not None:
            return None
        return self._direct_call(step, asynchronous=asynchronous)

    def condition(self, step: Step) -> bool:
        """Evaluate a step's ``when``.

        Raises:
            Exception: it cannot be evaluated.
        """
        if self._evaluate_condition is None:
            from executor.templates.template import evaluate_condition  # noqa: PLC0415  # as in `work`

            self._evaluate_condition = evaluate_condition
        assert step.when is not None
        return self._evaluate_condition(step.when, self._context.inputs, self._outputs)

    def items(self, step: Step) -> Any:
        """What the ``for_each`` of a step gives: a list, if all is well.

        Raises:
            Exception: it cannot be evaluated.
        """
        from executor.templates.template import evaluate_expression, render_value  # noqa: PLC0415  # as in `work`

        if isinstance(step.for_each, str):
            return evaluate_expression(step.for_each, self._context.inputs, self._outputs)
        return render_value(step.for_each, self._context.inputs, self._outputs)

    def _look_at(self, step: Step) -> Work:
        tool = self.tools.get(step.tool or "")
        if tool is None:
            raise ToolError(f"there is no tool {step.tool!r}", retryable=False)
        args: Mapping[str, Any] = _NO_ARGS if step.args is None else step.args
        return tool, step.prompt, args, _is_constant(step)


def _is_constant(step: Step) -> bool:
    """Whether neither prompt nor arguments of a step hold a template."""
    return isinstance(step, ChildStep) or (
        "{" not in (step.prompt or "") and (not step.args or not _has_template(step.args))
    )


def _has_template(value: Any) -> bool:
    """Whether any string in nested data could be a template."""
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            if "{" in item:
                return True
        elif isinstance(item, Mapping):
            todo.extend(item.keys())
            todo.extend(item.values())
        elif isinstance(item, list | tuple):
            todo.extend(item)
    return False
