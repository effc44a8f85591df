"""A vendor on this machine that records what it is sent and answers with fixed bytes."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

from providers.sse import encode
from providers.types import Headers
from server.doctor.contract import Seen
from server.headers import first

_MAX_HEAD = 64 * 1024
_MAX_BODY = 4 * 1024 * 1024


class Loopback:
    """Serves ``http://127.0.0.1:PORT/p/PROVIDER`` for every provider at once."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.reply = ""
        """Name of the next answers; a request of another protocol gets that protocol's own."""
        self._writers: set[asyncio.StreamWriter] = set()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request at a time, until the other side ends it."""
        self._writers.add(writer)
        with contextlib.suppress(OSError, ValueError, asyncio.IncompleteReadError):
            while await self._exchange(reader, writer):
                pass
        self._writers.discard(writer)
        writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return False
        line, *lines = head[:-4].split(b"\r\n")
        target = line.split(b" ")[1].decode("latin-1")
        headers: Headers = [(n, v.strip()) for n, _, v in (f.partition(b":") for f in lines)]
        size = int(first(headers, b"content-length") or 0)
        body = await reader.readexactly(min(size, _MAX_BODY))
        _, _, provider, rest = target.split("/", 3)
        path = "/" + rest
        seen = Seen(provider, path.removeprefix("/v1"), headers, body)
        self.seen.append(seen)
        content_type, reply = ANSWERS[self._answer_to(seen)]
        fields = f"content-type: {content_type}\r\ncontent-length: {len(reply)}\r\n"
        writer.write(f"HTTP/1.1 200 OK\r\n{fields}\r\n".encode() + reply)
        await writer.drain()
        return True

    def _answer_to(self, seen: Seen) -> str:
        default, *others = _BY_PATH.get(seen.target.partition("?")[0], ("models",))
        return self.reply if self.reply in others else default

    def end(self) -> None:
        """Close what is still open."""
        for writer in self._writers:
            writer.close()


@asynccontextmanager
async def loopback() -> AsyncIterator[Loopback]:
    """Listen on a free port of this machine while the block lasts."""
    vendor = Loopback()
    server = await asyncio.start_server(vendor.serve, "127.0.0.1", 0, limit=_MAX_HEAD)
    vendor.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield vendor
    finally:
        server.close()
        vendor.end()
        await server.wait_closed()


# ------------------------------------------------------------------------------- answers

_BY_PATH: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "/messages": ("messages", "message"),
        "/messages/count_tokens": ("count",),
        "/models": ("models",),
        "/responses": ("responses", "compaction"),
        "/chat/completions": ("chat",),
    }
)
"""What each path may answer with, its usual answer first."""


def _stream(events: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join(
        encode(str(event["type"]).encode(), json.dumps(event).encode()) for event in events
    )


_USAGE = {"input_tokens": 3, "output_tokens": 2}
_MESSAGE: Mapping[str, Any] = {
    "id": "msg_doctor",
    "type": "message",
    "role": "assistant",
    "model": "claude-opus-5-5",
    "stop_sequence": None,
    "usage": _USAGE,
}
_TEXT = {"type": "text", "text": "ok"}
_END = {"stop_reason": "end_turn", "stop_sequence": None}
_VERDICT = {"safeguard_results": [{"type": "dangerous_tool_use", "verdict": "allow"}]}

_MESSAGES_EVENTS: tuple[dict[str, Any], ...] = (
    {"type": "message_start", "message": {**_MESSAGE, "content": [], "stop_reason": None}},
    {"type": "ping"},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "ok"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {**_END, **_VERDICT}, "usage": _USAGE},
    {"type": "message_stop"},
)


def _responses(item: dict[str, Any]) -> bytes:
    usage = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
    answer = {"id": "resp_doctor", "object": "response", "model": "gpt-5.5"}
    done = {**answer, "status": "completed", "output": [item], "usage": usage}
    begun = {**answer, "status": "in_progress", "output": []}
    return _stream(
        (
            {"type": "response.created", "sequence_number": 0, "response": begun},
            {
                "type": "response.output_item.added",
                "sequence_number": 1,
                "output_index": 0,
                "item": item,
            },
            {
                "type": "response.output_item.done",
                "sequence_number": 2,
                "output_index": 0,
                "item": item,
            },
            {"type": "response.completed", "sequence_number": 3, "response": done},
        )
    )


_CHUNK = {"id": "chat_doctor", "object": "chat.completion.chunk", "model": "m", "created": 1}
_CHOICE = {"index": 0, "delta": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}
_CHAT = b"data: %s\n\ndata: [DONE]\n\n" % json.dumps({**_CHUNK, "choices": [_CHOICE]}).encode()

_SAYING = {
    "type": "message",
    "id": "msg_doctor",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "ok", "annotations": []}],
}
_COMPACTED = {"type": "compaction", "id": "cmp_doctor", "encrypted_content": "b3BhcXVl"}
_MODELS = {
    "data": [{"type": "model", "id": "claude-doctor-model", "display_name": "Doctor"}],
    "has_more": False,
}

ANSWERS: Mapping[str, tuple[str, bytes]] = MappingProxyType(
    {
        "messages": ("text/event-stream", _stream(_MESSAGES_EVENTS)),
        "message": (
            "application/json",
            json.dumps({**_MESSAGE, "content": [_TEXT], "stop_reason": "end_turn"}).encode(),
        ),
        "count": ("application/json", b'{"input_tokens": 17}'),
        "models": ("application/json", json.dumps(_MODELS).encode()),
        "responses": ("text/event-stream", _responses(_SAYING)),
        "chat": ("text/event-stream", _CHAT),
        "compaction": ("text/event-stream", _responses(_COMPACTED)),
    }
)
"""Content type and body of each reply that the contract names."""
