"""Kinds of request that agents make on their own, beside what their user waits for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from providers.neutral import Request
from server.limits import RESERVING

BACKGROUND: Final = frozenset(
    {
        "title",
        "rename",
        "recap",
        "topic",
        "file_paths",
        "edited_files",
        "output_digest",
        "prompt_suggestion",
        "notification",
        "prewarm",
        "count_tokens",
    }
)
"""What a session can do without: refused first when there is too much to do."""

ANSWER_TOKENS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "title": 4_096,
        "rename": 4_096,
        "topic": 4_096,
        "prompt_suggestion": 4_096,
        "file_paths": 8_192,
        "edited_files": 8_192,
        "recap": 8_192,
        "output_digest": 8_192,
        "web_digest": 16_384,
    }
)
"""The longest answer a kind can have, its model's thinking included: some ten times what such
answers have, so that a request with this limit ends as it would with any larger one."""


def fitted(request: Request, provider: str, kind: str) -> Request:
    """``request`` with no larger limit than its answer can need.

    Only for providers that book the whole limit on the plan before they answer: there a generous
    one alone brings a refusal.
    """
    most = ANSWER_TOKENS.get(kind)
    if provider not in RESERVING or most is None:
        return request
    if request.max_tokens is not None and request.max_tokens <= most:
        return request
    return replace(request, max_tokens=most)
