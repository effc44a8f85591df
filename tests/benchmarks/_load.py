"""The client's side of the benchmark: raw sockets, prepared bytes, nothing that could queue.

Times are nanoseconds of CLOCK_MONOTONIC, which the upstream stamps its deltas with.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from agent_bodies import assistant, main_turn, text, tool, tool_result, tool_use, user

_STAMP = re.compile(rb"@(\d+)@")
_LENGTH = re.compile(rb"\r\ncontent-length:[ ]*(\d+)", re.I)
_LAST_CHUNK = b"\r\n0\r\n\r\n"

_PROSE = (
    "The parser keeps one line of look-ahead, so a comment that spans two lines is joined before "
    "it is measured; whoever changes that has to change the table of widths as well. "
)
_CODE = (
    "    def resolve(self, name: str) -> Entry | None:\n"
    "        for scope in reversed(self._scopes):\n"
    "            if (entry := scope.get(name)) is not None:\n"
    "                return entry\n"
    "        return self._outer.resolve(name) if self._outer else None\n\n"
)


_NUMBER = "@0000000000@"


class Body:
    """A request body that differs in its last message whenever it is sent, as a session's do."""

    def __init__(self, whole: bytes) -> None:
        self.size = len(whole)
        self._before, _, self._after = whole.partition(_NUMBER.encode())
        self._sent = 0

    def next(self) -> tuple[bytes, bytes, bytes]:
        """The parts of the next one."""
        self._sent += 1
        return self._before, b"@%010d@" % self._sent, self._after


