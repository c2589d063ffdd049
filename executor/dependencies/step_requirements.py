"""What tools and resources add to a step, and whether they allow it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from executor.dependencies.graph import listed
from executor.model.device_needs import device_needs, kind_of, need_faults, together_faults
from executor.model.findings import Finding, did_you_mean
from executor.model.workflow import Resource, Step, ToolDeclaration

# What a step is taken to use of a resource with tokens per minute by default: a short prompt and answer.
DEFAULT_EXPECTED_TOKENS = 256

_INHERITED = ("retry", "timeout", "idempotent", "expected_seconds", "expected_tokens")


def token_burst_of(resource: Resource) -> int | None:
    """How many model tokens the resource's bucket holds: ``token_burst``, else one minute's worth; None without one."""
    if resource.tokens_per_minute is None:
        return None
    return resource.token_burst if resource.token_burst is not None else int(resource.tokens_per_minute)


class Resolver:
    """Gives steps their tool, its needs and its defaults; collects what is wrong.

    The step wins over its tool, key by key in ``needs``. Steps that nothing changes are shared, not copied.
    """

    def __init__(
        self,
        tools: Mapping[str, ToolDeclaration] | None,
        resources: Mapping[str, Resource] | None,
        default_tool: str | None,
    ) -> None:
        self.findings: list[Finding] = []
        self._tools = tools
        self._resources = resources
        self._default_tool = default_tool
        self._defaulted: list[int] = []
        self._inherited: dict[str, dict[str, Any]] = {}
        self._bursts = {
            name: burst for name, entry in (resources or {}).items() if (burst := token_burst_of(entry)) is not None
        }
        self._has_devices = any(entry.devices is not None for entry in (resources or {}).values())
        # (what is named, by whom): a tool's fault is reported once, not for each of its steps.
        self._told: set[tuple[str, str | None]] = set()
        self._suggestions: dict[str, str] = {}

    def resolve(self, steps: Sequence[Step]) -> Sequence[Step]:
        """All steps, resolved; the very same sequence if nothing changed."""
        resolved: list[Step] | None = None
        for place, step in enumerate(steps):
            changes = self._changes(place, step)
            needs = changes["needs"] if changes is not None and "needs" in changes else step.needs
            if needs and self._resources is not None:
                changes = self._check_needs(place, step, needs, changes)
            if step.cache is not None:
                self._check_cache(place, step, changes or {})
            if changes:
                resolved = list(steps) if resolved is None else resolved
                resolved[place] = step.model_copy(update=changes)
        if self._defaulted:
            self._add_defaulted(steps)
        return steps if resolved is None else resolved

    def _changes(self, place: int, step: Step) -> dict[str, Any] | None:
        changes: dict[str, Any] | None = None
        tool = step.tool
        if tool is None:
            tool = self._default_tool
            if tool is not None:
                self._defaulted.append(place)
                changes = {"tool": tool}
        if self._tools is None:
            return changes
        if tool is None:
            self._add("no-tool", "has no tool", "add `tool`, or set `default_tool` in config.yaml", place, step)
            return None
        declaration = self._tools.get(tool)
        if declaration is None:
            if tool not in self._suggestions:
                known = f"known tools: {', '.join(sorted(self._tools))}"
                self._suggestions[tool] = did_you_mean(tool, self._tools, known)
            self._add("unknown-tool", f"there is no tool {tool!r}", self._suggestions[tool], place, step, "tool")
            return None
        inherited = self._inherited_from(tool, declaration)
        return self._merged(step, inherited, changes) if inherited else changes

    def _inherited_from(self, tool: str, declaration: ToolDeclaration) -> dict[str, Any]:
        known = self._inherited.get(tool)
        if known is None:
            given = {name: getattr(declaration, name) for name in ("needs", *_INHERITED)}
            known = self._inherited[tool] = {name: value for name, value in given.items() if value is not None}
        return known

    @staticmethod
    def _merged(step: Step, inherited: Mapping[str, Any], changes: dict[str, Any] | None) -> dict[str, Any] | None:
        for name, value in inherited.items():
            own = getattr(step, name)
            if name == "needs" and own:
                value = {**value, **own}  # noqa: PLW2901  # the merged value takes its place
                if value == own:
                    continue
            elif own is not None and name != "needs":
                continue
            changes = {} if changes is None else changes
            changes[name] = value
        return changes

    def _check_cache(self, place: int, step: Step, changes: Mapping[str, Any]) -> None:
        """What has effects beside its output must be done, and what depends on more than its inputs done again."""
        wrong = {
            "`idempotent: false`, so each time it is done counts": changes.get("idempotent", step.idempotent) is False,
            "`writes`: a step whose output comes from a cache does not write": bool(step.writes),
            "`reads`: its output depends on more than its inputs": bool(step.reads),
        }
        for words, holds in wrong.items():
            if holds:
                message = f"`cache: inputs` does not go with {words}"
                self._add("not-cacheable", message, "leave `cache` out", place, step, "cache")

    def _check_needs(
        self, place: int, step: Step, needs: Mapping[str, int | float], changes: dict[str, Any] | None
    ) -> dict[str, Any] | None:
        estimate = step.expected_tokens
        if estimate is None and changes is not None:
            estimate = changes.get("expected_tokens")
        resources = self._resources or {}
        if self._has_devices:
            self._check_device_needs(place, step, needs)
        for name, units in needs.items():
            if self._has_devices and kind_of(name, resources) is not None:
                continue
            resource = resources.get(name)
            if resource is not None and isinstance(units, float):
                message = f"needs {units:g} of {name!r}, which is counted in whole units"
                fix = "need a whole number; shares are for devices"
                self._add_need("not-whole", message, fix, place, step, name)
                continue
            if resource is None:
                fix = did_you_mean(name, resources, f"declare it: resources: {{{name}: {{capacity: …}}}}")
                self._add_need("unknown-resource", f"needs {name!r}, which is no resource", fix, place, step, name)
                continue
            capacity = resource.smallest_capacity
            if capacity is not None and units > capacity:
                message = f"needs {units} of {name!r}, which has a capacity of {capacity}"
                fix = "need fewer, or raise the capacity"
                if resource.auto is not None:
                    message, fix = f"{message} at the least", f"write capacity: {{auto: {{min: {units}}}}}"
                self._add_need("need-above-capacity", message, fix, place, step, name)
            burst = self._bursts.get(name)
            if burst is not None and estimate is not None and estimate > burst:
                message = f"is expected to use {estimate} tokens of {name!r}, which gives out at most {burst} at once"
                self._add_need("tokens-above-burst", message, "expect fewer, or raise token_burst", place, step, name)
        if estimate is None and not self._bursts.keys().isdisjoint(needs):
            changes = {} if changes is None else changes
            held = min(self._bursts[name] for name in needs if name in self._bursts)
            changes["expected_tokens"] = min(DEFAULT_EXPECTED_TOKENS, held)
        return changes

    def _check_device_needs(self, place: int, step: Step, needs: Mapping[str, int | float]) -> None:
        resources = self._resources or {}
        for name, amount in needs.items():
            kind = kind_of(name, resources)
            devices = None if kind is None else resources[kind].devices
            # Devices that were to be found and were not are reported by whoever looked for them.
            if kind is None or devices is None or not devices.names:
                continue
            for code, message, fix in need_faults(name, amount, devices, kind):
                self._add_need(code, message, fix, place, step, name)
        for kind, need in device_needs(needs, resources).items():
            devices = resources[kind].devices
            for code, message, fix in () if devices is None else together_faults(need, devices):
                self._add_need(code, message, fix, place, step, kind)

    def _add_need(self, code: str, message: str, fix: str, place: int, step: Step, name: str) -> None:
        own = step.needs is not None and name in step.needs
        if own or (code == "tokens-above-burst" and step.expected_tokens is not None):
            field: tuple[str, ...] = ("expected_tokens",) if code == "tokens-above-burst" else ("needs", name)
            self._add(code, message, fix, place, step, *field)
            return
        tool = step.tool or self._default_tool
        if (code + name, tool) not in self._told:
            self._told.add((code + name, tool))
            self._add(code, f"{message} (as its tool {tool!r} says)", fix, place, step, "tool")

    def _add(self, code: str, message: str, fix: str, place: int, step: Step, *field: str) -> None:
        self.findings.append(Finding("error", code, message, fix, step.step_id, ("steps", place, *field)))

    def _add_defaulted(self, steps: Sequence[Step]) -> None:
        names = [steps[place].step_id for place in self._defaulted]
        verb = "names" if len(names) == 1 else "name"
        message = f"{listed(names)} {verb} no tool and {'gets' if len(names) == 1 else 'get'} {self._default_tool!r}"
        fix = "add `tool`, or change `default_tool` in config.yaml"
        self.findings.append(Finding("warning", "default-tool", message, fix, names[0], ("steps", self._defaulted[0])))
