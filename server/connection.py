"""One client connection: Hypercorn's connection and streams, our reading and writing of HTTP/1.1.

Hypercorn's own protocol parses with h11, which accepts more than one reading of a request and is
most of what a small request or a chunk costs. Here the framing guard reads. What it refuses is
handed on like a request, with the refusal in ``scope["state"]``, so that it is answered in order
and in the shape of the client's protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
from enum import Enum, auto
from typing import Any, cast

from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.protocol.events import Body, EndBody, Event, Request, Response, StreamClosed
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.typing import AppWrapper, ConnectionState, LifespanState
from hypercorn.utils import parse_socket_addr

from server.answer import Answer
from server.connections import Connections
from server.guard import END, FramingGuard, Head, Refused

REFUSAL = "sbgw.refused"
"""Key of ``scope["state"]`` with the ``Refused`` of a request that cannot be served."""

MOST_READ = 256 * 1024
"""Bytes taken from the socket's buffer at once."""

MOST_PIPELINED = 64 * 1024
"""Bytes of later requests that are kept while one is answered; then the client has to wait."""

WRITE_ROOM = 64 * 1024
"""Bytes that may wait for the socket before who writes has to wait."""

LINGER_S = 2.0
"""How long, after the last answer, what the client goes on sending is taken and dropped.

Closing on unread bytes resets the connection, and the client may never see that answer.
"""

LINGER_BYTES = 4 * 1024 * 1024
"""How much of it."""

CLOSE_STALL_S = 60.0
"""How long the peer of a connection that is to be closed may take no byte of what waits for it."""

_STREAM = 1
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class _State(Enum):
    IDLE = auto()
    SERVING = auto()
    LEAVING = auto()
    """The last answer is out; what still comes is dropped."""
    CLOSED = auto()


class _Serving:
    """One request and its answer."""

    __slots__ = ("answer", "connection", "has_all", "stream")

    def __init__(self, connection: Connection, answer: Answer) -> None:
        self.connection = connection
        self.answer = answer
        self.stream: HTTPStream
        self.has_all = False
        """Whether the request is here to its end."""

    async def told(self, event: Event) -> None:
        """What the stream says of its answer."""
        await self.connection.answer(self.answer, event)

    async def give_up(self) -> None:
        """Tell the application, if it runs, that nobody takes or sends any more."""
        # Also so that the two hold each other no longer, which only a collector would end.
        self.stream.send = _to_nobody
        await self.stream.handle(StreamClosed(_STREAM))


async def _to_nobody(event: Event) -> None:
    """What a stream says of an answer that was given up."""