def agent_body(size: int, *, stream: bool = True) -> Body:
    """A turn in the middle of a coding session, about ``size`` bytes of JSON.

    A third is tool definitions and instructions, the rest a loop of tool calls and results that
    ends with a result, as nearly all requests of an agent do.
    """
    mark = {"cache_control": {"type": "ephemeral"}}
    tools = [
        tool(f"Tool{n}", input_schema={"type": "object", "properties": {"path": _schema(n)}})
        for n in range(max(2, size // 6 // 900))
    ]
    system = [text("You are Claude Code."), text(_PROSE * max(1, size // 6 // len(_PROSE)), **mark)]
    messages = [user("Find out why the parser loses comments, and mend it.")]
    step = 2_000
    for number in range(max(1, size * 2 // 3 // (step + 400))):
        call = f"toolu_{number:04d}"
        path = f"/home/user/project/src/part_{number}.py"
        messages.append(assistant(_PROSE, tool_use("Read", call, file_path=path)))
        result = (_CODE * (step // len(_CODE) + 1))[:step]
        messages.append(user(tool_result([text(result)], call)))
    messages[-1]["content"].append(text(f"That was the {_NUMBER}th call."))
    body = main_turn(*messages, system=system, tools=tools, stream=stream)
    return Body(json.dumps(body, separators=(",", ":")).encode())


def _schema(number: int) -> dict[str, str]:
    return {"type": "string", "description": _PROSE * 4 + str(number)}


HEADERS = (
    b"Accept: application/json\r\n"
    b"Content-Type: application/json\r\n"
    b"User-Agent: claude-cli/2.1.330 (external, cli)\r\n"
    b"X-Claude-Code-Session-Id: 00000000-0000-4000-8000-00000000be5c\r\n"
    b"X-Stainless-Arch: x64\r\n"
    b"X-Stainless-Lang: js\r\n"
    b"X-Stainless-OS: Linux\r\n"
    b"X-Stainless-Package-Version: 0.128.0\r\n"
    b"X-Stainless-Retry-Count: 0\r\n"
    b"X-Stainless-Runtime: node\r\n"
    b"X-Stainless-Runtime-Version: v26.12.1\r\n"
    b"X-Stainless-Timeout: 600\r\n"
    b"anthropic-beta: claude-code-20250219,interleaved-thinking-2025-05-14\r\n"
    b"anthropic-version: 2023-06-01\r\n"
    b"x-api-key: sk-ant-api03-benchmark-client-key-0123456789abcdef\r\n"
    b"x-app: cli\r\n"
    b"x-sbgw-key: local-dev-key\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\n"
)


@dataclass(slots=True)
class Reply:
    """One answer as it arrived."""

    sent: int
    first: int = 0
    """When the first stamped delta was there; 0 if none was."""
    ended: int = 0
    written: list[int] = field(default_factory=list)
    """When the upstream wrote each delta."""
    late: list[int] = field(default_factory=list)
    """How long each delta was under way."""


class BenchError(RuntimeError):
    """A target answered wrongly: its figures would mean nothing."""


class _Socket(asyncio.BufferedProtocol):
    """One keep-alive connection, one request at a time."""

    _buffer = memoryview(bytearray(256 * 1024))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=4 << 20)
        self._done: asyncio.Future[Reply] | None = None

    def exchange(self, data: bytes) -> asyncio.Future[Reply]:
        self._head: bytes | None = b""
        self._left: int | None = None
        self._tail = self._line = b""
        self._done = asyncio.get_running_loop().create_future()
        self._reply = Reply(time.monotonic_ns())
        self._transport.write(data)
        return self._done

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        now = time.monotonic_ns()
        data = bytes(self._buffer[:nbytes])
        if self._done is None or self._done.done():
            return
        if self._head is not None:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            self._head = None
            if not head.startswith(b"HTTP/1.1 200 "):
                self._fail(f"answered {head[:200]!r} {data[:300]!r}")
                return
            length = _LENGTH.search(head)
            self._left = int(length[1]) if length else None
        self._body(data, now)

    def _body(self, data: bytes, now: int) -> None:
        reply = self._reply
        cut = data.rfind(b"\n") + 1
        for stamp in _STAMP.findall(self._line + data[:cut] if self._line else data[:cut]):
            if not reply.first:
                reply.first = now
            reply.written.append(int(stamp))
            reply.late.append(now - reply.written[-1])
        self._line = (self._line if not cut else b"") + data[cut:]
        if self._left is not None:
            self._left -= len(data)
            is_over = self._left <= 0
        else:
            self._tail = (self._tail + data)[-len(_LAST_CHUNK) :]
            is_over = self._tail == _LAST_CHUNK
        if is_over and self._done is not None:
            reply.ended = now
            self._done.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("closed the connection")

    def _fail(self, what: str) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(BenchError(what))

    def close(self) -> None:
        self._done = None
        self._transport.abort()


class Client:
    """Connections to one target; the one used last is used first."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[_Socket] = []

    async def ask(self, plan: str, body: Body) -> Reply:
        """POST ``body``; ``plan`` tells the upstream what to answer."""
        head = b"POST /v1/messages?beta=true HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % self._port
        fields = b"x-bench: %s\r\nContent-Length: %d\r\n\r\n" % (plan.encode(), body.size)
        data = b"".join((head, HEADERS, fields, *body.next()))
        sock = self._idle.pop() if self._idle else await self._connect()
        reply = await sock.exchange(data)
        self._idle.append(sock)
        return reply

    async def _connect(self) -> _Socket:
        loop = asyncio.get_running_loop()
        _, sock = await loop.create_connection(_Socket, "127.0.0.1", self._port)
        return sock

    def close(self) -> None:
        """Drop all connections."""
        for sock in self._idle:
            sock.close()
        self._idle.clear()


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that ``percent`` of ``values`` do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


async def sequential(client: Client, plan: str, body: Body, count: int) -> list[float]:
    """Milliseconds to the last byte of ``count`` requests, one after the other."""
    times = []
    for _ in range(count):
        reply = await client.ask(plan, body)
        times.append((reply.ended - reply.sent) / 1e6)
    return times


async def closed_loop(
    client: Client, plan: str, body: Body, width: int, seconds: float
) -> tuple[int, float]:
    """Requests that ``width`` clients, each waiting for its answer, got done, and the seconds."""
    done = 0
    start = time.monotonic()

    async def worker() -> None:
        nonlocal done
        while time.monotonic() - start < seconds:
            await client.ask(plan, body)
            done += 1

    await asyncio.gather(*(worker() for _ in range(width)))
    return done, time.monotonic() - start


@dataclass(frozen=True, slots=True)
class Streams:
    """Many paced answers at once, with a few short requests coming and going beside them."""

    count: int
    chunks: int
    interval_ms: int
    first_ms: int = 20
    beside_per_s: float = 4.0

    @property
    def plan(self) -> str:
        """What the upstream is asked for."""
        return f"stream/{self.chunks}/{self.interval_ms}/{self.first_ms}"


@dataclass(frozen=True, slots=True)
class StreamFigures:
    """Milliseconds; ``late`` only while all streams ran."""

    late: list[float]
    first: list[float]
    chunks: int
    seconds: float
    """From the first request to the last byte."""


async def streams(client: Client, load: Streams, body: Body) -> StreamFigures:
    """Run ``load``; raises ``BenchError`` when a delta is missing."""
    # Spread over the interval: real streams do not tick together.
    apart_s = load.interval_ms / 1e3 * 7 / load.count

    async def one(number: int) -> Reply:
        await asyncio.sleep(number * apart_s)
        reply = await client.ask(load.plan, body)
        if len(reply.late) != load.chunks:
            raise BenchError(f"{len(reply.late)} of {load.chunks} deltas arrived")
        return reply

    over = asyncio.Event()

    async def beside() -> None:
        while not over.is_set():
            await asyncio.sleep(1 / load.beside_per_s)
            await client.ask("burst", body)

    async def all_streams() -> list[Reply]:
        try:
            return await asyncio.gather(*(one(number) for number in range(load.count)))
        finally:
            over.set()

    start = time.monotonic()
    replies, _ = await asyncio.gather(all_streams(), beside())
    seconds = time.monotonic() - start
    begin = max(reply.first for reply in replies)
    end = min(reply.written[-1] for reply in replies)
    return StreamFigures(
        late=[
            late / 1e6
            for reply in replies
            for late, at in zip(reply.late, reply.written, strict=True)
            if begin <= at <= end
        ],
        first=[(reply.first - reply.sent) / 1e6 for reply in replies],
        chunks=load.count * load.chunks,
        seconds=seconds,
    )
