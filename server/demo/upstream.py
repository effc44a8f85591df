"""Simulated vendors on one loopback port, at a human pace.

``/v1/messages`` speaks Anthropic Messages and says what the request's ``ANSWER_HEADER`` holds.
``/<name>/v1/chat/completions`` is an OpenAI-compatible vendor that makes its answers up.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import socket
from collections.abc import Mapping
from typing import Any

import h11
import msgspec

from providers.sse import encode
from server.clock import Clock
from server.demo import chat_wire, wire
from server.demo.answers import ANSWER_HEADER, CHARS_PER_TOKEN, Answer, unpack
from server.demo.windows import Pairs, Windows
from server.tasks import spawn

CHAT_MODELS: Mapping[str, str] = {
    "groq": "openai/gpt-oss-120b",
    "cerebras": "gpt-oss-120b",
    "cloudflare": "@cf/zai-org/glm-4.7-flash",
}
"""The OpenAI-compatible vendors, and the model each has."""

_MESSAGES_LIMITS = {"requests": 400, "input-tokens": 600_000, "output-tokens": 40_000}
_CHAT_LIMITS = {"requests": 1_000, "tokens": 30_000}
_CHAT_PIECES_PER_S = 60.0
_CHAT_FIRST_BYTE_S = 0.15
_UNSCRIPTED = "This is the simulated vendor of the demo. It has no model to ask."


class SimulatedUpstream:
    """Listens on a free loopback port that stays its own, also while it refuses connections."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._claim: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._idle: set[asyncio.StreamWriter] = set()
        self._windows = Windows(clock, _MESSAGES_LIMITS)
        self._chat_windows = {name: Windows(clock, _CHAT_LIMITS) for name in CHAT_MODELS}

    @property
    def base_url(self) -> str:
        """Where it listens."""
        if self._claim is None:
            raise RuntimeError("not started")
        return f"http://127.0.0.1:{self._claim.getsockname()[1]}"

    @property
    def is_down(self) -> bool:
        """Whether connections are refused."""
        return self._server is None

    async def start(self) -> None:
        """Begin to listen."""
        # Bound and never listening: it keeps the port while the listening socket is gone.
        self._claim = _bound(0)
        await self._listen()

    async def stop(self) -> None:
        """Close every connection."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._claim is not None:
            self._claim.close()

    async def _listen(self) -> None:
        if self._claim is None:
            raise RuntimeError("not started")
        sock = _bound(self._claim.getsockname()[1])
        self._server = await asyncio.start_server(self._serve, sock=sock)

    def go_down(self, seconds: float) -> None:
        """Refuse connections for ``seconds``; answers that have begun still end."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for writer in self._idle:
            writer.transport.abort()
        task = spawn("demo outage", self._come_back(seconds))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _come_back(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        await self._listen()

    # ------------------------------------------------------------------ connections

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        # asyncio's stream callback reports a cancelled connection as an unhandled exception.
        with contextlib.suppress(ConnectionError, h11.RemoteProtocolError, asyncio.CancelledError):
            await self._connection(reader, _Reply(writer))
        self._idle.discard(writer)
        writer.close()

    async def _connection(self, reader: asyncio.StreamReader, reply: _Reply) -> None:
        while not self.is_down:
            self._idle.add(reply.writer)
            request, body = await _read_request(reply.http, reader)
            self._idle.discard(reply.writer)
            if request is None:
                return
            await self._answer(reply, request, body)
            if reply.http.our_state is not h11.DONE or reply.http.their_state is not h11.DONE:
                return
            reply.http.start_next_cycle()

    async def _answer(self, reply: _Reply, request: h11.Request, body: bytes) -> None:
        path = request.target.split(b"?")[0].decode("latin-1")
        if path.startswith("/v1/messages"):
            await self._messages(reply, path, _scripted(request, body), body)
            return
        vendor, *rest = path.removeprefix("/").split("/")
        if vendor not in CHAT_MODELS:
            await reply.whole(404, wire.error("not_found_error", "there is nothing here"))
        elif rest == ["v1", "models"]:
            await reply.whole(200, chat_wire.models((CHAT_MODELS[vendor],)))
        elif rest == ["v1", "chat", "completions"]:
            await self._chat(reply, vendor, body)
        else:
            await reply.whole(404, {"error": {"message": "unknown path", "code": "not_found"}})

    # ------------------------------------------------------------------ Messages

    async def _messages(self, reply: _Reply, path: str, answer: Answer, body: bytes) -> None:
        trouble = answer.trouble
        await self._clock.sleep(answer.first_byte_s)
        reply.headers = [(b"request-id", b"req_" + secrets.token_hex(10).encode())]
        if path.endswith("/count_tokens"):
            await reply.whole(200, {"input_tokens": answer.input_tokens})
            return
        self._windows.spend(_amounts(answer))
        reply.headers += self._windows.anthropic_headers()
        if trouble.status != 200:
            if trouble.status == 429:
                reply.headers.append((b"retry-after", b"1"))
            error = wire.error(trouble.error_type, trouble.message)
            await reply.whole(trouble.status, error)
        else:
            await self._speak(reply, answer, body)
        if trouble.down_s:
            self.go_down(trouble.down_s)

    async def _speak(self, reply: _Reply, answer: Answer, body: bytes) -> None:
        asked = msgspec.json.decode(body)
        model = str(asked.get("model"))
        if asked.get("stream") is not True:
            await self._clock.sleep(answer.output_tokens / 400)
            await reply.whole(200, wire.whole(answer, model))
            return
        await reply.begin_stream()
        said = 0
        for name, data, is_piece in wire.events(answer, model):
            if is_piece:
                await self._clock.sleep(1 / answer.pieces_per_s)
                said += 1
                if said == answer.trouble.cut_after:
                    reply.writer.transport.abort()
                    return
                if said == answer.trouble.error_after:
                    trouble = answer.trouble
                    data = wire.error(trouble.error_type, trouble.message)
                    await reply.event(b"error", data)
                    break
            await reply.event(name.encode(), data)
        await reply.end_stream()

    # ------------------------------------------------------------------ Chat Completions

    async def _chat(self, reply: _Reply, vendor: str, body: bytes) -> None:
        done = chat_wire.complete(msgspec.json.decode(body))
        windows = self._chat_windows[vendor]
        windows.spend({"requests": 1, "tokens": done.usage["total_tokens"]})
        reply.headers = windows.openai_headers()
        await self._clock.sleep(_CHAT_FIRST_BYTE_S)
        if not done.is_streamed:
            await reply.whole(200, chat_wire.whole(done))
            return
        await reply.begin_stream()
        for chunk, is_piece in chat_wire.chunks(done):
            if is_piece:
                await self._clock.sleep(1 / _CHAT_PIECES_PER_S)
            await reply.event(b"", chunk)
        await reply.data(encode(b"", b"[DONE]"))
        await reply.end_stream()


class _Reply:
    """One connection's side of the answers."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.http = h11.Connection(h11.SERVER)
        self.headers: Pairs = []

    async def whole(self, status: int, body: dict[str, Any]) -> None:
        """A JSON answer at once."""
        data = msgspec.json.encode(body)
        length = (b"content-length", b"%d" % len(data))
        headers = [(b"content-type", b"application/json"), length, *self.headers]
        self._send(h11.Response(status_code=status, headers=headers))
        self._send(h11.Data(data=data))
        await self.end_stream()

    async def begin_stream(self) -> None:
        """The head of an event stream."""
        kind = (b"content-type", b"text/event-stream; charset=utf-8")
        headers = [kind, (b"transfer-encoding", b"chunked"), *self.headers]
        self._send(h11.Response(status_code=200, headers=headers))

    async def event(self, name: bytes, data: dict[str, Any]) -> None:
        """One event."""
        await self.data(encode(name, msgspec.json.encode(data)))

    async def data(self, data: bytes) -> None:
        """Bytes of the body."""
        self._send(h11.Data(data=data))
        await self.writer.drain()

    async def end_stream(self) -> None:
        """The clean end of the body."""
        self._send(h11.EndOfMessage())
        await self.writer.drain()

    def _send(self, event: h11.Event) -> None:
        if data := self.http.send(event):
            self.writer.write(data)


def _bound(port: int) -> socket.socket:
    """A socket bound to a loopback port that others of this program may share."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    sock.setblocking(False)
    return sock


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


def _scripted(request: h11.Request, body: bytes) -> Answer:
    for name, value in request.headers:
        if name == ANSWER_HEADER:
            return unpack(value)
    return Answer(_UNSCRIPTED, input_tokens=math.ceil(len(body) / CHARS_PER_TOKEN))


def _amounts(answer: Answer) -> dict[str, int]:
    """What one answer takes from the limits; cache reads do not count."""
    if answer.trouble.status != 200:
        return {"requests": 1}
    return {
        "requests": 1,
        "input-tokens": answer.input_tokens + answer.cache_write,
        "output-tokens": answer.output_tokens,
    }