class Connection(TCPServer):
    """Serves the requests of one connection, one after another, until either side ends it."""

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        all_connections: Connections[Connection],
    ) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(app, loop, config, context, LifespanState({}), reader, writer)
        self.serving: _Serving | None = None
        self._all = all_connections
        self._guard = FramingGuard()
        self._state = _State.IDLE
        self._room = asyncio.Event()
        """Set when bytes of later requests may be taken again."""
        self._dropped = 0
        self._head = b""
        self._head_flusher: asyncio.Handle | None = None

    async def run(self) -> None:
        """Read and serve until the connection ends."""
        sock = self.writer.get_extra_info("socket")
        try:
            self._client = parse_socket_addr(sock.family, sock.getpeername())
            self._server = parse_socket_addr(sock.family, sock.getsockname())
            async with TaskGroup(self.loop) as self._task_group:
                self._all.idles(self)
                await self._read_data()
        except OSError:
            return
        finally:
            self._all.works(self)
            await self._close()

    # ------------------------------------------------------------------ reading

    async def _read_data(self) -> None:
        read, guard = self.reader.read, self._guard
        with contextlib.suppress(OSError):
            while data := await read(MOST_READ):
                if self._state is _State.LEAVING:
                    self._dropped += len(data)
                    if self._dropped > LINGER_BYTES:
                        break
                    continue
                guard.feed(data)
                await self._advance()
                while self._state is _State.SERVING and guard.waiting > MOST_PIPELINED:
                    self._room.clear()
                    await self._room.wait()
        self._state = _State.CLOSED
        await self._give_up()

    async def _advance(self) -> None:
        """Hand on what the client has sent, up to the end of the request that is answered."""
        while self._state in (_State.IDLE, _State.SERVING):
            serving = self.serving
            if serving is not None and serving.has_all:
                return
            try:
                event = self._guard.next()
            except Refused as refusal:
                await self._refuse(refusal)
                return
            if event is None:
                return
            if isinstance(event, Head):
                await self._begin(event, {})
            elif serving is not None:
                serving.has_all = event == END
                part = EndBody(_STREAM) if serving.has_all else Body(_STREAM, event)
                await serving.stream.handle(part)

    async def _refuse(self, refusal: Refused) -> None:
        """Answer what cannot be served; also in the place of a request whose body is at fault."""
        serving = self.serving
        if serving is not None:
            if serving.answer.is_started:
                await self._leave()
                return
            refusal.target = serving.stream.scope["raw_path"]
        await self._give_up()
        head = Head("GET", refusal.target, "1.1", [], 0, keeps_open=False, awaits_continue=False)
        begun = await self._begin(head, {REFUSAL: refusal})
        begun.has_all = True
        await begun.stream.handle(EndBody(_STREAM))

    async def _begin(self, head: Head, state: dict[str, Any]) -> _Serving:
        self._state = _State.SERVING
        self._all.works(self)
        if head.awaits_continue and not self._guard.waiting:
            self.writer.write(_CONTINUE)
        answer = Answer(head.method, head.version, is_last=not head.keeps_open)
        self.serving = serving = _Serving(self, answer)
        serving.stream = HTTPStream(
            self.app,
            self.config,
            self.context,
            self._task_group,
            False,
            self._client,
            self._server,
            serving.told,
            _STREAM,
        )
        request = Request(
            stream_id=_STREAM,
            headers=head.headers,
            http_version=head.version,
            method=head.method,
            raw_path=head.target,
            state=ConnectionState(state),
        )
        await serving.stream.handle(request)
        return serving

    # ------------------------------------------------------------------ writing

    async def answer(self, answer: Answer, event: Event) -> None:
        """Put on the wire what the stream of the request that is served says."""
        kind = type(event)
        if kind is Body:
            self._send(answer.body(cast(Body, event).data))
            if self.writer.transport.get_write_buffer_size() > WRITE_ROOM:
                with contextlib.suppress(ConnectionError):
                    await self.writer.drain()
        elif kind is Response:
            response = cast(Response, event)
            answer.is_last = answer.is_last or self._all.is_leaving
            self._head = answer.start(response.status_code, response.headers)
            self._head_flusher = self.loop.call_soon(self._flush)
        elif kind is EndBody:
            self._send(answer.end())
        elif kind is StreamClosed:
            await self._answered(answer)

    def _send(self, data: bytes) -> None:
        """Write, in one packet with a head that waits."""
        if self._head_flusher is not None:
            self._head_flusher.cancel()
            self._head_flusher = None
            data, self._head = self._head + data, b""
        if data and not self.writer.transport.is_closing():
            self.writer.write(data)

    def _flush(self) -> None:
        self._send(b"")

    # ------------------------------------------------------------------ ending

    async def _answered(self, answer: Answer) -> None:
        """The stream has nothing more to say, whether its answer is whole or not."""
        serving = self.serving
        await self._give_up()
        if answer.is_whole and not answer.is_last and serving is not None and serving.has_all:
            self._state = _State.IDLE
            self._room.set()
            self._all.idles(self)
            if self._guard.waiting:
                await self._advance()
        elif answer.is_whole:
            await self._leave()
        else:
            self.close()

    async def _give_up(self) -> None:
        serving, self.serving = self.serving, None
        if serving is not None:
            await serving.give_up()

    async def _leave(self) -> None:
        """End the connection so that the client sees all of the last answer."""
        self._room.set()
        if self._guard.is_between or self._state is _State.CLOSED:
            self.close()
            return
        self._state = _State.LEAVING
        await self._give_up()
        self._flush()
        with contextlib.suppress(OSError, RuntimeError):
            self.writer.write_eof()
        self.loop.call_later(LINGER_S, self.close)

    def close(self) -> None:
        """Send what waits, then close; cut a connection whose peer takes none of it."""
        self._flush()
        self._state = _State.CLOSED
        self._room.set()
        if not self.writer.transport.is_closing():
            self.writer.close()
            self._cut_if_stalled(None)

    def _cut_if_stalled(self, before: int | None) -> None:
        transport = self.writer.transport
        waiting = transport.get_write_buffer_size()
        if before is not None and waiting >= before:
            transport.abort()
        elif waiting:
            self.loop.call_later(CLOSE_STALL_S, self._cut_if_stalled, waiting)

    async def _close(self) -> None:
        self.close()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self.writer.wait_closed()
