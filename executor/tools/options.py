"""Reading a tool's options and a step's arguments, with errors that speak to the person who wrote them.

Rules of this module:
- What is in a file is wrong in the file (:class:`ToolOptionsError`, with the option's name and a fix).
- What a step passes is wrong in the call (:class:`ToolError`, not retryable: another attempt cannot help).
- An unknown name suggests the nearest known one. A message never contains values: they may be secrets.
- pydantic is imported where a model is read: a worker process that calls tools without models starts without it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from executor.model.findings import did_you_mean
from executor.tools.isolation import Isolation, NotIsolatedError, check_isolation
from executor.tools.tool import ToolError, ToolOptionsError

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

    from executor.model.workflow import ToolDeclaration

Model = TypeVar("Model", bound="BaseModel")


@functools.cache
def _declaration_fields() -> tuple[str, ...]:
    from executor.model.workflow import ToolDeclaration  # noqa: PLC0415  # as the head says

    return tuple(name for name in ToolDeclaration.model_fields if name != "kind")


def read_options(model: type[Model], name: str, declaration: ToolDeclaration) -> Model:
    """The kind's own options of a declaration, checked.

    Raises:
        ToolOptionsError: an option is unknown, missing or wrong; all of them in the message, the first in ``field``.

    """
    from pydantic import ValidationError  # noqa: PLC0415  # as the head says

    try:
        return model.model_validate(declaration.options)
    except ValidationError as error:
        faults = list(_faults(error, [*model.model_fields, *_declaration_fields()]))
        text = "; ".join(f"{field}: {message}" for field, message, _ in faults)
        first_field, _, first_fix = faults[0]
        raise ToolOptionsError(
            f"tool {name!r} (kind {declaration.kind!r}): {text}", field=first_field, fix=first_fix
        ) from None


def no_options(name: str, declaration: ToolDeclaration) -> None:
    """Refuse any option, for kinds that have none.

    Raises:
        ToolOptionsError: there is one.

    """
    for option in declaration.options:
        raise ToolOptionsError(
            f"tool {name!r} (kind {declaration.kind!r}): {option}: unknown option; this kind has none of its own",
            field=option,
            fix=did_you_mean(option, _declaration_fields()),
        )


def refuse_without_isolation(name: str, isolate: Isolation | None) -> None:
    """Refuse a declaration that asks for an isolation that cannot be had here.

    Raises:
        ToolOptionsError: it is so.

    """
    if isolate is None:
        return
    try:
        check_isolation()
    except NotIsolatedError as error:
        raise ToolOptionsError(f"tool {name!r}: {error}", field="isolate", fix=error.fix) from None


def read_args(model: type[Model], name: str, args: Mapping[str, Any]) -> Model:
    """A step's arguments, checked.

    Raises:
        ToolError: not retryable; an argument is unknown, missing or wrong.

    """
    from pydantic import ValidationError  # noqa: PLC0415  # as the head says

    try:
        return model.model_validate(dict(args))
    except ValidationError as error:
        faults = _faults(error, model.model_fields)
        text = "; ".join(f"args.{field}: {message}" + (f" ({fix})" if fix else "") for field, message, fix in faults)
        raise ToolError(f"tool {name!r}: {text}", retryable=False) from None


def check_names(name: str, args: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Refuse arguments that a tool does not know.

    Raises:
        ToolError: not retryable.

    """
    for arg in args:
        if arg not in known:
            raise ToolError(
                f"tool {name!r}: args.{arg}: unknown argument ({did_you_mean(str(arg), known)})", retryable=False
            )


def _faults(error: ValidationError, known: Iterable[str]) -> Iterable[tuple[str, str, str]]:
    """(field, message, fix) of each fault that pydantic found."""
    known = list(known)
    for fault in error.errors(include_url=False, include_context=False, include_input=False):
        field = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            yield field, "unknown name", did_you_mean(str(fault["loc"][-1]), known)
        elif fault["type"] == "missing":
            yield field, "is missing", f"add {field!r}"
        else:
            message = fault["msg"].removeprefix("Value error, ")
            yield field or "options", message[:1].lower() + message[1:], ""
