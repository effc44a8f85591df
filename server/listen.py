"""Binding, serving and draining: Hypercorn behind the framing guard."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import secrets
import socket
from typing import Any, cast

from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.lifespan import Lifespan
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.typing import ASGIFramework

from server.connections import HeadJoiner, IdleConnections
from server.guard import GuardedReader
from server.tasks import spawn

KEEP_ALIVE_S = 120.0
"""Longer than the idle time of any client pool, so that the client closes first."""

BACKLOG = 2048


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
    """Every default of the server that would break a long stream, overridden."""
    config = Config()
    config.backlog = BACKLOG
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.keep_alive_max_requests = 10_000_000
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.include_date_header = False
    config.alpn_protocols = ["http/1.1"]
    config.h11_pass_raw_headers = True
    config.h11_max_incomplete_size = 64 * 1024
    config.graceful_timeout = 2.0
    return config


def assert_config(config: Config) -> None:
    """Fail at start, not in the middle of a stream, when a library changed under us."""
    expected: dict[str, Any] = {
        "read_timeout": None,
        "max_requests": None,
        "keep_alive_timeout": KEEP_ALIVE_S,
        "alpn_protocols": ["http/1.1"],
        "h11_pass_raw_headers": True,
        "include_server_header": False,
    }
    wrong = {k: getattr(config, k, None) for k, v in expected.items() if getattr(config, k) != v}
    if wrong or config.ssl_enabled:
        raise RuntimeError(f"the HTTP server is not configured as needed: {wrong}")


class Listener:
    """Serves an ASGI application on one bound socket until ``close``."""

    def __init__(self, app: ASGIFramework, sock: socket.socket) -> None:
        self._app = ASGIWrapper(self._told(app))
        self._is_leaving = False
        self._emptied = asyncio.Event()
        self._sock = sock
        self._config = hypercorn_config()
        assert_config(self._config)
        self._context = WorkerContext(None)
        self._state: dict[str, Any] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self._idle = IdleConnections(KEEP_ALIVE_S)
        self._server: asyncio.Server | None = None
        self._lifespan: Lifespan | None = None
        self._lifespan_task: asyncio.Task[None] | None = None
        self.nonce = secrets.token_hex(16).encode()

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
        self._is_leaving = True
        if self._server is not None:
            self._server.close()
        self._look_if_empty()

    async def emptied(self) -> None:
        """Wait until the last connection has ended after ``leave``."""
        await self._emptied.wait()

    def _look_if_empty(self) -> None:
        if self._is_leaving and not self._connections:
            self._emptied.set()

    def _told(self, app: ASGIFramework) -> ASGIFramework:
        """``app``; a request that comes while we leave is told that its connection ends.

        Decided with the request, so that an answer's pieces take no detour in ordinary times.
        """

        async def serve(scope: Any, receive: Any, send: Any) -> None:
            if not self._is_leaving or scope["type"] != "http":
                await app(scope, receive, send)
                return

            async def say_close(event: Any) -> None:
                if event["type"] == "http.response.start":
                    event = {**event, "headers": [*event["headers"], (b"connection", b"close")]}
                await send(event)

            await app(scope, receive, say_close)

        return cast(ASGIFramework, serve)

    async def start(self) -> None:
        """Run the application's start-up and accept connections."""
        loop = asyncio.get_running_loop()
        self._lifespan = Lifespan(self._app, self._config, loop, self._state)
        self._lifespan_task = spawn("lifespan", self._lifespan.handle_lifespan())
        await self._lifespan.wait_for_startup()
        self._server = await asyncio.start_server(self._connected, sock=self._sock, backlog=BACKLOG)
        self._idle.start()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._connections.add(task)
        task.add_done_callback(self._ended)
        guarded = cast(asyncio.StreamReader, GuardedReader(reader, self.nonce))
        loop = asyncio.get_running_loop()
        state = cast(Any, self._state)
        joining = cast(asyncio.StreamWriter, HeadJoiner(writer))
        server = TCPServer(self._app, loop, self._config, self._context, state, guarded, joining)
        self._idle.watch(server)
        # Only ``close`` cancels this task, and asyncio would report that as a crash of ours.
        with contextlib.suppress(asyncio.CancelledError):
            await server

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._connections.discard(task)
        self._look_if_empty()

    async def close(self) -> None:
        """Stop accepting, let idle connections go, then end what is left after a short grace."""
        await self._context.terminated.set()
        if self._server is not None:
            self._server.close()
        await self._idle.close()
        pending = set(self._connections)
        if pending:
            await asyncio.wait(pending, timeout=self._config.graceful_timeout)
        for task in list(self._connections):
            task.cancel()
        if self._connections:
            await asyncio.wait(set(self._connections), timeout=self._config.graceful_timeout)
        if self._server is not None:
            await self._server.wait_closed()
        if self._lifespan is not None and self._lifespan_task is not None:
            await self._lifespan.wait_for_shutdown()
            self._lifespan_task.cancel()
