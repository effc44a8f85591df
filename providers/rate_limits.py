"""Rate-limit windows as response headers report them, whatever the vendor calls them.

Anthropic: ``anthropic-ratelimit-*``. OpenAI, Groq and Cerebras: ``x-ratelimit-limit-requests``,
``x-ratelimit-remaining-tokens``, ``x-ratelimit-reset-tokens-minute`` ...
"""

from __future__ import annotations

from providers.protocols.anthropic.response import read_rate_limits as read_anthropic
from providers.types import Headers

_PREFIX = "x-ratelimit-"
_FIELDS = ("limit", "remaining", "reset")


def read_rate_limits(headers: Headers) -> dict[str, dict[str, str]]:
    """All windows, by family, values as sent: ``{"x-ratelimit-tokens": {"limit": "8000"}}``."""
    found = read_anthropic(headers)
    for raw_name, raw_value in headers:
        if raw_name[:2].lower() != b"x-":
            continue
        name = raw_name.decode("latin-1").lower()
        if not name.startswith(_PREFIX):
            continue
        field, _, window = name.removeprefix(_PREFIX).partition("-")
        if field in _FIELDS and window:
            family = found.setdefault(f"{_PREFIX}{window}", {})
            family[field] = raw_value.decode("latin-1").strip()
    return found
