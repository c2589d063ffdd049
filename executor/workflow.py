"""The words of a workflow: what a file says, before anybody asks what it means.

Frozen pydantic models in the shape of the seed's JSON. They know nothing of how anything runs.

Rules of this module:
- Strict: no type is coerced, numbers are finite, an unknown field is an error that suggests the nearest name.
- Absent is null or (): a million steps have to fit in memory (at most 21 fields keep a step's dict small).
- What is wrong is said as :class:`executor.findings.Finding`, all at once, never as a traceback.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

# A start key packs priority into 32 bits (scheduler.py).
PRIORITY_LIMIT = 1_000_000


def _listed(value: Any) -> Any:
    """JSON and YAML lists become tuples; null is an absent list."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class Words(BaseModel):
    """What all models here share."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True, hide_input_in_errors=True
    )


class Retry(Words):
    """How often a failed attempt is tried again, and how long to wait before.

    The wait before attempt n + 1 is drawn evenly from [0, w] (``jitter: full``) or is w itself (``none``), with
    w = min(max_backoff_seconds, backoff_seconds · multiplier^(n − 1)). A ``Retry-After`` asks for at least that long.
    Source: "Exponential backoff and jitter", AWS Architecture Blog, 2015.
    """

    max_attempts: int = Field(3, ge=1, le=1000)
    backoff_seconds: float = Field(1.0, ge=0)
    multiplier: float = Field(2.0, ge=1)
    max_backoff_seconds: float = Field(60.0, ge=0)
    jitter: Literal["full", "none"] = "full"


class Resource(Words):
    """Something that several steps share and that is limited.

    ``capacity``: units at once. ``rate_per_minute``: a token bucket of attempts that holds ``burst``.
    ``tokens_per_minute``: a token bucket of model tokens that holds ``token_burst`` (default: one minute's worth).
    """

    capacity: int | None = Field(None, ge=1)
    rate_per_minute: float | None = Field(None, gt=0)
    burst: int = Field(1, ge=1)
    tokens_per_minute: float | None = Field(None, gt=0)
    token_burst: int | None = Field(None, ge=1)


class ToolDeclaration(Words):
    """A tool by name: its kind, what each of its steps needs, and the kind's own options (any further field)."""

    model_config = ConfigDict(extra="allow")

    kind: str
    description: str = ""
    needs: dict[str, Annotated[int, Field(ge=1)]] | None = None
    retry: Retry | None = None
    timeout: float | None = Field(None, gt=0)
    idempotent: bool | None = None
    expected_seconds: float | None = Field(None, ge=0)
    expected_tokens: int | None = Field(None, ge=0)

    @property
    def options(self) -> dict[str, Any]:
        """The fields that belong to the kind."""
        return dict(self.__pydantic_extra__ or {})


class Step(Words):
    """One step of a workflow. Seconds are seconds; ``needs`` are units of resources by name.

    ``prompt`` and every string in ``args`` are Jinja2 templates; ``when`` and ``for_each`` are template expressions.
    """

    step_id: str
    description: str = ""
    tool: str | None = Field(None, validation_alias=AliasChoices("tool", "tool_name"))
    prompt: str | None = None
    args: dict[str, JsonValue] | None = None
    parallel_group: int | str | None = None
    depends_on: Names = ()
    reads: Names = ()
    writes: Names = ()
    needs: dict[str, Annotated[int, Field(ge=1)]] | None = None
    when: str | None = None
    for_each: str | None = None
    max_parallel: int | None = Field(None, ge=1)
    retry: Retry | None = None
    timeout: float | None = Field(None, gt=0)
    on_failure: Literal["continue", "stop"] = "continue"
    idempotent: bool | None = None
    priority: int = Field(0, ge=-PRIORITY_LIMIT, le=PRIORITY_LIMIT)
    expected_seconds: float | None = Field(None, ge=0)
    expected_tokens: int | None = Field(None, ge=0)


class Workflow(Words):
    """A graph of steps. ``inputs`` are what templates see as ``inputs``."""

    workflow_id: str = "workflow"
    description: str = ""
    inputs: dict[str, JsonValue] = Field(default_factory=dict)
    steps: Annotated[tuple[Step, ...], BeforeValidator(_listed)] = ()
