"""Opens connections: name lookup, TCP (RFC 8305), HTTP proxy tunnel, TLS; maps what can go wrong.

Who is to blame decides the error. ``Offline`` is this machine's fault and opens no breaker: no
name server answered, there is no route, or a name that used to resolve (or any name, while there
is no default route) does not exist any more. A name that does not exist while the network works
is a wrong setting, hence a plain ``ConnectFailed`` that says so. A reset in mid-handshake is a
``ConnectFailed`` too; ``TlsFailed`` means that the two sides could not agree or trust each other.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import ssl
from collections.abc import Callable
from typing import Any, NoReturn

from providers._h1 import Connection
from providers._h1_parser import MAX_HEAD_BYTES
from providers._origin import Origin
from providers.errors import ConnectFailed, ConnectTimeout, Offline, ProxyFailed, TlsFailed
from providers.proxy import Proxy
from providers.tls import make_context

HAPPY_EYEBALLS_DELAY_S = 0.25
"""RFC 8305's recommended pause before the next address is tried as well."""
MAX_ADDRESSES = 8

Address = tuple[int, Any]
"""Socket family and the address to connect to."""

_UNREACHABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})
_NO_SUCH_NAME = frozenset(
    code
    for name in ("EAI_NONAME", "EAI_NODATA")
    if (code := getattr(socket, name, None)) is not None
)


class Dialer:
    """Makes connections to origins, through proxies where told; remembers names that resolved."""

    def __init__(self, ssl_context: ssl.SSLContext | None, timeout_s: float) -> None:
        self._ssl_context = ssl_context
        self._timeout_s = timeout_s
        self._resolved: set[str] = set()

    async def connect(self, origin: Origin, proxy: Proxy | None, conn: Connection) -> None:
        """Connect ``conn`` to ``origin``; name lookup, TCP, tunnel and TLS share one timeout.

        Raises ``ConnectFailed`` or one of its subclasses. Cancelling closes what was opened.
        """
        stage = _Stage(origin, proxy)
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._connect(stage, conn)
        except TimeoutError:
            conn.abort()
            raise stage.timed_out(self._timeout_s) from None
        except BaseException:
            conn.abort()
            raise

    async def _connect(self, stage: _Stage, conn: Connection) -> None:
        target = stage.proxy or stage.origin
        addresses = await self._lookup(stage, target.host, target.port)
        stage.name = "connect"
        try:
            sock = await connect_any(addresses)
        except OSError as error:
            raise stage.refused(error) from None
        if stage.proxy is not None and stage.origin.scheme == "https":
            await self._through_tunnel(stage, sock, conn, stage.proxy)
        elif stage.origin.scheme == "https":
            stage.name = "tls"
            await _adopt(sock, lambda: conn, stage, self._tls(), stage.origin.host)
        else:
            await _adopt(sock, lambda: conn, stage)

    async def _lookup(self, stage: _Stage, host: str, port: int) -> list[Address]:
        literal = _literal(host, port)
        if literal is not None:
            return [literal]
        try:
            addresses = await resolve(host, port)
        except socket.gaierror as error:
            if error.errno in _NO_SUCH_NAME and host not in self._resolved and has_route():
                stage.no_such_name()
            raise stage.offline(f"{host} cannot be looked up") from None
        except UnicodeError:
            stage.no_such_name()
        self._resolved.add(host)
        return interleave(addresses)

    async def _through_tunnel(
        self, stage: _Stage, sock: socket.socket, conn: Connection, proxy: Proxy
    ) -> None:
        loop = asyncio.get_running_loop()
        stage.name = "proxy"
        tunnel = _Tunnel(stage)
        raw = await _adopt(sock, lambda: tunnel, stage)
        try:
            raw.write(proxy.connect_head(stage.origin.label))
            await tunnel.opened
            stage.name = "tls"
            transport = await _start_tls(loop, raw, conn, self._tls(), stage)
        except BaseException:
            raw.abort()
            raise
        conn.attach(transport)

    def _tls(self) -> ssl.SSLContext:
        if self._ssl_context is None:
            self._ssl_context = make_context()
        return self._ssl_context


