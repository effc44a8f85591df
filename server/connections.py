"""What the listener puts around each connection of the HTTP server underneath."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import AsyncioSingleTask

from server.tasks import spawn

SWEEP_S = 5.0
"""How exactly the idle time-out is kept."""

CLOSE_STALL_S = 60.0
"""How long the peer of a connection that is to be closed may take no byte of what waits for it."""

_Action = Callable[[], Coroutine[Any, Any, None]]


class IdleConnections:
    """Closes connections that carry no request for ``timeout_s`` seconds.

    Hypercorn keeps one task a connection for that, ends and starts it with every request, and
    holds on to a connection that its client has closed until that task is over.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._since: dict[_IdleMark, float] = {}
        self._sweeper: asyncio.Task[None] | None = None
        self.is_closing = False

    def start(self) -> None:
        """Begin to look for idle connections."""
        self._sweeper = spawn("idle connections", self._sweep())

    def watch(self, server: TCPServer) -> None:
        """Take over the idle time-out of a connection that has not begun to run."""
        server.idle_task = cast(AsyncioSingleTask, _IdleMark(server, self))

    async def close(self) -> None:
        """Close the connections that are idle, and from now on each as soon as it is."""
        self.is_closing = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for mark in list(self._since):
            await mark.close()

    async def begins(self, mark: _IdleMark) -> None:
        """A connection carries no request any more, or not yet."""
        self.ends(mark)
        if self.is_closing:
            await mark.close()
        else:
            self._since[mark] = asyncio.get_running_loop().time()

    def ends(self, mark: _IdleMark) -> None:
        """A connection carries a request, or is over."""
        self._since.pop(mark, None)

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            last_good = loop.time() - self._timeout_s
            # The oldest come first, because a mark that is set again goes to the end.
            for mark, since in list(self._since.items()):
                if since > last_good:
                    break
                await mark.close()


class _IdleMark:
    """Stands where the server expects its idle task."""

    __slots__ = ("_idle", "_server")

    def __init__(self, server: TCPServer, idle: IdleConnections) -> None:
        self._server = server
        self._idle = idle

    async def restart(self, task_group: object, action: _Action) -> None:
        """The server says that the connection is idle."""
        await self._idle.begins(self)

    async def stop(self) -> None:
        """The server says that a request has begun, or that the connection is over."""
        self._idle.ends(self)

    async def close(self) -> None:
        """End the connection as the server itself would."""
        self._idle.ends(self)
        await self._server._initiate_server_close()


class HeadJoiner:
    """Stands where the server expects an ``asyncio.StreamWriter``.

    The head of an answer waits for what is written in the same turn of the loop, usually the
    first of its body, so that both leave in one packet; everything else passes at once.
    """

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._head = b""
        self._flusher: asyncio.Handle | None = None

    def write(self, data: bytes) -> None:
        """Send ``data``, joined to a head that waits."""
        if self._flusher is not None:
            self._flusher.cancel()
            self._flusher = None
            head, self._head = self._head, b""
            self._writer.write(head + data)
        elif data.startswith(b"HTTP/1.1 "):
            self._head = data
            self._flusher = self._loop.call_soon(self._flush)
        else:
            self._writer.write(data)

    def _flush(self) -> None:
        if self._flusher is not None:
            self.write(b"")

    async def drain(self) -> None:
        """Wait while the socket takes no more."""
        await self._writer.drain()

    def write_eof(self) -> None:
        """Send what waits, then the end."""
        self._flush()
        self._writer.write_eof()

    def close(self) -> None:
        """Send what waits, then close; cut a connection whose peer takes none of it."""
        self._flush()
        self._writer.close()
        self._cut_if_stalled(None)

    def _cut_if_stalled(self, before: int | None) -> None:
        transport = self._writer.transport
        waiting = transport.get_write_buffer_size()
        if before is not None and waiting >= before:
            transport.abort()
        elif waiting:
            self._loop.call_later(CLOSE_STALL_S, self._cut_if_stalled, waiting)

    async def wait_closed(self) -> None:
        """Wait until the socket is closed."""
        await self._writer.wait_closed()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the transport knows."""
        return self._writer.get_extra_info(name, default)
