"""A program as a tool: an argv list, never a shell.

Rules of this module:
- The child sees a scrubbed environment: the few names in :data:`INHERITED`, what ``env`` sets, and what
  ``inherit_env`` asks for by name. Keys and tokens of the calling process stay here.
- At its timeout, when cancelled, or when it writes too much, the child dies with its whole process group.
- Errors name the program, and carry the end of what it wrote to stderr, less the values let in by ``inherit_env``.
- Outputs that the program writes to stdout are text without the last line ends, JSON, or a list of lines.
"""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BeforeValidator, Field, field_validator

from executor.child_steps.step_context import program_environment
from executor.model.device_needs import device_environment
from executor.model.workflow import Names, StrictModel, ToolDeclaration
from executor.shortages import start_fault
from executor.tools.child_process import ChildProcess, Finished
from executor.tools.isolation import Isolation, NotIsolatedError, isolated
from executor.tools.options import read_args, read_options, refuse_without_isolation
from executor.tools.tool import Tool, ToolContext, ToolError, ToolTimeoutError

OUTPUT_LIMIT_BYTES = 10_000_000
INHERITED = ("PATH", "HOME", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TMPDIR", "TZ", "USER", "LOGNAME")
_TAIL_CHARACTERS = 2_000
# The machine was out of something: it may have it again in a moment.
_PASSING_ERRORS = {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ETXTBSY}

Output = Literal["text", "json", "lines"]


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class CommandOptions(StrictModel):
    """``argv``: the program and its arguments. ``env``: variables to set; ``inherit_env``: names to let through.
    ``output``: what stdout holds. ``output_limit_bytes``: more than that is a failure. ``isolate``: see
    :mod:`executor.tools.isolation`.
    """

    argv: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    env: dict[str, str] = Field(default_factory=dict)
    inherit_env: Names = ()
    cwd: str | None = None
    output: Output = "text"
    output_limit_bytes: int = Field(OUTPUT_LIMIT_BYTES, ge=1)
    isolate: Isolation | None = None

    @field_validator("argv")
    @classmethod
    def _named(cls, argv: tuple[str, ...]) -> tuple[str, ...]:
        if argv and not argv[0]:
            raise ValueError("the program's name is empty")
        return argv


class CommandArgs(StrictModel):
    """What a step says: the whole ``argv`` of an undeclared command, or ``arguments`` to add to a declared one."""

    argv: Annotated[tuple[str | int | float, ...], BeforeValidator(_listed)] | None = None
    arguments: Annotated[tuple[str | int | float, ...], BeforeValidator(_listed)] = ()
    stdin: str | None = None
    env: dict[str, str] = Field(default_factory=dict)
    cwd: str | None = None
    output: Output | None = None


class CommandTool(Tool):
    """Runs a program."""

    kind = "command"
    argument_names = tuple(CommandArgs.model_fields)
    summary = "runs a program: argv (never a shell), stdin or prompt in, stdout out"

    def __init__(self, name: str, options: CommandOptions | None = None) -> None:
        super().__init__(name)
        self.options = options or CommandOptions()

    @classmethod
    def from_declaration(cls, name: str, declaration: ToolDeclaration) -> Tool:
        """Make the tool; see :meth:`Tool.from_declaration`."""
        options = read_options(CommandOptions, name, declaration)
        refuse_without_isolation(name, options.isolate)
        return cls(name, options)

    def call_faults(self, prompt: str | None, args: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Arguments that the tool does not know, nothing to run, or two of what there can be one of."""
        unknown = list(super().call_faults(prompt, args))
        yield from unknown
        argv = args.get("argv")
        if self.options.argv and argv is not None:
            yield "args.argv", f"has an args.argv, and its tool {self.name!r} declares one", "add with args.arguments"
        elif not (self.options.argv or argv or args.get("arguments") or unknown):
            yield "tool", f"gives its tool {self.name!r} nothing to run", "add `args: {argv: […]}`, or declare an argv"
        if prompt is not None and args.get("stdin") is not None:
            yield "args.stdin", "has both a prompt and args.stdin", "keep one of them"

    def declared_words(self) -> Any:
        """What is run, and where; limits shape no output."""
        return self.options.model_dump(mode="json", exclude={"output_limit_bytes"})

    def call(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Any:
        """Run the program in this thread."""
        wanted = read_args(CommandArgs, self.name, args)
        argv = self._argv(wanted)
        with program_environment() as variables:
            child = self._start(context, argv, prompt, wanted, variables)
            context.on_cancel(child.stop)
            return self._result(context, argv[0], wanted, child.run())

    async def call_async(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Any:
        """Run the program beside the event loop."""
        wanted = read_args(CommandArgs, self.name, args)
        argv = self._argv(wanted)
        with program_environment() as variables:
            child = self._start(context, argv, prompt, wanted, variables)
            context.on_cancel(child.stop)
            return self._result(context, argv[0], wanted, await child.run_async())

    def _argv(self, wanted: CommandArgs) -> list[str]:
        if self.options.argv and wanted.argv is not None:
            self._refuse("args.argv: the declaration has an argv already; add to it with args.arguments")
        argv = [
            *self.options.argv,
            *(str(part) for part in wanted.argv or ()),
            *(str(part) for part in wanted.arguments),
        ]
        if not argv or not argv[0]:
            self._refuse("there is nothing to run: give argv, in the declaration or in the step's args")
        if any("\0" in part for part in argv):
            self._refuse("argv: an argument holds a NUL character, which no program can be given")
        return argv

    def _start(
        self,
        context: ToolContext,
        argv: list[str],
        prompt: str | None,
        wanted: CommandArgs,
        variables: Mapping[str, str],
    ) -> ChildProcess:
        if prompt is not None and wanted.stdin is not None:
            self._refuse("the prompt is the program's stdin; give either a prompt or args.stdin")
        stdin = wanted.stdin if prompt is None else prompt
        cwd = wanted.cwd or self.options.cwd
        if cwd is not None and not Path(cwd).is_dir():
            self._refuse(f"cwd: there is no directory {cwd!r}")
        environment = {**variables, **self._environment(wanted.env), **device_environment(context.devices)}
        program = argv[0]
        try:
            if self.options.isolate is not None:
                argv = isolated(argv, environment, cwd=cwd, writable=filter(os.path.isfile, variables.values()))
            return ChildProcess(
                argv,
                env=environment,
                cwd=cwd,
                stdin=(stdin or "").encode(),
                output_limit_bytes=self.options.output_limit_bytes,
                timeout_seconds=context.timeout_seconds,
            )
        except NotIsolatedError as error:
            self._refuse(f"{error}; {error.fix}")
        except FileNotFoundError:
            self._refuse(f"there is no program {program!r}; install it, or write its whole path")
        except PermissionError:
            self._refuse(f"{program!r} may not be executed")
        except (OSError, ValueError) as error:
            passing = getattr(error, "errno", None) in _PASSING_ERRORS
            raise ToolError(
                f"tool {self.name!r}: {program!r} could not be started: {start_fault(error)}", retryable=passing
            ) from None

    def _environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        names = (*INHERITED, *self.options.inherit_env)
        inherited = {name: os.environ[name] for name in names if name in os.environ}
        return {**inherited, **self.options.env, **extra}

    def _result(self, context: ToolContext, program: str, wanted: CommandArgs, finished: Finished) -> Any:
        if finished.end == "timed_out":
            raise ToolTimeoutError(
                f"tool {self.name!r}: {program!r} was killed at its timeout of {context.timeout_seconds:g} s"
            )
        if finished.end == "cancelled":
            self._refuse(f"{program!r} was stopped: cancelled")
        if finished.end == "too_much_output":
            limit = self.options.output_limit_bytes
            self._refuse(f"{program!r} was killed: it wrote more than {limit:,} bytes (output_limit_bytes)")
        if finished.status != 0:
            tail = readable_tail(finished.stderr, self.options.inherit_env)
            raise ToolError(f"tool {self.name!r}: {program!r} {status_text(finished.status)}{tail and ': ' + tail}")
        return self._read(program, wanted.output or self.options.output, finished.stdout)

    def _read(self, program: str, output: Output, stdout: bytes) -> Any:
        try:
            text = stdout.decode()
        except UnicodeDecodeError as error:
            self._refuse(f"{program!r} wrote output that is not UTF-8 (byte {error.start})")
        if output == "lines":
            return text.split("\n")[:-1] if text.endswith("\n") else text.split("\n") if text else []
        if output == "text":
            return text.rstrip("\r\n")
        try:
            return json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise ToolError(f"tool {self.name!r}: {program!r} wrote output that is not JSON: {error}") from None

    def _refuse(self, message: str) -> NoReturn:
        raise ToolError(f"tool {self.name!r}: {message}", retryable=False)


def readable_tail(stderr: bytes, secrets: Iterable[str]) -> str:
    """The end of what a child wrote, for a message: without the values of the variables that are named ``secrets``."""
    text = stderr.decode(errors="replace")
    for name in secrets:
        if secret := os.environ.get(name):
            text = text.replace(secret, "***")
    text = "".join(character for character in text if character.isprintable() or character in "\n\t").strip()
    return text if len(text) <= _TAIL_CHARACTERS else "… " + text[-_TAIL_CHARACTERS:]


def status_text(status: int) -> str:
    """How a child ended: its exit status, or minus the number of the signal that killed it."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"


def _no_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