class _Stage:
    """How far a connection attempt has come, and the error that fits there."""

    def __init__(self, origin: Origin, proxy: Proxy | None) -> None:
        self.origin = origin
        self.proxy = proxy
        self.name = "lookup"

    def offline(self, why: str) -> Offline:
        return Offline(
            f"Cannot reach {self.origin.label}: this machine seems to be offline ({why})."
        )

    def no_such_name(self) -> NoReturn:
        if self.proxy is not None:
            raise ProxyFailed(
                f"The proxy host {self.proxy.host} does not exist. Check the proxy setting."
            ) from None
        raise ConnectFailed(
            f"The host {self.origin.host} does not exist (asked for {self.origin.label}). "
            "Check the base_url in the settings."
        ) from None

    def timed_out(self, seconds: float) -> ConnectFailed:
        if self.name == "lookup":
            return self.offline(f"no name server answered within {seconds:g} seconds")
        if self.proxy is not None and self.name != "tls":
            return ProxyFailed(
                f"The proxy {self.proxy.label} did not open a way to {self.origin.label} "
                f"within {seconds:g} seconds."
            )
        what = "finish the TLS handshake" if self.name == "tls" else "accept a connection"
        return ConnectTimeout(f"{self.origin.label} did not {what} within {seconds:g} seconds.")

    def refused(self, error: OSError) -> ConnectFailed:
        """What a failed ``connect`` means."""
        reason = error.strerror or "no reason given"
        if error.errno in _UNREACHABLE:
            return self.offline(reason.lower())
        if self.proxy is not None:
            return ProxyFailed(f"The proxy {self.proxy.label} cannot be reached: {reason}.")
        if error.errno == errno.ETIMEDOUT:
            return ConnectTimeout(f"{self.origin.label} did not accept a connection: {reason}.")
        if error.errno == errno.ECONNREFUSED:
            return ConnectFailed(f"{self.origin.label} refused the connection.")
        return ConnectFailed(f"Cannot connect to {self.origin.label}: {reason}.")

    def tls_failed(self, error: OSError) -> ConnectFailed:
        if isinstance(error, ssl.SSLError):
            return TlsFailed(f"TLS with {self.origin.label} failed: {_tls_reason(error)}.")
        return ConnectFailed(f"{self.origin.label} closed the connection in the TLS handshake.")


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = getattr(error, "verify_message", "") or str(error)
        return f"its certificate was not accepted, {why.rstrip('.')}"
    return (error.reason or "the handshake failed").replace("_", " ").lower()


class _Tunnel(asyncio.Protocol):
    """Reads the proxy's answer to CONNECT; ``opened`` is done when the tunnel stands."""

    def __init__(self, stage: _Stage) -> None:
        self._stage = stage
        self._buffer = b""
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            if len(self._buffer) > MAX_HEAD_BYTES:
                self._failed("sent an endless answer")
            return
        parts = head.split(b"\r\n", 1)[0].split(b" ", 2)
        if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
            self._failed("sent something that is not HTTP/1.1")
        elif parts[1] == b"407":
            self._failed("asks for a user name and password (407)")
        elif not parts[1].startswith(b"2"):
            self._failed(f"refused with status {parts[1][:3].decode('ascii')}")
        elif rest:
            self._failed("sent data before the tunnel was used")
        elif not self.opened.done():
            self.opened.set_result(None)

    def eof_received(self) -> None:
        self._failed("closed the connection")

    def connection_lost(self, exc: Exception | None) -> None:
        self._failed("closed the connection")

    def _failed(self, what: str) -> None:
        if not self.opened.done():
            proxy = self._stage.proxy
            name = proxy.label if proxy is not None else ""
            self.opened.set_exception(
                ProxyFailed(f"The proxy {name} {what} when asked for {self._stage.origin.label}.")
            )


async def _adopt(
    sock: socket.socket,
    factory: Callable[[], asyncio.BaseProtocol],
    stage: _Stage,
    tls: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
) -> asyncio.Transport:
    """Hand a connected socket to the event loop, with a TLS handshake when asked for."""
    loop = asyncio.get_running_loop()
    try:
        transport, _ = await loop.create_connection(
            factory, sock=sock, ssl=tls, server_hostname=server_hostname
        )
    except BaseException as error:
        sock.close()
        if isinstance(error, OSError) and tls is not None:
            raise stage.tls_failed(error) from None
        raise
    return transport


