"""The relayed endpoints: which protocol a path speaks, and where it is at an upstream."""

from __future__ import annotations

from typing import Final

from providers.protocols.dialects import DIALECTS
from providers.types import Protocol

MESSAGES: Final = b"/v1/messages"
COUNT_TOKENS: Final = b"/v1/messages/count_tokens"
RESPONSES: Final = b"/v1/responses"
CHAT: Final = b"/v1/chat/completions"

PROTOCOLS: Final = {
    MESSAGES: Protocol.MESSAGES,
    COUNT_TOKENS: Protocol.MESSAGES,
    RESPONSES: Protocol.RESPONSES,
    CHAT: Protocol.CHAT,
}

_VERSION = b"/v1"


def protocol_of(path: bytes) -> Protocol:
    """The protocol of a relayed path; ``KeyError`` for others."""
    return PROTOCOLS[path]


def native_path(protocol: Protocol, path: bytes) -> bytes:
    """``path`` below an upstream's address: OpenAI's addresses end in the version already."""
    return path if protocol is Protocol.MESSAGES else path.removeprefix(_VERSION)


def translated_path(provider: Protocol) -> bytes:
    """Where a provider takes requests that were written for it."""
    path = DIALECTS[provider].path
    return _VERSION + path if provider is Protocol.MESSAGES else path
