"""The words of a workflow: what a file says, before it is interpreted.

Frozen pydantic models in the shape of the seed's JSON. They know nothing of how anything runs.

Rules of this module:
- Strict: no type is coerced, numbers are finite, an unknown field is an error that suggests the nearest name.
- Absent is null or (), and takes no memory: a million steps have to fit in it.
- What is wrong is said as :class:`executor.model.findings.Finding`, all at once, never as a traceback.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    Tag,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from executor.model.durations import LONGEST_SECONDS
from executor.model.findings import Finding
from executor.model.json_values import JsonAny, JsonList, JsonMapping, describe
from executor.model.validation_messages import translate

__all__ = [
    "DEVICES_LIMIT",
    "PRIORITY_LIMIT",
    "AutoCapacity",
    "Devices",
    "Name",
    "Names",
    "Needs",
    "Resource",
    "Retry",
    "Step",
    "StrictModel",
    "ToolDeclaration",
    "Workflow",
    "dump_workflow",
    "parse_workflow",
    "translate",
]

# A start key packs priority into 32 bits (scheduler.py).
PRIORITY_LIMIT = 1_000_000
DEVICES_LIMIT = 1000


def _listed(value: Any) -> Any:
    """JSON and YAML lists become tuples; null is an absent list."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list) else value


def _texted(value: Any) -> Any:
    return "" if value is None else value


def _continued(value: Any) -> Any:
    return "continue" if value is None else value


def _zeroed(value: Any) -> Any:
    return 0 if value is None else value


# No control characters, no line separators, none of the signs that turn the direction of writing: an id has to read
# the same wherever it is printed.
Name = Annotated[
    str,
    StringConstraints(
        min_length=1, pattern=r"^[^\x00-\x1f\x7f-\x9f\u{2028}\u{2029}\u{202a}-\u{202e}\u{2066}-\u{2069}]*$"
    ),
]
Names = Annotated[tuple[Name, ...], BeforeValidator(_listed)]
Text = Annotated[str, BeforeValidator(_texted)]


def _amount_kind(value: Any) -> str:
    return _SHARE if isinstance(value, float) else _UNITS


_UNITS, _SHARE = "units", "share"

# Whole units of a resource; of devices also a share of one, or an amount of memory.
Amount = Annotated[
    Annotated[int, Field(ge=1), Tag(_UNITS)] | Annotated[float, Field(gt=0), Tag(_SHARE)], Discriminator(_amount_kind)
]
Needs = dict[Name, Amount]


