"""Rule 1: a step depends on the steps that it names, in ``depends_on`` or in a template."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from executor.model.findings import Finding, Path, did_you_mean
from executor.model.workflow import Step
from executor.templates.template import Template, compile_expression, compile_template, templates_in

# Each suggestion compares a name with all ids.
SUGGESTIONS_LIMIT = 50
NOWHERE = -1


def templates_of(step: Step) -> Iterator[tuple[Path, Template]]:
    """The templates of a step with their places in it; texts without a brace are none."""
    if step.prompt is not None and "{" in step.prompt:
        yield ("prompt",), compile_template(step.prompt)
    if step.args:
        for path, source in templates_in(step.args):
            yield ("args", *path), compile_template(source)
    if step.when is not None:
        yield ("when",), compile_expression(step.when)
    if isinstance(step.for_each, str):
        yield ("for_each",), compile_expression(step.for_each)
    elif step.for_each is not None:
        for path, source in templates_in(step.for_each):
            yield ("for_each", *path), compile_template(source)


class References:
    """Reads the dependencies of all steps; collects what is wrong with them."""

    def __init__(self, steps: Sequence[Step], index: Mapping[str, int], inputs: Mapping[str, object]) -> None:
        self.findings: list[Finding] = []
        self._steps = steps
        self._index = index
        self._inputs = inputs
        self._suggestions: dict[str, str] = {}

    def read(self) -> list[tuple[int, ...]]:
        """``parents[i]``: sorted distinct indices that step i depends on. Steps never depend on themselves."""
        index = self._index
        parents: list[tuple[int, ...]] = []
        for place, step in enumerate(self._steps):
            found: set[int] | None = None
            # Another place than this one where an id is used twice.
            own = index[step.step_id]
            if step.depends_on:
                try:
                    found = {index[name] for name in step.depends_on}
                except KeyError:
                    found = self._declared(place, step)
                if own in found or len(found) != len(step.depends_on):
                    self._check_declared(place, step)
            if step.prompt is not None or step.args or step.when is not None or step.for_each is not None:
                found = self._mentioned(place, step, found)
            if not found:
                parents.append(())
                continue
            found.discard(own)
            parents.append(tuple(sorted(found)))
        return parents

    def _declared(self, place: int, step: Step) -> set[int]:
        found: set[int] = set()
        for position, name in enumerate(step.depends_on):
            if name in self._index:
                found.add(self._index[name])
            else:
                self._unknown(place, ("depends_on", position), name, f"depends on {name!r}, but no step has this id")
        return found

    def _check_declared(self, place: int, step: Step) -> None:
        seen: set[str] = set()
        for position, name in enumerate(step.depends_on):
            where = ("depends_on", position)
            if name == step.step_id:
                self._add("error", "self-dependency", "depends on itself", "take it out", place, where)
            elif name in seen:
                self._add("hint", "repeated-dependency", f"names {name!r} again", "take it out", place, where)
            seen.add(name)

    def _mentioned(self, place: int, step: Step, found: set[int] | None) -> set[int] | None:
        index = self._index
        for path, template in templates_of(step):
            names = template.references
            if not (template.findings or template.inputs or template.of_items) and step.step_id not in names:
                places = {index.get(name, NOWHERE) for name in names}
                if NOWHERE not in places:
                    # As by far the most: nothing is wrong.
                    found = places if found is None else found | places
                    continue
            for finding in template.findings:
                self.findings.append(replace(finding, step=step.step_id, path=("steps", place, *path)))
            for name in sorted(template.inputs.difference(self._inputs)):
                fix = did_you_mean(name, self._inputs, f"add it to `inputs`, or give it with --set {name}=…")
                message = f"the template uses an input {name!r} that the workflow does not have"
                self._add("warning", "unknown-input", message, fix, place, path)
            for name in sorted(template.of_items):
                self._check_item(place, step, path, name)
            for name in sorted(names):
                if name == step.step_id:
                    message = "the template uses the step's own output"
                    self._add("error", "self-dependency", message, "name another step", place, path)
                elif name in index:
                    found = set() if found is None else found
                    found.add(index[name])
                else:
                    self._unknown(place, path, name, f"the template uses step {name!r}, but no step has this id")
        return found

    def _check_item(self, place: int, step: Step, path: Path, name: str) -> None:
        """``item`` and ``index`` are there in what is done for each item, and nowhere else; ``devices`` in a call."""
        if name == "devices":
            if path[0] not in ("when", "for_each"):
                return
            message = f"`{name}` is not defined in `{path[0]}`, which is evaluated before a step gets its devices"
            fix = "use it in `prompt` or `args`"
        elif step.for_each is None:
            message, fix = f"`{name}` is not defined", "add `for_each` to the step: it is done once for each item then"
        elif path[0] in ("when", "for_each"):
            message = f"`{name}` is not defined in `{path[0]}`, which is evaluated once for all items"
            fix = "leave items out of the list in `for_each` itself: {{ … | selectattr(…) | list }}"
        else:
            return
        self._add("error", "template-unknown-name", message, fix, place, path)

    def _unknown(self, place: int, path: Path, name: str, message: str) -> None:
        if name not in self._suggestions:
            known = self._index if len(self._suggestions) < SUGGESTIONS_LIMIT else ()
            self._suggestions[name] = did_you_mean(name, known, f"add a step {name!r}, or take the name out")
        self._add("error", "unknown-dependency", message, self._suggestions[name], place, path)

    def _add(self, severity: str, code: str, message: str, fix: str, place: int, path: Path) -> None:
        step = self._steps[place].step_id
        self.findings.append(Finding(severity, code, message, fix, step, ("steps", place, *path)))  # type: ignore[arg-type]  # the callers above write literals
