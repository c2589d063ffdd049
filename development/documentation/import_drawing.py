"""The drawing of the imports in ``docs/architecture.md``: which package imports which.

- Every import counts, those inside of functions and those for types alone, too.
- An arrow that follows from others is left out (the transitive reduction), so that the layers can be seen. That needs a
  graph without cycles, which is the very rule that the drawing shows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from typing import Final

import grimp

from development.documentation.markdown import Parts


def imports_between_packages(root: str) -> dict[str, set[str]]:
    """Package to the packages that it imports, both directly below ``root``; single modules there count as packages."""
    graph = _graph()
    packages = {module for module in graph.modules if module.count(".") == 1 and module.startswith(f"{root}.")}
    found: dict[str, set[str]] = {package.partition(".")[2]: set() for package in packages}
    for module in graph.modules:
        importer = _package(module, root)
        for imported in graph.find_modules_directly_imported_by(module) if importer else ():
            name = _package(imported, root)
            if importer and name and name != importer:
                found[importer].add(name)
    return found


def cycle_in(imports: Mapping[str, set[str]]) -> list[str]:
    """The packages of one cycle, the first of them again at its end; empty where there is none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1]
        return cycle
    return []


def drawing(root: str) -> str:
    """The packages of ``root``, each above those that it imports, with its arrows.

    Raises:
        ValueError: the packages import each other in a cycle.

    """
    imports = imports_between_packages(root)
    if cycle := cycle_in(imports):
        raise ValueError(f"packages of {root} import each other in a cycle: {' → '.join(cycle)}")
    kept = _without_implied(imports)
    floors = _floors(imports)
    width = max(map(len, imports))
    rows = [
        f"{name:<{width}}" + (f"  →  {', '.join(sorted(kept[name]))}" if kept[name] else "")
        for name in sorted(imports, key=lambda name: (-floors[name], name))
    ]
    return "```text\n" + "\n".join(rows) + "\n```"


def _floors(imports: Mapping[str, set[str]]) -> dict[str, int]:
    """How many packages the longest chain of imports below each one has."""
    floors: dict[str, int] = {}
    for name in TopologicalSorter(imports).static_order():
        floors[name] = max((floors[one] + 1 for one in imports.get(name, ())), default=0)
    return floors


@cache
def _graph() -> grimp.ImportGraph:
    return grimp.build_graph("executor", "harness", exclude_type_checking_imports=False)


def _package(module: str, root: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == root and len(parts) > 1 else None


def _without_implied(imports: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Aho, Garey and Ullman's transitive reduction: an edge stays where no longer path leads the same way."""
    reach: dict[str, set[str]] = defaultdict(set)
    for name in TopologicalSorter(imports).static_order():
        for imported in imports.get(name, ()):
            reach[name] |= {imported} | reach[imported]
    return {
        name: {one for one in imported if not any(one in reach[other] for other in imported - {one})}
        for name, imported in imports.items()
    }


PARTS: Final[Parts] = {
    "imports-of-executor": lambda: drawing("executor"),
    "imports-of-harness": lambda: drawing("harness"),
}