class StrictModel(BaseModel):
    """What all models here share."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        populate_by_name=True,
        hide_input_in_errors=True,
        defer_build=True,
    )


class SparseModel(StrictModel):
    """Words of which a file has few: a null means an absent field. (Steps are many, and have a validator only
    where a field cannot be null.)
    """

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        if isinstance(data, dict) and None in data.values():
            return {key: value for key, value in data.items() if value is not None or key not in cls.model_fields}
        return data


class Retry(SparseModel):
    """How often a failed attempt is tried again, and how long to wait before.

    The wait before attempt n + 1 is drawn evenly from [0, w] (``jitter: full``) or is w itself (``none``), with
    w = min(max_backoff_seconds, backoff_seconds · multiplier^(n − 1)). A ``Retry-After`` asks for at least that long;
    with ``full``, those that were asked for the same wait are spread behind it.
    Source: "Exponential backoff and jitter", AWS Architecture Blog, 2015.
    """

    max_attempts: int = Field(3, ge=1, le=1000)
    backoff_seconds: float = Field(1.0, ge=0, le=LONGEST_SECONDS)
    multiplier: float = Field(2.0, ge=1)
    max_backoff_seconds: float = Field(60.0, ge=0, le=LONGEST_SECONDS)
    jitter: Literal["full", "none"] = "full"


class AutoCapacity(SparseModel):
    """A capacity that is found out during the run: where it begins, and what it stays between."""

    initial: int = Field(4, ge=1)
    min: int = Field(1, ge=1)
    max: int = Field(1000, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _begins_inside(cls, data: Any) -> Any:
        """Where it does not say where it begins, it begins at 4, or as near as it may."""
        if not isinstance(data, dict) or data.get("initial") is not None:
            return data
        least, most = data.get("min", 1), data.get("max", 1000)
        fits = type(least) is int and type(most) is int and 1 <= least <= most
        return {**data, "initial": max(least, min(4, most))} if fits else data

    @model_validator(mode="after")
    def _in_order(self) -> AutoCapacity:
        if not self.min <= self.initial <= self.max:
            raise ValueError(f"has min {self.min}, initial {self.initial}, max {self.max}, which must be in this order")
        return self


def _id_texts(value: Any) -> Any:
    """A number of devices is that many ids from 0; ids that are numbers become text."""
    if type(value) is int and 1 <= value <= DEVICES_LIMIT:
        return tuple(map(str, range(value)))
    if not isinstance(value, list | tuple):
        return value
    return tuple(str(each) if type(each) is int and each >= 0 else each for each in value)


def _each_memory(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class Devices(SparseModel):
    """Devices of one kind, handed out one by one: ``ids`` (a list, or a number of them), or ``auto``: those that are
    found on the machine. ``memory_gb``: the memory of each in 10^9 bytes, one number for all or one for each.
    """

    ids: Annotated[
        Annotated[tuple[Name, ...], Field(min_length=1, max_length=DEVICES_LIMIT)] | Literal["auto"],
        BeforeValidator(_id_texts),
    ]
    memory_gb: Annotated[
        Annotated[float, Field(gt=0)] | tuple[Annotated[float, Field(gt=0)], ...] | None, BeforeValidator(_each_memory)
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, data: Any) -> Any:
        """``[0, 1]``, ``2`` and ``auto`` say the ids alone."""
        return data if isinstance(data, dict) else {"ids": data}

    @model_validator(mode="after")
    def _fit_together(self) -> Devices:
        if isinstance(self.ids, tuple) and len(set(self.ids)) < len(self.ids):
            raise ValueError("names a device twice")
        if isinstance(self.memory_gb, tuple) and len(self.memory_gb) != len(self.ids):
            raise ValueError(f"has {len(self.memory_gb)} amounts in memory_gb, where each device needs one")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The ids; none while they have yet to be found."""
        return self.ids if isinstance(self.ids, tuple) else ()

    @property
    def memories_gb(self) -> tuple[float | None, ...]:
        """The memory of each, None where it is not stated."""
        if isinstance(self.memory_gb, tuple):
            return self.memory_gb
        return (self.memory_gb,) * len(self.names)


