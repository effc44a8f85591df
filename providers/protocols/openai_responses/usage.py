"""Token counts of OpenAI Responses, both ways.

``input_tokens`` includes cache reads and writes here, and excludes them in ``Usage``.
"""

from __future__ import annotations

from typing import Any

from providers.protocols.anthropic.response import as_count, as_text
from providers.protocols.translate import mapping
from providers.types import Usage


def usage_of(response: Any) -> Usage:
    """The usage of a response object; empty where it has none. Absent counts are ``None``."""
    usage = mapping(mapping(response).get("usage"))
    if not usage:
        return Usage()
    details = mapping(usage.get("input_tokens_details"))
    cached = as_count(details.get("cached_tokens"))
    written = as_count(details.get("cache_write_tokens"))
    total = as_count(usage.get("input_tokens"))
    fresh = None if total is None else max(0, total - (cached or 0) - (written or 0))
    output_details = mapping(usage.get("output_tokens_details"))
    return Usage(
        input_tokens=fresh,
        output_tokens=as_count(usage.get("output_tokens")),
        cache_read_tokens=cached,
        cache_write_5m_tokens=written,
        reasoning_tokens=as_count(output_details.get("reasoning_tokens")),
        service_tier=as_text(mapping(response).get("service_tier")),
        raw=usage,
    )


def usage_object(usage: Usage) -> dict[str, Any] | None:
    """The ``usage`` of a response object; ``None`` where the provider did not say enough.

    Clients read either no usage or all of its numbers, so unknown details are written as 0.
    """
    prompt, output = usage.prompt_tokens, usage.output_tokens
    if prompt is None or output is None:
        return None
    written = (usage.cache_write_5m_tokens or 0) + (usage.cache_write_1h_tokens or 0)
    return {
        "input_tokens": prompt,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens or 0,
            "cache_write_tokens": written,
        },
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": prompt + output,
    }
