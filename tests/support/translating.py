"""Short ways through the translators, as a relay goes through them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from providers.call_ids import CallIds
from providers.events import Event, StreamDecoder, StreamEncoder
from providers.neutral import CannotCarry, Message, Request, Role, Text, Tool
from providers.protocols.anthropic import stream_out as messages_out
from providers.protocols.openai_chat import stream_in as chat_in
from providers.tool_book import ToolBook
from providers.traits import Outgoing, Traits

EVERYTHING = Traits(
    context=200_000,
    max_output=64_000,
    parallel_control=True,
    strict_tools=True,
    vision=True,
    files=True,
    stop_limit=None,
    efforts=("none", "minimal", "low", "medium", "high", "xhigh", "max"),
    json_schema=True,
)
"""A model that takes all there is."""


def request(*messages: Message, tools: Sequence[Tool] = (), **more: Any) -> Request:
    """A request with a question in it, unless other messages are given."""
    asked = messages or (Message(Role.USER, (Text("hi"),)),)
    return Request(model="m", messages=tuple(asked), tools=tuple(tools), **more)


def ids(used: frozenset[str] = frozenset()) -> CallIds:
    """Ids that count up, so that a run can be repeated."""
    numbers = itertools.count(1)
    return CallIds(used, lambda: f"made{next(numbers)}")


def carried(found: Request | CannotCarry) -> Request:
    assert isinstance(found, Request), found
    return found


def written(found: Outgoing | CannotCarry) -> Outgoing:
    assert isinstance(found, Outgoing), found
    return found


def decode(decoder: StreamDecoder, *pieces: bytes) -> list[Event]:
    """All events of a stream that arrives in ``pieces`` and then ends."""
    return [event for piece in pieces for event in decoder.feed(piece)] + decoder.end()


def read_chat(*pieces: bytes, of: Request | None = None) -> list[Event]:
    """The events of a Chat stream that answers ``of``."""
    asked = of or request()
    return decode(chat_in.Decoder(ToolBook(asked), ids(asked.call_ids)), *pieces)


def write_messages(events: Sequence[Event], **more: Any) -> bytes:
    """A Messages stream of these events."""
    options: dict[str, Any] = {"message_id": "msg_1", "model": "claude-x"} | more
    encoder: StreamEncoder = messages_out.Encoder(**options)
    return b"".join(encoder.encode(event) for event in events)
