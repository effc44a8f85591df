"""What the simulated vendor says to one request, and how that travels with the request."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass, field
from typing import Any

import msgspec

ANSWER_HEADER = b"x-demo-answer"
"""Carries the scripted ``Answer`` of a request, base64 of its JSON."""

CHARS_PER_TOKEN = 3.5
"""Characters of JSON for one token, near what the vendors count for prose and schemas."""

_TOOL_CALL_TOKENS = 24
"""What a tool call costs beside its arguments."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One tool the model calls."""

    name: str
    id: str
    input: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Trouble:
    """What goes wrong with an answer; nothing does by default."""

    status: int = 200
    error_type: str = "overloaded_error"
    message: str = "Overloaded"
    cut_after: int | None = None
    """Break the connection after this many pieces of text."""
    error_after: int | None = None
    """Send an ``error`` event after this many pieces of text."""
    down_s: float = 0.0
    """From this request on, refuse every connection for this long."""


NO_TROUBLE = Trouble()


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: its content, its usage as the vendor would bill it, and its pace."""

    text: str = ""
    thinking: str = ""
    calls: tuple[ToolCall, ...] = ()
    input_tokens: int = 6
    cache_read: int = 0
    cache_write: int = 0
    ttl: str = "5m"
    """Lifetime of what is written to the cache: ``5m`` or ``1h``."""
    web_searches: int = 0
    max_tokens: bool = False
    """The answer ends because it ran into the limit of output tokens."""
    first_byte_s: float = 0.6
    pieces_per_s: float = 12.0
    trouble: Trouble = field(default=NO_TROUBLE)

    @property
    def output_tokens(self) -> int:
        """Tokens the vendor counts for it, thinking and tool calls included."""
        said = math.ceil(len(self.thinking + self.text) / CHARS_PER_TOKEN)
        return said + sum(_TOOL_CALL_TOKENS + tokens(call.input) for call in self.calls)

    @property
    def stop_reason(self) -> str:
        """Why it ends, in the words of the Messages API."""
        if self.max_tokens:
            return "max_tokens"
        return "tool_use" if self.calls else "end_turn"


def tokens(value: Any) -> int:
    """About how many tokens a part of a request is."""
    return math.ceil(len(msgspec.json.encode(value)) / CHARS_PER_TOKEN)


def pack(answer: Answer) -> bytes:
    """``answer`` as the value of ``ANSWER_HEADER``."""
    return base64.b64encode(msgspec.json.encode(answer))


def unpack(value: bytes) -> Answer:
    """What ``pack`` packed; ``ValueError`` when it is something else."""
    return msgspec.json.decode(base64.b64decode(value), type=Answer)
