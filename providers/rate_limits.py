"""Rate-limit windows as response headers report them, whatever the vendor calls them.

Anthropic: ``anthropic-ratelimit-*``. OpenAI, Groq and Cerebras: ``x-ratelimit-limit-requests``,
``x-ratelimit-remaining-tokens``, ``x-ratelimit-reset-tokens-minute`` ... A ChatGPT login:
``x-codex-primary-used-percent``, ``-window-minutes``, ``-reset-at``, and the same of ``secondary``.
"""

from __future__ import annotations

import contextlib
import re
from functools import lru_cache

from providers.protocols.anthropic.response import read_rate_limits as read_anthropic
from providers.types import Headers

_PREFIX = "x-ratelimit-"
_FIELDS = ("limit", "remaining", "reset")
_LOGIN = re.compile(r"x-(codex-(?:primary|secondary))-(used-percent|window-minutes|reset-at)")


def read_rate_limits(headers: Headers) -> dict[str, dict[str, str]]:
    """All windows, by family, values as sent: ``{"x-ratelimit-tokens": {"limit": "8000"}}``."""
    found = read_anthropic(headers)
    for raw_name, raw_value in headers:
        named = _window_of(raw_name)
        if named is None:
            continue
        family, field = named
        value = raw_value.decode("latin-1").strip()
        if family.startswith(_PREFIX):
            found.setdefault(family, {})[field] = value
        else:
            _note_login(found.setdefault(family, {}), field, value)
    return found


@lru_cache(maxsize=512)
def _window_of(raw_name: bytes) -> tuple[str, str] | None:
    """Family and field that a header's name tells; every answer has the same few names."""
    name = raw_name.decode("latin-1").lower()
    if (login := _LOGIN.fullmatch(name)) is not None:
        return login[1], login[2]
    if not name.startswith(_PREFIX):
        return None
    field, _, window = name.removeprefix(_PREFIX).partition("-")
    return (f"{_PREFIX}{window}", field) if field in _FIELDS and window else None


def _note_login(window: dict[str, str], field: str, value: str) -> None:
    """One field of a login's window, as Anthropic writes such: ``utilization`` is 0 to 1."""
    if field == "window-minutes":
        window[field] = value
    elif field == "reset-at":
        window["reset"] = value
    else:
        with contextlib.suppress(ValueError):
            window["utilization"] = f"{float(value) / 100:g}"
