"""Whether a dashboard is what Grafana's own model says: read into the SDK's classes and written again, it is the same.

Rules of this module:
- What the model does not know is lost on that way, and therefore found: a misspelt field does nothing in Grafana.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from harness.dashboards.dashboard_findings import Fault

# What Grafana's Prometheus plugin reads of a mark; the SDK's model of a mark ends before these.
_BEYOND_THE_MODEL: Final = re.compile(r"annotations\.list\[\d+\]\.(titleFormat|textFormat|tagKeys|step)")


def model_faults(dashboard: dict[str, Any], name: str) -> list[Fault]:
    """What does not fit the model of the SDK."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder  # noqa: PLC0415 - heavy, and an extra
    from grafana_foundation_sdk.cog.plugins import register_default_plugins  # noqa: PLC0415 - the same
    from grafana_foundation_sdk.models.dashboard import Dashboard  # noqa: PLC0415 - the same

    register_default_plugins()
    try:
        again = json.loads(json.dumps(Dashboard.from_json(dashboard), cls=JSONEncoder))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return [Fault(name, f"it does not fit Grafana's model of a dashboard: {type(error).__name__}: {error}")]
    return [
        Fault(name, f"Grafana's model knows no `{place}`", "correct its name, or remove it")
        for place in _lost(dashboard, again, "")
        if not _BEYOND_THE_MODEL.fullmatch(place)
    ]


def _lost(before: Any, after: Any, place: str) -> Iterator[str]:
    """The places whose values are gone or changed."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            here = f"{place}.{key}" if place else str(key)
            if key not in after:
                if value is not None:
                    yield here
            else:
                yield from _lost(value, after[key], here)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _lost(one, other, f"{place}[{number}]")
    elif before != after:
        yield place
