"""A node: Python code in a process of its own, JSON in, JSON out, which may call the run's tools.

Rules of this module:
- The node gets the step's arguments as a JSON object on stdin (a prompt is its ``prompt``). Its result is what
  ``main()`` returns, else the JSON that it prints.
- It sees a scrubbed environment, as a ``command`` does; its memory and its output are limited; at its timeout, when it
  is cancelled, and when it has ended it dies with its whole process group.
- This keeps mistakes in, not attackers: a node is a program of the same user.
- Errors carry what the node raised, the line of its code, and the end of what it wrote to stderr. The values let in by
  ``inherit_env`` are taken out of it.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from pydantic import Field

from executor.child_steps.step_context import program_environment
from executor.model.device_needs import device_environment
from executor.model.findings import did_you_mean
from executor.model.workflow import Names, StrictModel, ToolDeclaration
from executor.shortages import start_fault
from executor.tools.child_process import ChildProcess, Finished
from executor.tools.command import INHERITED, OUTPUT_LIMIT_BYTES, readable_tail, status_text
from executor.tools.isolation import Isolation, NotIsolatedError, isolated
from executor.tools.node_parent import NodeChannel
from executor.tools.options import read_options, refuse_without_isolation
from executor.tools.tool import Tool, ToolContext, ToolError, ToolOptionsError, ToolTimeoutError

MEMORY_LIMIT_BYTES = 2 * 1024**3
_FOLDER = Path(__file__).with_name("node_path")
_START = "import sys; sys.path.insert(0, sys.argv[1]); from node_child import main; main(int(sys.argv[2]))"
_ARGS = ("file", "source", "input")
# Of what a node wrote to stderr, a message shows this much; all that is kept is below the traceback.
_LAST_LINES = 5
_LAST_CHARACTERS = 400
# What `node_child` writes to stderr before it writes of the end of the node's code.
_END_MARK = b"\x1e"


class NodeOptions(StrictModel):
    """``file``: a Python file; ``source``: the code itself. ``env``: variables to set; ``inherit_env``: names to let
    through. ``memory_limit_bytes``: of address space, for each of its processes; null is no limit.
    ``output_limit_bytes``: of what it prints, and of what it says at once over its channel. ``isolate``: see
    :mod:`executor.tools.isolation`.
    """

    file: str | None = None
    source: str | None = None
    env: dict[str, str] = Field(default_factory=dict)
    inherit_env: Names = ()
    cwd: str | None = None
    memory_limit_bytes: int | None = Field(MEMORY_LIMIT_BYTES, ge=1)
    output_limit_bytes: int = Field(OUTPUT_LIMIT_BYTES, ge=1)
    isolate: Isolation | None = None


class NodeTool(Tool):
    """Runs Python code in a process of its own."""

    kind = "node"
    may_call = True
    summary = "runs Python code in a process of its own: args in as JSON, a JSON result out; it may call other tools"

    def __init__(self, name: str, options: NodeOptions | None = None) -> None:
        super().__init__(name)
        self.options = options or NodeOptions()

    @classmethod
    def from_declaration(cls, name: str, declaration: ToolDeclaration) -> Tool:
        """Make the tool; see :meth:`Tool.from_declaration`."""
        options = read_options(NodeOptions, name, declaration)
        refuse_without_isolation(name, options.isolate)
        if options.file is not None and options.source is not None:
            raise ToolOptionsError(
                f"tool {name!r}: source: there is a file already", field="source", fix="keep one of them"
            )
        if options.file is not None:
            path = Path(options.file).absolute()
            if not path.is_file():
                raise ToolOptionsError(
                    f"tool {name!r}: file: there is no file {options.file!r}",
                    field="file",
                    fix=f"write its path as seen from {Path.cwd()}, or a whole one",
                )
            # Wherever the workers are.
            options = options.model_copy(update={"file": str(path)})
        return cls(name, options)

    def call_faults(self, prompt: str | None, args: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """No code to run, or what the node is to read where its code is looked for."""
        if self.options.file is not None or self.options.source is not None:
            return
        for name in args:
            if name not in _ARGS:
                fix = f"{did_you_mean(name, _ARGS)}; what the node reads goes below args.input"
                yield f"args.{name}", f"has the argument {name!r}, which its tool {self.name!r} does not know", fix
        if "file" not in args and "source" not in args:
            yield "tool", f"gives its tool {self.name!r} no code to run", "add `args: {source: …}`, or args.file"

    def call(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Any:
        """Run the node; this thread sees to it."""
        with program_environment() as variables:
            channel, child = self._start(context, prompt, args, variables)
            try:
                return self._result(context, channel, child.run())
            finally:
                channel.close()

    async def call_async(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Any:
        """Run the node beside the event loop."""
        with program_environment() as variables:
            channel, child = self._start(context, prompt, args, variables)
            try:
                return self._result(context, channel, await child.run_async())
            finally:
                channel.close()

    def code_words(self) -> Any:
        """The code, where the declaration has it."""
        return self.options.source if self.options.file is None else _text_of(self.options.file)

    def declared_words(self) -> Any:
        """Limits shape no output."""
        return self.options.model_dump(mode="json", include={"env", "inherit_env", "cwd"})

    def files_read(self, args: Mapping[str, Any]) -> Any:
        """The code, where the arguments name its file."""
        file = args.get("file")
        return _text_of(file) if isinstance(file, str) and self.options.file is self.options.source is None else None

    # ------------------------------------------------------------------ its start

    def _start(
        self, context: ToolContext, prompt: str | None, args: Mapping[str, Any], variables: Mapping[str, str]
    ) -> tuple[NodeChannel, ChildProcess]:
        kind, code, given = self._code(args)
        options = self.options
        if options.cwd is not None and not Path(options.cwd).is_dir():
            self._refuse(f"cwd: there is no directory {options.cwd!r}")
        try:
            channel = NodeChannel(kind, code, options.output_limit_bytes)
        except OSError as error:
            self._not_started(error)
        try:
            environment = {**variables, **self._environment(), **device_environment(context.devices)}
            argv = [sys.executable, "-I", "-c", _START, str(_FOLDER), str(channel.their_fd)]
            if options.isolate is not None:
                argv = isolated(
                    argv,
                    environment,
                    cwd=options.cwd,
                    readable=[_FOLDER, *([Path(code).parent] if kind == "file" else [])],
                    writable=filter(os.path.isfile, variables.values()),
                    memory_limit_bytes=options.memory_limit_bytes,
                )
            child = ChildProcess(
                argv,
                env=environment,
                cwd=options.cwd,
                stdin=self._stdin(prompt, given),
                output_limit_bytes=options.output_limit_bytes,
                timeout_seconds=context.timeout_seconds,
                channel=channel,
            )
        except NotIsolatedError as error:
            channel.close()
            self._refuse(f"{error}; {error.fix}")
        except OSError as error:
            channel.close()
            self._not_started(error)
        except BaseException:
            channel.close()
            raise
        channel.started()
        channel.wake, channel.stop = child.wake, child.stop
        if options.memory_limit_bytes is not None and options.isolate is None:
            # It waits for its code, so nothing of it has run yet.
            child.limit(resource.RLIMIT_AS, options.memory_limit_bytes)
        context.on_cancel(child.stop)
        return channel, child

    def _code(self, args: Mapping[str, Any]) -> tuple[str, str, Mapping[str, Any]]:
        """What to run (a file's path or source text), and the node's input."""
        options = self.options
        if options.file is not None:
            return "file", options.file, args
        if options.source is not None:
            return "source", options.source, args
        for name in args:
            if name not in _ARGS:
                self._refuse(
                    f"args.{name}: unknown argument ({did_you_mean(name, _ARGS)}); what the node reads goes below "
                    "args.input, unless the tool is declared with a file or source"
                )
        file, source, given = args.get("file"), args.get("source"), args.get("input") or {}
        if not isinstance(given, Mapping):
            self._refuse("args.input: a node reads an object: names and values")
        if isinstance(file, str) and source is None:
            if not Path(file).is_file():
                self._refuse(f"args.file: there is no file {file!r}, seen from {Path.cwd()}")
            return "file", str(Path(file).absolute()), given
        if not isinstance(source, str) or file is not None:
            self._refuse("there is no code to run: give `file` or `source`, in the declaration or in the step's args")
        return "source", source, given

    def _stdin(self, prompt: str | None, given: Mapping[str, Any]) -> bytes:
        if prompt is not None and "prompt" in given:
            self._refuse("give either a prompt or args.prompt: the node reads one `prompt`")
        values = dict(given) if prompt is None else {"prompt": prompt, **given}
        try:
            return json.dumps(values, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            self._refuse(f"its arguments are not JSON: {error}")

    def _environment(self) -> dict[str, str]:
        names = (*INHERITED, *self.options.inherit_env)
        environment = {name: os.environ[name] for name in names if name in os.environ}
        return {**environment, **self.options.env}

    # ------------------------------------------------------------------ its end

    def _result(self, context: ToolContext, channel: NodeChannel, finished: Finished) -> Any:
        if finished.end == "timed_out":
            raise ToolTimeoutError(
                f"tool {self.name!r}: the node was killed at its timeout of {context.timeout_seconds:g} s"
                f"{self._last_words(finished.stderr)}"
            )
        if channel.fault is None and finished.end == "exited":
            # What it said last may still lie in the channel.
            channel.receive()
        if channel.fault is not None:
            self._refuse(f"the node was killed: it {channel.fault}. Only node_runtime may use the channel")
        if finished.end == "cancelled":
            self._refuse("the node was stopped: cancelled")
        if finished.end == "too_much_output":
            limit = self.options.output_limit_bytes
            self._refuse(f"the node was killed: it printed more than {limit:,} bytes (output_limit_bytes)")
        answer = channel.answer
        if answer is None:
            tail = readable_tail(finished.stderr, self.options.inherit_env)
            hint = self._memory_hint(finished)
            raise ToolError(
                f"tool {self.name!r}: the node {status_text(finished.status)} before it was done{hint}"
                f"{tail and ': ' + tail}"
            )
        if "error" in answer:
            self._raise(channel, answer, finished)
        return self._value(answer, finished)

    def _memory_hint(self, finished: Finished) -> str:
        limit = self.options.memory_limit_bytes
        if limit is None or b"MemoryError" not in finished.stderr:
            return ""
        return f" (it may use {limit:,} bytes: memory_limit_bytes)"

    def _raise(self, channel: NodeChannel, answer: Mapping[str, Any], finished: Finished) -> NoReturn:
        message = readable_tail(str(answer["error"]).encode("utf-8", "replace"), self.options.inherit_env)
        tail = readable_tail(finished.stderr, self.options.inherit_env)
        hint = self._memory_hint(finished)
        # Without the mark all that is left is the end of a long traceback.
        last_words = self._last_words(finished.stderr.rpartition(_END_MARK)[0])
        error = ToolError(
            f"tool {self.name!r}: the node raised {str(answer.get('type'))[:100]}{_place_of(channel, answer)}{hint}"
            f"{message and ': ' + message}{last_words}",
            retryable=answer.get("retryable") is not False,
        )
        if tail:
            error.add_note(f"the node's stderr:\n{tail}")
        raise error

    def _last_words(self, stderr: bytes) -> str:
        """The last lines of what the node's own code wrote to stderr, as a part of a message."""
        lines = [line for line in readable_tail(stderr, self.options.inherit_env).splitlines() if line.strip()]
        shown = "\n".join(lines[-_LAST_LINES:])
        if len(shown) > _LAST_CHARACTERS:
            shown = "… " + shown[-_LAST_CHARACTERS:]
        return shown and f"; its stderr ends: {shown}"

    def _value(self, answer: Mapping[str, Any], finished: Finished) -> Any:
        if answer["result"] is not None:
            return answer["result"]
        text = finished.stdout.decode("utf-8", "replace").strip()
        if not text and answer.get("main") is True:
            return None
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            printed = f"what it printed is none: {text[:80]!r}" if text else "it printed nothing"
            raise ToolError(
                f"tool {self.name!r}: the node gave no JSON: main() returned nothing, and {printed}. "
                "Return a value from main(), or print one JSON value and nothing else"
                f"{self._last_words(finished.stderr)}"
            ) from None

    def _not_started(self, error: OSError) -> NoReturn:
        raise ToolError(f"tool {self.name!r}: the node could not be started: {start_fault(error)}") from None

    def _refuse(self, message: str) -> NoReturn:
        raise ToolError(f"tool {self.name!r}: {message}", retryable=False)


def _text_of(file: str) -> str | None:
    try:
        return Path(file).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None


def _place_of(channel: NodeChannel, answer: Mapping[str, Any]) -> str:
    """Where in the node's code it happened, as a part of a message. The line is what the node says."""
    line = answer.get("line")
    at = f"line {line}" if type(line) is int else ""
    if channel.file is None:
        return at and f" in {at} of its source"
    return f" in {channel.file}{at and ', ' + at}"