class Resource(SparseModel):
    """Something that several steps share and that is limited.

    ``capacity``: units at once. ``capacity: auto``, or ``{auto: {initial, min, max}}``, is ``auto`` here, with
    ``capacity`` where it begins. ``rate_per_minute``: a token bucket of attempts that holds ``burst``.
    ``tokens_per_minute``: a token bucket of model tokens that holds ``token_burst`` (default: one minute's worth).
    ``devices``: what is limited are single devices, and each step that needs some is told which ones it has.
    """

    capacity: int | None = Field(None, ge=1)
    auto: AutoCapacity | None = None
    rate_per_minute: float | None = Field(None, gt=0)
    burst: int = Field(1, ge=1)
    tokens_per_minute: float | None = Field(None, gt=0)
    token_burst: int | None = Field(None, ge=1)
    devices: Devices | None = None

    @model_validator(mode="before")
    @classmethod
    def _found_out(cls, data: Any) -> Any:
        """``capacity: auto`` in its two forms."""
        given = data.get("capacity") if isinstance(data, dict) else None
        if given != "auto" and not (isinstance(given, dict) and set(given) == {"auto"}):
            return data
        words = given["auto"] if isinstance(given, dict) else {}
        return {**data, "capacity": None, "auto": {} if words is None else words}

    @model_validator(mode="after")
    def _begins(self) -> Resource:
        limits = (self.capacity, self.auto, self.rate_per_minute, self.tokens_per_minute)
        if self.devices is not None and any(limit is not None for limit in limits):
            raise ValueError("has `devices`, which go with no other limit")
        if self.auto is not None and self.capacity is None:
            # Frozen from here on; this is still a part of making it.
            object.__setattr__(self, "capacity", self.auto.initial)
        return self

    @model_serializer(mode="wrap")
    def _as_words(self, words: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Most have no devices: documents, and digests of them, are what they were before there were any."""
        found: dict[str, Any] = words(self)
        if found.get("devices") is None:
            found.pop("devices", None)
        return found

    @property
    def smallest_capacity(self) -> int | None:
        """The capacity that there is at all times."""
        return self.capacity if self.auto is None else self.auto.min


class ToolDeclaration(SparseModel):
    """A tool by name: its kind, what each of its steps needs, and the kind's own options (any further field)."""

    model_config = ConfigDict(extra="allow")

    __pydantic_extra__: dict[str, JsonAny]

    kind: Name
    description: str = ""
    needs: Needs | None = None
    retry: Retry | None = None
    timeout: float | None = Field(None, gt=0, le=LONGEST_SECONDS)
    idempotent: bool | None = None
    expected_seconds: float | None = Field(None, ge=0, le=LONGEST_SECONDS)
    expected_tokens: int | None = Field(None, ge=0)

    @property
    def options(self) -> dict[str, Any]:
        """The fields that belong to the kind."""
        return dict(self.__pydantic_extra__ or {})


# Of steps in which the same fields are given: the one set of their names, and these with their defaults, in order.
_GIVEN: dict[frozenset[str], tuple[set[str], Sequence[tuple[str, Any]]]] = {}
_put = object.__setattr__


class Step(StrictModel):
    """One step of a workflow. Seconds are seconds; ``needs`` are units of resources by name.

    ``prompt`` and every string in ``args`` are Jinja2 templates; ``when`` is a template expression. ``for_each`` is
    one that gives a list, or a list itself: the step is done once for each item, at most ``max_parallel`` at once.
    ``expected_items`` is how many there are taken to be where no tool runs. With ``cache: inputs`` its output may come
    from an earlier run that made the same call, at most ``ttl`` seconds before.

    A step keeps what differs from the defaults; the rest is read from its class.
    """

    step_id: Name
    description: Text = ""
    tool: Name | None = Field(None, validation_alias=AliasChoices("tool", "tool_name"))
    prompt: str | None = None
    args: JsonMapping | None = None
    parallel_group: int | Name | None = None
    depends_on: Names = ()
    reads: Names = ()
    writes: Names = ()
    needs: Needs | None = None
    when: str | None = None
    for_each: str | JsonList | None = None
    max_parallel: int | None = Field(None, ge=1)
    expected_items: int | None = Field(None, ge=0)
    retry: Retry | None = None
    timeout: float | None = Field(None, gt=0, le=LONGEST_SECONDS)
    on_failure: Annotated[Literal["continue", "stop"], BeforeValidator(_continued)] = "continue"
    idempotent: bool | None = None
    priority: Annotated[int, BeforeValidator(_zeroed)] = Field(0, ge=-PRIORITY_LIMIT, le=PRIORITY_LIMIT)
    expected_seconds: float | None = Field(None, ge=0, le=LONGEST_SECONDS)
    expected_tokens: int | None = Field(None, ge=0)
    cache: Literal["inputs"] | None = None
    ttl: float | None = Field(None, gt=0)

    @field_validator("ttl")
    @classmethod
    def _goes_with_cache(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value is not None and info.data.get("cache", "") is None:
            raise ValueError("goes with `cache: inputs`")
        return value

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """A kind of step has the fields of all steps: the defaults of others would be nowhere."""
        if cls.model_fields.keys() != _DEFAULTS.keys():
            raise TypeError(f"{cls.__name__} cannot have fields that other steps have not")
        # Pydantic takes inherited defaults for new fields, without bounds.
        cls.model_fields.update(Step.model_fields)

    def model_post_init(self, context: Any, /) -> None:
        """Leave the defaults out, and share the set of the names that were given, which takes 216 bytes."""
        words, given = self.__dict__, self.__pydantic_fields_set__
        key = frozenset(given)
        if key not in _GIVEN:
            _GIVEN[key] = given, [(name, _DEFAULTS[name]) for name in words if name in given]
        shared, names = _GIVEN[key]
        _put(self, "__pydantic_fields_set__", shared)
        _put(self, "__dict__", {name: value for name, default in names if (value := words[name]) != default})

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other fields; they are not checked."""
        copied = super().model_copy(update=update, deep=deep)
        _put(copied, "__dict__", without_defaults(copied.__dict__))
        return copied

    @classmethod
    def of_checked(cls, words: dict[str, Any], given: set[str] | None = None) -> Self:
        """A step of words that are known to be right, none of them a default: nothing is looked at. ``given``: the
        names that count as given; by default those of the words, in a set that steps share.
        """
        made = cls.__new__(cls)
        if given is None:
            key = frozenset(words)
            if key not in _GIVEN:
                _GIVEN[key] = set(key), [(name, default) for name, default in _DEFAULTS.items() if name in key]
            given = _GIVEN[key][0]
        _put(made, "__dict__", words)
        _put(made, "__pydantic_fields_set__", given)
        _put(made, "__pydantic_extra__", None)
        _put(made, "__pydantic_private__", None)
        return made

    @model_serializer(mode="wrap")
    def _as_words(self, words: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """All fields, in their order, those with their defaults too."""
        whole = self.__copy__()
        _put(whole, "__dict__", {name: getattr(self, name) for name in type(self).model_fields})
        found: dict[str, Any] = words(whole)
        return found


_DEFAULTS = {name: field.default for name, field in Step.model_fields.items()}
# Pydantic takes the defaults out of the class. Here the class has them for all its steps: a million have to fit in
# memory, and a dictionary of all fields takes 400 bytes or more.
for _name in _DEFAULTS.keys() - {"step_id"}:
    setattr(Step, _name, _DEFAULTS[_name])


def without_defaults(words: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a step that differ from their defaults: what its ``__dict__`` holds. Equal steps hold the same."""
    return {name: value for name, value in words.items() if value != _DEFAULTS[name]}


def max_parallel_resource(step_id: str) -> str:
    """The resource that holds the ``max_parallel`` of a mapped step: each of its items needs one unit."""
    return f"{step_id}.max_parallel"


class Workflow(SparseModel):
    """A graph of steps. ``inputs`` are what templates see as ``inputs``."""

    workflow_id: Name = "workflow"
    description: str = ""
    inputs: JsonMapping = Field(default_factory=dict)
    steps: Annotated[tuple[Step, ...], BeforeValidator(_listed)] = ()


def parse_workflow(data: object, *, default_id: str = "workflow") -> tuple[Workflow | None, list[Finding]]:
    """A workflow from parsed JSON or YAML: the workflow, or all findings that forbid one.

    ``default_id`` names a workflow whose file has no ``workflow_id``.
    """
    if not isinstance(data, dict):
        message = f"the workflow is {describe(data)}, where a mapping with `steps` belongs"
        return None, [Finding("error", "wrong-type", message, "write `steps:` with a list of steps below it")]
    given = data if data.get("workflow_id") is not None else {**data, "workflow_id": default_id}
    try:
        return Workflow.model_validate(given), []
    except ValidationError as error:
        return None, translate(error, Workflow, (), given)


def dump_workflow(workflow: Workflow) -> dict[str, Any]:
    """The workflow in the shape of a file, absent fields left out: :func:`parse_workflow` gives the same back."""
    compact = _compact(workflow)
    compact["workflow_id"] = workflow.workflow_id
    compact["steps"] = [_compact(step) for step in workflow.steps]
    order = [name for name in Workflow.model_fields if name in compact]
    return {name: compact[name] for name in order}


def _compact(words: StrictModel) -> dict[str, Any]:
    """The fields that differ from their defaults, as JSON values."""
    compact: dict[str, Any] = {}
    for name, field in type(words).model_fields.items():
        value = getattr(words, name)
        if value == field.get_default(call_default_factory=True):
            continue
        if isinstance(value, StrictModel):
            value = _compact(value)
        elif isinstance(value, tuple):
            value = list(value)
        compact[name] = value
    return compact
