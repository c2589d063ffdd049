"""The built-in kinds of tools, from their classes and the models of their options and arguments."""

from __future__ import annotations

from functools import partial
from typing import Final

from development.documentation.markdown import Parts, model_table, table
from executor.tools.command import INHERITED, CommandArgs, CommandOptions
from executor.tools.http import HttpArgs, HttpOptions
from executor.tools.llm import LlmArgs, LlmOptions
from executor.tools.node import NodeOptions
from executor.tools.python_options import PythonOptions
from executor.tools.registry import BUILT_IN, tool_kind

_CONNECTIONS: Final = "connections that are open at once"
_SILENCE: Final = "the longest silence of the server that is waited for"
# Set by the harness alone.
_NOT_FOR_FILES: Final = frozenset({"stand_in"})

_PYTHON_OPTIONS: Final = {
    "callable": "`module:function`; dots after the colon reach into classes",
    "cpu_bound": "it computes for long in Python, so that threads gain nothing: reports then advise processes",
}
_ISOLATE: Final = (
    "`bubblewrap`: no network, a root that is read-only, an empty `/tmp`, no other process to be seen; "
    "refused where bubblewrap is not installed"
)
_NODE_OPTIONS: Final = {
    "file": "a Python file; its folder is on the node's path",
    "source": "the code itself",
    "env": "variables to set",
    "inherit_env": "names of variables to let through; their values are blanked out of messages",
    "cwd": "the folder to run in",
    "memory_limit_bytes": "address space of each of its processes; null is no limit",
    "output_limit_bytes": "a node that prints more, or says more at once over its channel, is ended, and has failed",
    "isolate": _ISOLATE,
}
_COMMAND_OPTIONS: Final = {
    "argv": "the program and its arguments",
    "env": "variables to set",
    "inherit_env": "names of variables to let through; their values are blanked out of messages",
    "cwd": "the folder to run in",
    "output": "what standard output holds",
    "output_limit_bytes": "a program that writes more is ended, and has failed",
    "isolate": _ISOLATE,
}
_COMMAND_ARGS: Final = {
    "argv": "the whole command, where the declaration has none",
    "arguments": "arguments to add to the declared ones",
    "stdin": "standard input, where there is no prompt",
    "env": "further variables to set",
    "cwd": "another folder to run in",
    "output": "another reading of standard output",
}
_HTTP_OPTIONS: Final = {
    "base_url": "what a step's `url` is relative to; with it, no step reaches another host",
    "headers": "headers of every request",
    "headers_from_env": "headers whose values are in environment variables: header to variable; needs `base_url`",
    "expect": "what the body has to be",
    "follow_redirects": "whether to go where the server points; not with `headers_from_env`",
    "max_connections": _CONNECTIONS,
    "read_timeout_seconds": _SILENCE,
    "response_limit_bytes": "an answer that is longer is a failure",
}
_HTTP_ARGS: Final = {
    "url": "the address, or a path below `base_url`",
    "method": "where it says nothing: `POST` with a body, else `GET`",
    "headers": "further headers",
    "params": "the query",
    "json": "a JSON value as the body",
    "body": "a text as the body; the prompt does the same",
    "expect": "another reading of the body",
}
_LLM_OPTIONS: Final = {
    "base_url": "the endpoint, up to where `/chat/completions` begins; that of `config.yaml` where it says nothing",
    "api_key": "the key; better in `api_key_env`, since files are shared",
    "api_key_env": "the environment variable that holds the key",
    "model": "the model's name",
    "system": "the system message",
    "temperature": "as the endpoint understands it",
    "max_tokens": "the longest answer, in tokens",
    "response_format": "as the endpoint understands it, such as `{type: json_object}`; makes the output JSON",
    "stream": "take the answer piece by piece",
    "include_usage": "`false` for servers that refuse `stream_options`",
    "ignored_args": "arguments that callers give and this tool has no use for; all others that it does not know fail",
    "max_connections": _CONNECTIONS,
    "read_timeout_seconds": _SILENCE,
}
_LLM_ARGS: Final = {
    "model": "another model",
    "system": "another system message",
    "messages": "a whole conversation, where there is no prompt",
    "temperature": "another temperature",
    "max_tokens": "another longest answer",
    "response_format": "another format",
}


def _overview() -> str:
    rows = ((f"[`{kind}`](#{kind})", tool_kind(kind).summary) for kind in BUILT_IN)
    return table(("kind", "does"), rows)


def _retries() -> str:
    kinds = ((kind, tool_kind(kind).default_retry) for kind in BUILT_IN)
    rows = (
        (f"`{kind}`", str(retry.max_attempts), f"{retry.backoff_seconds:g} s", f"{retry.max_backoff_seconds:g} s")
        for kind, retry in kinds
        if retry is not None
    )
    return table(("kind", "attempts", "longest first wait", "longest wait"), rows)


def _inherited() -> str:
    return ", ".join(f"`{name}`" for name in INHERITED) + "."


PARTS: Final[Parts] = {
    "overview": _overview,
    "retries": _retries,
    "inherited": _inherited,
    "python-options": partial(model_table, PythonOptions, _PYTHON_OPTIONS),
    "node-options": partial(model_table, NodeOptions, _NODE_OPTIONS),
    "command-options": partial(model_table, CommandOptions, _COMMAND_OPTIONS),
    "command-args": partial(model_table, CommandArgs, _COMMAND_ARGS),
    "http-options": partial(model_table, HttpOptions, _HTTP_OPTIONS),
    "http-args": partial(model_table, HttpArgs, _HTTP_ARGS),
    "llm-options": partial(model_table, LlmOptions, _LLM_OPTIONS, hidden=_NOT_FOR_FILES),
    "llm-args": partial(model_table, LlmArgs, _LLM_ARGS),
}
