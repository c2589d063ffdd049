"""Steps out of a plan that is still being written: text comes in pieces, whole steps come out. Does no I/O.

Rules of this module:
- A step is handed over as soon as its closing brace is there.
- What models write around their JSON (a fence, a sentence before it) is passed over; what they leave out is not.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import ijson  # type: ignore[import-untyped]  # it brings no types


class BrokenPlanError(ValueError):
    """The text is no plan; the message says why, to a person or to a model."""


class PlanReader:
    """Reads one plan: ``{"steps": [{…}, …]}``. ``on_step`` is called with each step as it is complete."""

    def __init__(self, on_step: Callable[[Any], None]) -> None:
        self._begun = False
        self._ended = False
        self._depth = 0
        self._in_text = False
        self._escaped = False
        self.steps = 0
        self._on_step = on_step
        self._parser = ijson.items_coro(self._target(), "steps.item", use_float=True)

    def feed(self, text: str) -> None:
        """Take the next piece.

        Raises:
            BrokenPlanError: it is not JSON.

        """
        if not self._begun:
            _, brace, rest = text.partition("{")
            if not brace:
                return
            self._begun = True
            text = brace + rest
        if not self._ended:
            self._send(self._up_to_the_end(text))

    def finish(self) -> None:
        """All text is there.

        Raises:
            BrokenPlanError: there was no plan, or it breaks off.

        """
        if not self._begun:
            raise BrokenPlanError("the answer holds no JSON object")
        if not self._ended:
            raise BrokenPlanError("the JSON breaks off before its end")
        try:
            self._parser.close()
        except ijson.JSONError as error:
            raise BrokenPlanError(f"the answer is not JSON: {_first_line(error)}") from None
        if not self.steps:
            raise BrokenPlanError('the answer has no steps: it must be {"steps": [ … ]}')

    def _up_to_the_end(self, text: str) -> str:
        """The text as far as the object goes that it began with."""
        for place, sign in enumerate(text):
            if self._in_text:
                if self._escaped:
                    self._escaped = False
                elif sign == "\\":
                    self._escaped = True
                elif sign == '"':
                    self._in_text = False
            elif sign == '"':
                self._in_text = True
            elif sign in "{[":
                self._depth += 1
            elif sign in "}]":
                self._depth -= 1
                if self._depth == 0:
                    self._ended = True
                    return text[: place + 1]
        return text

    def _send(self, text: str) -> None:
        try:
            self._parser.send(text.encode(errors="replace"))
        except ijson.JSONError as error:
            raise BrokenPlanError(f"the answer is not JSON: {_first_line(error)}") from None

    def _target(self) -> Generator[None, Any, None]:
        target = self._receive()
        next(target)
        return target

    def _receive(self) -> Generator[None, Any, None]:
        while True:
            step = yield
            self.steps += 1
            self._on_step(step)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["it cannot be read"])[0].strip()
