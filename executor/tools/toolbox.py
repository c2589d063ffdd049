"""The tools of a run by name, also those that no step of the file uses: running steps may call any of them.

Rules of this module:
- What is declared, and the kinds that need no declaration; never ``module:function``, since the caller may be a program
  that was never read.
- A tool is made once, and belongs to the run from its first step or call on: it is closed with the others.
- The limits, retries and timeouts of a declaration hold for calls as they hold for steps.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from executor.child_steps.child_request import ChildRequest
from executor.child_steps.child_step import ChildStep
from executor.dependencies.step_requirements import Resolver
from executor.model.findings import Finding, did_you_mean
from executor.model.workflow import Resource, Retry, Step, ToolDeclaration
from executor.record.outcomes import Failure
from executor.tools.registry import (
    BUILT_IN,
    Declared,
    check_calls,
    finding_of,
    resolve_tool,
    tool_kind,
    tool_kind_names,
)
from executor.tools.tool import Tool, ToolOptionsError


def declarations_for(names_used: Iterable[str], declared: Mapping[str, Declared]) -> dict[str, ToolDeclaration]:
    """:meth:`Toolbox.declarations` where nothing is to be run."""
    return Toolbox(declared).declarations(names_used)


class Toolbox:
    """Makes the tools of a run, each once, and child steps of requests. ``tools`` are those that the run uses so far:
    that mapping grows.
    """

    def __init__(
        self,
        declared: Mapping[str, Declared],
        resources: Mapping[str, Resource] | None = None,
        tools: Mapping[str, Tool] | None = None,
    ) -> None:
        self.tools: dict[str, Tool] = tools if isinstance(tools, dict) else dict(tools or {})
        self._declared = declared
        self._resources = dict(resources or {})
        # What became of each name that was looked at; those that the run does not use are never prepared.
        self._looked_at: dict[str, Tool | ToolOptionsError] = {}
        self._steps: dict[str, ChildStep | Failure] = {}
        self._lock = threading.Lock()

    def declarations(self, names_used: Iterable[str]) -> dict[str, ToolDeclaration]:
        """What the rules must know of each tool: its declaration, with the kind's own retries where it states none.

        Names that mean nothing are left out, so that the rules report them. What is wrong with a declared tool is for
        :meth:`resolve` to say: of such a one its name is enough.
        """
        found: dict[str, ToolDeclaration] = {}
        for name in (*self._declared, *names_used):
            value = self._declared.get(name, name)
            if isinstance(value, Mapping):
                value = ToolDeclaration.model_validate(value)
            retry: Retry | None = None
            try:
                if not isinstance(value, ToolDeclaration):
                    # A tool given in code may be of a kind that is not registered.
                    tool = self._tool(name)
                    value, retry = tool.declaration or ToolDeclaration(kind=tool.kind or "python"), tool.default_retry
                    retry = retry if value.retry is None else None
                elif value.retry is None:
                    retry = tool_kind(value.kind).default_retry
            except ToolOptionsError:
                if name not in self._declared:
                    continue
                value = value if isinstance(value, ToolDeclaration) else ToolDeclaration(kind="python")
            found[name] = value if retry is None else value.model_copy(update={"retry": retry})
        return found

    def resolve(self, names_used: Iterable[str]) -> list[Finding]:
        """Take the tools of these names into the run, and check those that are only declared. Where a tool may call
        others, the run takes those in that are declared in words; functions are left until they are called, since one
        that no step names may be fit for this process alone.

        Returns everything that is wrong; then nothing was taken in.
        """
        names = dict.fromkeys(names_used)
        findings = []
        for name in dict.fromkeys([*self._declared, *names]):
            try:
                self._tool(name)
            except ToolOptionsError as error:
                findings.append(finding_of(name, error, self._declared))
        if not findings:
            self.tools.update({name: self._tool(name) for name in names})
            if any(tool.may_call for tool in self.tools.values()):
                for name in self._declared_in_words():
                    self.tools.setdefault(name, self._tool(name))
        return findings

    def check_calls(self, steps: Iterable[Step]) -> list[Finding]:
        """What is wrong with how steps call the tools that the run uses, as far as their fields show."""
        return check_calls(steps, self.tools.get)

    def _declared_in_words(self) -> list[str]:
        """The tools that are declared, and those made for a declaration: no functions and tools given in code."""
        return [
            name for name, value in self._declared.items()
            if isinstance(value, ToolDeclaration) or (isinstance(value, Tool) and value.declaration is not None)
        ]  # fmt: skip

    def _tool(self, name: str) -> Tool:
        """The tool of a name, made now or before.

        Raises:
            ToolOptionsError: the name means nothing, or its declaration is wrong.
        """
        found = self._looked_at.get(name)
        if found is None:
            try:
                found = resolve_tool(name, self._declared)
            except ToolOptionsError as error:
                found = error
            self._looked_at[name] = found
        if isinstance(found, ToolOptionsError):
            raise found
        return found

    def step(self, request: ChildRequest) -> ChildStep | Failure:
        """The step that a request becomes, or what is wrong with its tool."""
        step = self._steps.get(request.tool)
        if step is None:
            with self._lock:
                step = self._steps.get(request.tool)
                if step is None:
                    step = self._steps[request.tool] = self._make(request.tool)
        if isinstance(step, Failure):
            return step
        return step.with_request(request.prompt, request.args)

    def _make(self, name: str) -> ChildStep | Failure:
        # To look for the kinds of other packages takes a while: last.
        known = name in self._declared or name in self.tools or name in BUILT_IN
        if not known and name not in (kinds := tool_kind_names()):
            names = sorted({*self._declared, *kinds})
            return Failure("UnknownTool", f"there is no tool {name!r}: {did_you_mean(name, names)}", retryable=False)
        resolver = Resolver(self.declarations([name]), self._resources, None)
        (step,) = resolver.resolve([ChildStep(step_id="call", tool=name, description=f"call of {name}")])
        errors = [finding for finding in resolver.findings if finding.severity == "error"]
        try:
            if name not in self.tools:
                tool = self._tool(name)
                tool.prepare()
                self.tools[name] = tool
        except ToolOptionsError as error:
            return Failure("ToolOptionsError", f"{error}; {error.fix}" if error.fix else str(error), retryable=False)
        except Exception as error:  # noqa: BLE001  # another package's tool may raise anything
            return Failure.of(error)
        if errors:
            message = "; ".join(f"{finding.message}: {finding.fix}" for finding in errors)
            return Failure("WorkflowError", f"a call of tool {name!r} {message}", retryable=False)
        assert isinstance(step, ChildStep)
        return step
