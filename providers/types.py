"""Neutral vocabulary shared by every layer: protocols, payers, usage, delivery."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

Headers = list[tuple[bytes, bytes]]
"""HTTP fields as received: original order, original case, duplicates kept."""


class Protocol(StrEnum):
    """A wire protocol a client or an upstream speaks."""

    MESSAGES = "anthropic-messages"
    RESPONSES = "openai-responses"
    CHAT = "openai-chat"


class Payer(StrEnum):
    """Whose account a request is billed to."""

    LOGIN = "login"
    CLIENT_KEY = "client key"
    GATEWAY_KEY = "gateway key"


class UsageSource(StrEnum):
    """How far the usage figures of a turn can be trusted."""

    FINAL = "provider_final"
    PARTIAL = "provider_partial"
    ESTIMATED = "estimated"
    NONE = "none"


class Delivery(StrEnum):
    """How much of the answer the client took."""

    FULL = "full"
    PARTIAL = "partial"
    NONE = "none"


class Usage(msgspec.Struct, frozen=True):
    """Token counts of one answer; ``None`` means the provider did not say, ``0`` is a value.

    ``input_tokens`` excludes cache reads and writes (Anthropic Messages ``usage``).
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_5m_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    reasoning_tokens: int | None = None
    web_searches: int | None = None
    service_tier: str | None = None
    raw: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """The provider's own object, merged over all frames that revised it."""

    @property
    def is_known(self) -> bool:
        """Whether the provider reported any token count at all."""
        return self.input_tokens is not None or self.output_tokens is not None

    @property
    def prompt_tokens(self) -> int | None:
        """Everything the model read: fresh input plus cache reads and writes."""
        if self.input_tokens is None:
            return None
        return (
            self.input_tokens
            + (self.cache_read_tokens or 0)
            + (self.cache_write_5m_tokens or 0)
            + (self.cache_write_1h_tokens or 0)
        )