async def _start_tls(
    loop: asyncio.AbstractEventLoop,
    raw: asyncio.Transport,
    conn: Connection,
    tls: ssl.SSLContext,
    stage: _Stage,
) -> asyncio.Transport:
    try:
        transport = await loop.start_tls(raw, conn, tls, server_hostname=stage.origin.host)
    except OSError as error:
        raise stage.tls_failed(error) from None
    if transport is None:
        raise stage.tls_failed(ConnectionResetError())
    return transport


async def resolve(host: str, port: int) -> list[Address]:
    """The addresses of a host name, in the resolver's order; ``socket.gaierror`` when none."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]


def _literal(host: str, port: int) -> Address | None:
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return None
    if version == 6:
        return (socket.AF_INET6, (host, port, 0, 0))
    return (socket.AF_INET, (host, port))


def interleave(addresses: list[Address]) -> list[Address]:
    """Alternate between the families, the resolver's first choice first (RFC 8305, section 4)."""
    if not addresses:
        return []
    first = [a for a in addresses if a[0] == addresses[0][0]]
    other = [a for a in addresses if a[0] != addresses[0][0]]
    mixed = [a for pair in zip(first, other, strict=False) for a in pair]
    common = min(len(first), len(other))
    return (mixed + first[common:] + other[common:])[:MAX_ADDRESSES]


def has_route() -> bool:
    """Whether this machine has a default route; asks the routing table, sends nothing."""
    probes = ((socket.AF_INET, ("192.0.2.1", 9)), (socket.AF_INET6, ("2001:db8::1", 9)))
    for family, address in probes:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.connect(address)
        except OSError:
            continue
        return True
    return False


async def connect_any(
    addresses: list[Address], delay_s: float = HAPPY_EYEBALLS_DELAY_S
) -> socket.socket:
    """A connected, non-blocking socket to whichever address answers first.

    The next address is tried when the previous one failed, or has been silent for ``delay_s``
    seconds. Raises the ``OSError`` that tells most; on cancellation every socket is closed.
    """
    if not addresses:
        raise OSError(errno.EADDRNOTAVAIL, "the name has no address")
    if len(addresses) == 1:
        return await _connect_one(addresses[0])
    race = _Race()
    try:
        async with asyncio.TaskGroup() as group:
            for address in addresses:
                race.start(group, address)
                if await race.settled(delay_s):
                    break
            else:
                await race.finished()
            race.stop()
    except BaseException:
        race.close()
        raise
    if race.winner is None:
        raise most_telling(race.errors)
    return race.winner


class _Race:
    """Connection attempts to the addresses of one host; the first to succeed wins."""

    def __init__(self) -> None:
        self.winner: socket.socket | None = None
        self.errors: list[OSError] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._news = asyncio.Event()

    def start(self, group: asyncio.TaskGroup, address: Address) -> None:
        self._news.clear()
        self._tasks.append(group.create_task(self._attempt(address)))

    async def _attempt(self, address: Address) -> None:
        try:
            sock = await _connect_one(address)
        except OSError as error:
            self.errors.append(error)
        else:
            if self.winner is None:
                self.winner = sock
            else:
                sock.close()
        self._news.set()

    async def settled(self, delay_s: float) -> bool:
        """Wait for news or ``delay_s``; whether there is a winner."""
        try:
            async with asyncio.timeout(delay_s):
                await self._news.wait()
        except TimeoutError:
            return False
        return self.winner is not None

    async def finished(self) -> None:
        """Wait for a winner, or for the last attempt to fail."""
        while self.winner is None and len(self.errors) < len(self._tasks):
            self._news.clear()
            await self._news.wait()

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    def close(self) -> None:
        if self.winner is not None:
            self.winner.close()


async def _connect_one(address: Address) -> socket.socket:
    family, where = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        _tune(sock)
        await asyncio.get_running_loop().sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock


def _tune(sock: socket.socket) -> None:
    """No Nagle delay; TCP keep-alive as the vendors' SDKs set it, for answers that think long."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 60), ("TCP_KEEPCNT", 5)):
        option = getattr(socket, name, None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def most_telling(errors: list[OSError]) -> OSError:
    """The error to report: one from a host that answered before one from this machine."""
    return min(errors, key=lambda error: error.errno in _UNREACHABLE)
