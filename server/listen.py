"""Binding, serving and draining."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from typing import cast

from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.lifespan import Lifespan
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.typing import ASGIFramework, LifespanState

from server.connection import Connection
from server.connections import Connections
from server.tasks import spawn

KEEP_ALIVE_S = 120.0
"""Longer than the idle time of any client pool, so that the client closes first."""

BACKLOG = 2048

READ_AHEAD = 256 * 1024
"""Half of what may come before the client has to wait; a long prompt takes few turns so."""

GRACE_S = 2.0
"""How long connections are given to end by themselves, and again once they were told to."""


class BindError(Exception):
    """The address cannot be listened on; ``str()`` is one line for the user."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        self.host = host
        self.port = port
        self.is_taken = error.errno == errno.EADDRINUSE
        super().__init__(f"cannot listen on {host}:{port}: {error.strerror or error}")


def bind(host: str, port: int) -> socket.socket:
    """A bound, not yet listening socket; ``port`` 0 picks a free one."""
    try:
        info = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        sock = socket.socket(info[0], info[1], info[2])
    except OSError as error:
        raise BindError(host, port, error) from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)
        sock.bind(info[4])
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise BindError(host, port, error) from error
    return sock


def hypercorn_config() -> Config:
    """What its connections and streams go by; raises ``RuntimeError`` if a new version differs."""
    config = Config()
    config.accesslog = config.errorlog = None
    # A full queue would stop the connection for as long as the application reads no body; what
    # comes is bounded by the settings, and dropped once it is refused.
    config.max_app_queue_size = 0
    if config.server_names or config.ssl_enabled:
        raise RuntimeError("the HTTP server is not configured as needed")
    return config


class Listener:
    """Serves an ASGI application on one bound socket until ``close``."""

    def __init__(self, app: ASGIFramework, sock: socket.socket) -> None:
        self._app = ASGIWrapper(app)
        self._emptied = asyncio.Event()
        self._sock = sock
        self._config = hypercorn_config()
        self._context = WorkerContext(None)
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: Connections[Connection] = Connections(KEEP_ALIVE_S)
        self._server: asyncio.Server | None = None
        self._lifespan: Lifespan | None = None
        self._lifespan_task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port really bound."""
        return int(self._sock.getsockname()[1])

    def fileno(self) -> int:
        """The descriptor of the listening socket."""
        return self._sock.fileno()

    def leave(self) -> None:
        """Accept no more; connections that are open end with their next request's answer.

        The port stays open as long as another process holds the socket too.
        """
        self._connections.is_leaving = True
        if self._server is not None:
            self._server.close()
        self._look_if_empty()

    async def emptied(self) -> None:
        """Wait until the last connection has ended after ``leave``."""
        await self._emptied.wait()

    def _look_if_empty(self) -> None:
        if self._connections.is_leaving and not self._tasks:
            self._emptied.set()

    async def start(self) -> None:
        """Run the application's start-up and accept connections."""
        loop = asyncio.get_running_loop()
        self._lifespan = Lifespan(self._app, self._config, loop, LifespanState({}))
        self._lifespan_task = spawn("lifespan", self._lifespan.handle_lifespan())
        await self._lifespan.wait_for_startup()
        self._server = await asyncio.start_server(
            self._connected, sock=self._sock, backlog=BACKLOG, limit=READ_AHEAD
        )
        self._connections.start()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        connection = Connection(
            self._app, self._config, self._context, reader, writer, self._connections
        )
        # Only ``close`` cancels this task, and asyncio would report that as a crash of ours.
        with contextlib.suppress(asyncio.CancelledError):
            await connection

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._look_if_empty()

    async def close(self) -> None:
        """Stop accepting, let idle connections go, then end what is left after a short grace."""
        if self._server is not None:
            self._server.close()
        self._connections.close()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=GRACE_S)
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=GRACE_S)
        if self._server is not None:
            await self._server.wait_closed()
        if self._lifespan is not None and self._lifespan_task is not None:
            await self._lifespan.wait_for_shutdown()
            self._lifespan_task.cancel()
