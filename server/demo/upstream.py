"""A simulated vendor on loopback that speaks Anthropic Messages at a human pace."""

from __future__ import annotations

import asyncio
import base64
import secrets
from typing import Any

import h11
import msgspec

from providers.sse import encode
from server.clock import Clock
from server.demo.script import Answer

ANSWER_HEADER = b"x-demo-answer"
"""Carries the scripted ``Answer`` of a request, base64 of its JSON."""

_CHUNK_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"transfer-encoding", b"chunked"),
    (b"request-id", b"req_demo"),
    (b"anthropic-ratelimit-tokens-limit", b"4000000"),
    (b"anthropic-ratelimit-tokens-remaining", b"3812000"),
]


def pack(answer: Answer) -> bytes:
    """``answer`` as the value of ``ANSWER_HEADER``."""
    return base64.b64encode(msgspec.json.encode(answer))


class SimulatedUpstream:
    """Serves scripted answers on a free loopback port."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def base_url(self) -> str:
        """Where it listens."""
        if self._server is None:
            raise RuntimeError("not started")
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def start(self) -> None:
        """Begin to listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def stop(self) -> None:
        """Close every connection."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            await self._connection(reader, writer)
        except (ConnectionError, h11.RemoteProtocolError):
            return
        except asyncio.CancelledError:
            # asyncio's stream callback reports a cancelled connection as an unhandled exception.
            return
        finally:
            writer.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h11.Connection(h11.SERVER)
        while True:
            request, body = await _read_request(http, reader)
            if request is None:
                return
            await self._answer(http, writer, request, body)
            if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
                return
            http.start_next_cycle()

    async def _answer(
        self, http: h11.Connection, writer: asyncio.StreamWriter, request: h11.Request, body: bytes
    ) -> None:
        answer = _scripted(request)
        await self._clock.sleep(answer.first_byte_s)
        if request.target.startswith(b"/v1/messages/count_tokens"):
            await _whole(http, writer, 200, {"input_tokens": answer.input_tokens})
        elif answer.status != 200:
            error = {"type": "overloaded_error", "message": "Overloaded"}
            await _whole(http, writer, answer.status, {"type": "error", "error": error})
        else:
            model = str(msgspec.json.decode(body).get("model"))
            await self._stream(http, writer, answer, model)

    async def _stream(
        self, http: h11.Connection, writer: asyncio.StreamWriter, answer: Answer, model: str
    ) -> None:
        _send(http, writer, h11.Response(status_code=200, headers=_CHUNK_HEADERS))
        words = 0
        for name, event, is_word in _events(answer, model):
            if is_word:
                await self._clock.sleep(1 / answer.words_per_s)
                words += 1
                if answer.cut_after_words is not None and words > answer.cut_after_words:
                    writer.transport.abort()
                    return
            _send(http, writer, h11.Data(data=encode(name.encode(), msgspec.json.encode(event))))
            await writer.drain()
        _send(http, writer, h11.EndOfMessage())
        await writer.drain()


async def _read_request(
    http: h11.Connection, reader: asyncio.StreamReader
) -> tuple[h11.Request | None, bytes]:
    request: h11.Request | None = None
    body = bytearray()
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            data = await reader.read(65536)
            if not data and request is None:
                return None, b""
            http.receive_data(data)
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return request, bytes(body)
        else:
            return None, b""


def _scripted(request: h11.Request) -> Answer:
    for name, value in request.headers:
        if name == ANSWER_HEADER:
            return msgspec.json.decode(base64.b64decode(value), type=Answer)
    return Answer("This is the simulated vendor of the demo.", input_tokens=12)


def _events(answer: Answer, model: str) -> list[tuple[str, dict[str, Any], bool]]:
    """(event name, data, whether it is one word of the paced answer)."""
    usage: dict[str, Any] = {
        "input_tokens": answer.input_tokens,
        "cache_read_input_tokens": answer.cache_read,
        "cache_creation_input_tokens": answer.cache_write,
        "cache_creation": {
            "ephemeral_5m_input_tokens": answer.cache_write,
            "ephemeral_1h_input_tokens": 0,
        },
        "output_tokens": 1,
    }
    message: dict[str, Any] = {
        "id": "msg_" + secrets.token_hex(8),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    out: list[tuple[str, dict[str, Any], bool]] = [
        ("message_start", {"type": "message_start", "message": message}, False)
    ]
    index = 0
    for kind, text in (("thinking", answer.thinking), ("text", answer.text)):
        if text:
            out.extend(_block(index, kind, text))
            index += 1
    if answer.tool:
        out.extend(_tool(index, answer.tool))
    output = len((answer.thinking + answer.text).split()) * 4 // 3 + (30 if answer.tool else 0)
    stop = "tool_use" if answer.tool else "end_turn"
    delta = {"stop_reason": stop, "stop_sequence": None}
    final = {"type": "message_delta", "delta": delta, "usage": {"output_tokens": output}}
    out.append(("message_delta", final, False))
    out.append(("message_stop", {"type": "message_stop"}, False))
    return out


def _block(index: int, kind: str, text: str) -> list[tuple[str, dict[str, Any], bool]]:
    block = {"type": kind, kind: ""}
    start = {"type": "content_block_start", "index": index, "content_block": block}
    out: list[tuple[str, dict[str, Any], bool]] = [("content_block_start", start, False)]
    for word in text.split():
        delta = {"type": f"{kind}_delta", kind: word + " "}
        event = {"type": "content_block_delta", "index": index, "delta": delta}
        out.append(("content_block_delta", event, True))
    out.append(("content_block_stop", {"type": "content_block_stop", "index": index}, False))
    return out


def _tool(index: int, name: str) -> list[tuple[str, dict[str, Any], bool]]:
    block = {"type": "tool_use", "id": "toolu_demo", "name": name, "input": {}}
    start = {"type": "content_block_start", "index": index, "content_block": block}
    delta = {"type": "input_json_delta", "partial_json": '{"path": "src/clock.py"}'}
    event = {"type": "content_block_delta", "index": index, "delta": delta}
    return [
        ("content_block_start", start, False),
        ("content_block_delta", event, True),
        ("content_block_stop", {"type": "content_block_stop", "index": index}, False),
    ]


def _send(http: h11.Connection, writer: asyncio.StreamWriter, event: h11.Event) -> None:
    data = http.send(event)
    if data:
        writer.write(data)


async def _whole(
    http: h11.Connection, writer: asyncio.StreamWriter, status: int, body: dict[str, Any]
) -> None:
    data = msgspec.json.encode(body)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(data)).encode()),
        (b"request-id", b"req_demo"),
    ]
    _send(http, writer, h11.Response(status_code=status, headers=headers))
    _send(http, writer, h11.Data(data=data))
    _send(http, writer, h11.EndOfMessage())
    await writer.drain()
