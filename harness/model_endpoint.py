"""Which model an endpoint is to be asked for: the one that is named, else the only one that it lists.

Rules of this module:
- It is asked before a run, once, with a time and size limit; the key is sent to ``base_url`` alone.
- It never chooses among several models: they differ in price and in what they can do.
"""

from __future__ import annotations

import json
from typing import Final

from executor.tools.connections import safe_url
from harness.config import LOCAL, LanguageModel
from harness.plain_text import one_line

# Some services have thousands of models to list.
ANSWER_BYTES: Final = 16_000_000
_SECONDS: Final = 5.0
_NAMES_SHOWN: Final = 5
_NO_KEY: Final = (401, 403)
_SERVER_ERROR: Final = 500
NAME_IT: Final = "name it with --model NAME, MAKESPAN_LLM__MODEL, or llm.model in the configuration"


class ModelEndpointError(Exception):
    """The endpoint does not answer, or does not say which model to ask. ``fix`` says what to do."""

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.fix = fix


def models_listed(llm: LanguageModel) -> list[str] | None:
    """The names of the models that the endpoint lists (``/models``); None where it answers and lists none.

    Raises:
        ModelEndpointError: it does not answer, or refuses the key.

    """
    import httpx  # noqa: PLC0415 - only where there is an endpoint

    from harness.bounded_http import BoundedClient  # noqa: PLC0415 - as above

    assert llm.base_url is not None, "there is no endpoint"
    shown = safe_url(llm.base_url)
    headers = {} if llm.api_key is None else {"Authorization": f"Bearer {llm.api_key.get_secret_value()}"}
    remedy = "check llm.base_url and llm.api_key in the configuration"
    try:
        client = BoundedClient(headers=headers, limit_bytes=ANSWER_BYTES)
    except (UnicodeError, ValueError):
        raise ModelEndpointError(f"the key for {shown} holds a character that HTTP does not allow", remedy) from None
    try:
        response = client.request("GET", f"{llm.base_url.rstrip('/')}/models", timeout_seconds=_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ModelEndpointError(f"{shown} does not answer: {error}", remedy) from error
    finally:
        client.close()
    if response.status_code in _NO_KEY:
        raise ModelEndpointError(f"{shown} refuses the key ({response.status_code})", remedy)
    if response.status_code >= _SERVER_ERROR:
        raise ModelEndpointError(f"{shown} answers {response.status_code}", remedy)
    return _names_in(response.content) if response.is_success else None


def with_model(llm: LanguageModel) -> LanguageModel:
    """The same settings with a model: the one that is named, else the only one that the endpoint lists.

    Raises:
        ModelEndpointError: there is none, or there are several.

    """
    if llm.base_url is None or llm.base_url == LOCAL or llm.model is not None:
        return llm
    names = models_listed(llm)
    if names is not None and len(names) == 1:
        return llm.model_copy(update={"model": names[0]})
    raise ModelEndpointError(f"no model is named for {safe_url(llm.base_url)}, {listing_words(names)}", NAME_IT)


def listing_words(names: list[str] | None) -> str:
    """What an endpoint lists, as text."""
    if not names:
        return "and it lists none"
    shown = ", ".join(one_line(name, 60) for name in names[:_NAMES_SHOWN])
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"and it lists {len(names)}: {shown}{more}"


def _names_in(content: bytes) -> list[str] | None:
    """The ids of a list in OpenAI's shape, without repetition; None where it is something else."""
    try:
        entries = json.loads(content)["data"]
        names = [entry["id"] for entry in entries]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return list(dict.fromkeys(name for name in names if isinstance(name, str) and name)) or None
