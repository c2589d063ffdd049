"""The state diagram of a step, drawn from the table.

``python -m development.documentation.state_diagram`` prints its page of docs.
"""

from __future__ import annotations

import sys

from executor.scheduler.states import TRANSITIONS

EVENTS = {
    "decide": "all data dependencies are final: its fate is decided",
    "start": "it gets a slot, its limits and its locks (or gets them again)",
    "expand": "the list of a mapped step is read, and its items are added",
    "succeed": "an attempt ended well",
    "fail": "an attempt failed, timed out, or its worker died",
    "due": "the backoff is over",
    "block": "it waits for its own calls and gives back slot and limits",
    "unblock": "its calls are final",
    "stop": "another step failed with `on_failure: stop`, or nothing can move any more",
    "reuse": "an earlier run left its result, or it is left out on request",
    "cancel": "the run, the step or its caller was cancelled",
}


def mermaid() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> waiting"]
    for state, events in TRANSITIONS.items():
        lines.extend(f"    {state} --> {after}: {event}" for event, states in events.items() for after in states)
        if not events:
            lines.append(f"    {state} --> [*]")
    return "\n".join(lines)


def page() -> str:
    """The whole page in Markdown."""
    table = "\n".join(
        f"| {state} | {event} | {', '.join(states)} |"
        for state, events in TRANSITIONS.items()
        for event, states in events.items()
    )
    meanings = "\n".join(f"- **{event}**: {meaning}" for event, meaning in EVENTS.items())
    return (
        "# The states of a step\n\n"
        "Drawn from the one table in `executor/scheduler/states.py` by\n"
        "`python -m development.documentation.state_diagram`; a test keeps the two the same.\n\n"
        f"```mermaid\n{mermaid()}\n```\n\n## Events\n\n{meanings}\n\n"
        f"## The table\n\n| state | event | leads to |\n|---|---|---|\n{table}\n"
    )


if __name__ == "__main__":
    sys.stdout.write(page())
