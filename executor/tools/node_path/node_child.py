"""The program of a node's process: takes the node's code, runs it, says what came of it.

::

    parent ──▶ what to run: ``KIND BYTES`` and a line end, then that many bytes (a path, or source text)
    parent ◀── a line of JSON: {"result": …, "main": whether it had one}
               or {"error": …, "type": …, "retryable": …, "line": of the node's code, or null}

Rules of this module:
- It imports next to nothing: a node starts as fast as Python does. What a node imports is the node's affair.
- stdin and stdout are the node's. What it prints is its result if ``main()`` returns None, or if there is no ``main``.
- A node with a ``main`` is imported and its ``main`` called; another one runs as a script.
- Where the code fails, a mark on stderr parts what it wrote itself from what is written of its end.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# The file descriptor of the channel; -1 outside of a node.
channel = -1
_CHUNK_BYTES = 65_536
_END_MARK = "\x1e"


def main(fd: int) -> None:
    """Run the node that the parent sends over the channel ``fd``."""
    global channel  # noqa: PLW0603  # `node_runtime` finds it here
    # What the node starts does not get it.
    os.set_inheritable(fd, False)
    kind, text = _read_code(fd)
    channel = fd
    if "MAKESPAN_SPANS" in os.environ:
        # In traced runs alone.
        __import__("node_spans").watch()
    name = text.decode()
    if kind == b"file":
        sys.path.insert(0, os.path.dirname(name))  # noqa: PTH120  # pathlib would cost more than the node's start
        sys.argv[:] = [name]
        with open(name, "rb") as file:  # noqa: PTH123  # as above
            source: bytes | str = file.read()
    else:
        source, name = name, "<node>"
        sys.argv[:] = [name]
    try:
        answer = _run(source, name)
    except SystemExit as error:
        if error.code is None or error.code == 0:
            answer = {"result": None, "main": False}
        else:
            _mark_end()
            answer = {"error": f"it left with {error.code!r}", "type": "SystemExit", "retryable": True}
            answer["line"] = _line_of(error, name)
    except BaseException as error:  # noqa: BLE001  # whatever a node raises is its failure
        answer = {**_failure(error), "line": _line_of(error, name)}
    _flush()
    try:
        line = _encoded(answer, 0)
    except (TypeError, ValueError, RecursionError) as error:
        _mark_end()
        answer = {"error": f"what main() returned is not JSON: {error}", "type": "NotJson", "retryable": False}
        line = _encoded(answer, 0)
    _write(fd, line.encode("utf-8", "surrogatepass") + b"\n")
    if "error" in answer:
        sys.exit(1)


def _read_code(fd: int) -> tuple[bytes, bytes]:
    data = b""
    while b"\n" not in data:
        data += _more(fd)
    head, _, body = data.partition(b"\n")
    kind, _, size = head.partition(b" ")
    while len(body) < int(size):
        body += _more(fd)
    return kind, body


def _more(fd: int) -> bytes:
    data = os.read(fd, _CHUNK_BYTES)
    if not data:
        os._exit(1)
    return data


def _run(source: bytes | str, name: str) -> dict[str, Any]:
    text = source if isinstance(source, str) else source.decode("utf-8", "replace")
    has_main = text.startswith(_MAINS) or any(f"\n{start}" in text for start in _MAINS)
    code = compile(source, name, "exec", dont_inherit=True)
    module = type(sys)("node" if has_main else "__main__")
    module.__file__ = name
    sys.modules[module.__name__] = module
    # Short examples leave these two imports out.
    module.__dict__["sys"] = sys
    if "json" in text:
        import json  # noqa: PLC0415  # it costs half of a start

        module.__dict__["json"] = json
    exec(code, module.__dict__)  # noqa: S102  # running it is what this process is for
    function = getattr(module, "main", None)
    if not (has_main and callable(function)):
        return {"result": None, "main": False}
    value = function()
    if hasattr(value, "__await__"):
        import asyncio  # noqa: PLC0415  # few nodes are coroutines

        awaitable = value

        async def wait() -> Any:
            return await awaitable

        value = asyncio.run(wait())
    return {"result": value, "main": True}


_MAINS = ("def main(", "async def main(")


def _failure(error: BaseException) -> dict[str, Any]:
    """What an exception says; its traceback, without this module's part, goes to stderr."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    _mark_end()
    try:
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        text = str(error)
    except Exception:  # noqa: BLE001  # its own methods may raise anything
        text = "(its message cannot be had)"
    retryable = getattr(error, "retryable", True)
    return {"error": text, "type": type(error).__name__, "retryable": retryable is not False}


def _mark_end() -> None:
    try:
        sys.stderr.write(_END_MARK)
        sys.stderr.flush()
    except Exception:  # noqa: BLE001  # it is what the node's code made of it
        return


def _line_of(error: BaseException, name: str) -> int | None:
    """The line of the node's code that raised it, or called what did."""
    line = error.lineno if isinstance(error, SyntaxError) and error.filename == name else None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == name:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            continue


def _write(fd: int, line: bytes) -> None:
    rest = memoryview(line)
    try:
        while rest:
            rest = rest[os.write(fd, rest) :]
    except OSError:
        # The parent wants no more.
        os._exit(1)


def _encoded(value: Any, depth: int) -> str:
    """JSON text. The package for it costs half of a start, and most results are small."""
    if depth > 100:
        raise ValueError("it is nested more than 100 levels deep")
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        if not float("-inf") < value < float("inf"):
            raise ValueError(f"{value} is no JSON number")
        return float.__repr__(value)
    if isinstance(value, list | tuple):
        return "[" + ",".join([_encoded(item, depth + 1) for item in value]) + "]"
    if isinstance(value, dict):
        parts = []
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"a key is a {type(key).__name__}, where a text belongs")
            parts.append(f"{_quoted(key)}:{_encoded(item, depth + 1)}")
        return "{" + ",".join(parts) + "}"
    raise TypeError(f"a {type(value).__name__} in it is no JSON value")


try:
    from _json import encode_basestring_ascii as _quoted  # the part of the package that is written in C
except ImportError:
    from json.encoder import encode_basestring_ascii as _quoted
