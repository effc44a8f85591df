"""Connecting: names, addresses, TLS, time limits, and which error each failure becomes."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from scripted_upstream import (
    Authority,
    Script,
    ScriptedUpstream,
    close,
    hang,
    head,
    reset,
    respond,
    send,
    steps,
)

from providers import _dial
from providers._dial import Address, connect_any, interleave, most_telling
from providers.errors import (
    ConnectFailed,
    ConnectionDropped,
    ConnectTimeout,
    Offline,
    TlsFailed,
    UpstreamError,
)
from providers.transport import Origin, Transport

V4 = socket.AF_INET
V6 = socket.AF_INET6


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    transport = Transport()
    yield transport
    await transport.aclose()


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A listener whose backlog is full: the kernel drops every further SYN."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def names(
    monkeypatch: pytest.MonkeyPatch, table: dict[str, list[str] | BaseException]
) -> list[str]:
    """Replace name lookup; returns the list of names that are asked for."""
    asked: list[str] = []

    async def resolve(host: str, port: int) -> list[Address]:
        asked.append(host)
        answer = table[host]
        if isinstance(answer, BaseException):
            raise answer
        return [(V4, (address, port)) for address in answer]

    monkeypatch.setattr(_dial, "resolve", resolve)
    return asked


async def failure(transport: Transport, origin: Origin) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await transport.request(origin, b"POST", b"/", [(b"x-api-key", b"SECRET")], b"body")
    assert transport.open_connections == 0
    text = str(caught.value)
    assert f"{origin.host}:{origin.port}" in text
    assert text.endswith(".")
    assert "SECRET" not in text
    return caught.value


async def exchange(transport: Transport, origin: Origin) -> bytes:
    async with await transport.request(origin, b"GET", b"/", []) as response:
        return await response.read_all(100)


# -- names and addresses ------------------------------------------------------------------------


async def test_refused_port(transport: Transport, closed_port: int) -> None:
    error = await failure(transport, Origin("http", "127.0.0.1", closed_port))
    assert type(error) is ConnectFailed
    assert "refused" in str(error)


async def test_silent_host_times_out(silent_port: int) -> None:
    transport = Transport(connect_timeout_s=0.05)
    error = await failure(transport, Origin("http", "127.0.0.1", silent_port))
    assert type(error) is ConnectTimeout
    await transport.aclose()


@pytest.mark.parametrize("code", [socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_SYSTEM])
async def test_no_name_server_means_offline(
    transport: Transport, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    names(monkeypatch, {"api.example": socket.gaierror(code, "Temporary failure")})
    assert type(await failure(transport, Origin("https", "api.example", 443))) is Offline


async def test_name_lookup_without_an_answer_means_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(_dial, "resolve", resolve)
    transport = Transport(connect_timeout_s=0.01)
    error = await failure(transport, Origin("https", "api.example", 443))
    assert type(error) is Offline
    assert "no name server answered" in str(error)
    await transport.aclose()


@pytest.mark.parametrize("code", [socket.EAI_NONAME, socket.EAI_NODATA])
async def test_unknown_name_is_a_setting_to_check_while_the_network_works(
    transport: Transport, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    names(monkeypatch, {"api.exmaple": socket.gaierror(code, "Name or service not known")})
    monkeypatch.setattr(_dial, "has_route", lambda: True)
    error = await failure(transport, Origin("https", "api.exmaple", 443))
    assert type(error) is ConnectFailed
    assert "does not exist" in str(error)
    assert "base_url" in str(error)


async def test_unknown_name_without_a_route_means_offline(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    names(monkeypatch, {"api.example": socket.gaierror(socket.EAI_NONAME, "not known")})
    monkeypatch.setattr(_dial, "has_route", lambda: False)
    assert type(await failure(transport, Origin("https", "api.example", 443))) is Offline


async def test_name_that_resolved_before_cannot_be_misspelt(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_dial, "has_route", lambda: True)
    table: dict[str, list[str] | BaseException] = {"api.example": ["127.0.0.1"]}
    names(monkeypatch, table)
    async with ScriptedUpstream() as upstream:
        origin = Origin("http", "api.example", upstream.port)
        assert await exchange(transport, origin) == b""
        transport.drop_idle()
        table["api.example"] = socket.gaierror(socket.EAI_NONAME, "not known")
        assert type(await failure(transport, origin)) is Offline


async def test_names_are_looked_up_for_real(transport: Transport) -> None:
    async with ScriptedUpstream(respond(200, body=b"ok")) as upstream:
        assert await exchange(transport, Origin("http", "localhost", upstream.port)) == b"ok"
        assert upstream.requests[0].header(b"host") == b"localhost:%d" % upstream.port


async def test_address_literals_are_not_looked_up(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = names(monkeypatch, {})
    async with ScriptedUpstream(respond(200, body=b"ok")) as upstream:
        assert await exchange(transport, Origin("http", "127.0.0.1", upstream.port)) == b"ok"
    assert asked == []


@pytest.mark.parametrize("code", [errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN])
async def test_no_route_means_offline(
    transport: Transport, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    async def no_route(_: Address) -> socket.socket:
        raise OSError(code, "Network is unreachable")

    monkeypatch.setattr(_dial, "_connect_one", no_route)
    assert type(await failure(transport, Origin("https", "192.0.2.7", 443))) is Offline


async def test_next_address_is_tried_when_one_refuses(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    names(monkeypatch, {"api.example": ["127.0.0.2", "127.0.0.1"]})
    async with ScriptedUpstream(respond(200, body=b"ok")) as upstream:
        assert await exchange(transport, Origin("http", "api.example", upstream.port)) == b"ok"
        assert upstream.requests[0].header(b"host") == b"api.example:%d" % upstream.port


async def test_silent_address_does_not_hold_up_the_next(silent_port: int) -> None:
    async with ScriptedUpstream() as upstream:
        sock = await connect_any(
            [(V4, ("127.0.0.1", silent_port)), (V4, ("127.0.0.1", upstream.port))], delay_s=0.001
        )
        assert sock.getpeername() == ("127.0.0.1", upstream.port)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        sock.close()
        await upstream.all_gone()


async def test_first_address_wins_although_it_is_slower_than_the_delay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = asyncio.Event()
    opened: list[socket.socket] = []

    async def gated(address: Address) -> socket.socket:
        if address[1][1] == 1:
            await gate.wait()
        else:
            gate.set()
            await asyncio.Event().wait()
        opened.append(socket.socket())
        return opened[-1]

    monkeypatch.setattr(_dial, "_connect_one", gated)
    winner = await connect_any([(V4, ("a", 1)), (V4, ("b", 2))], delay_s=0.001)
    assert opened == [winner]
    winner.close()


async def test_all_addresses_failing_reports_the_one_that_answered(
    transport: Transport, monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    names(monkeypatch, {"api.example": ["127.0.0.2", "127.0.0.1"]})
    error = await failure(transport, Origin("http", "api.example", closed_port))
    assert "refused" in str(error)
    unreachable = OSError(errno.ENETUNREACH, "no IPv6 here")
    refused = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
    assert most_telling([unreachable, refused]) is refused


async def test_second_to_connect_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = asyncio.Event()
    opened: list[socket.socket] = []

    async def gated(address: Address) -> socket.socket:
        if address[1] == "last":
            gate.set()
        await gate.wait()
        opened.append(socket.socket())
        return opened[-1]

    monkeypatch.setattr(_dial, "_connect_one", gated)
    winner = await connect_any([(V4, "first"), (V4, "last")], delay_s=0)
    assert len(opened) == 2
    assert [sock.fileno() >= 0 for sock in opened] == [sock is winner for sock in opened]
    winner.close()


async def test_cancel_as_a_socket_connects_closes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[socket.socket] = []

    async def cancelling(_: Address) -> socket.socket:
        task.cancel()
        opened.append(socket.socket())
        return opened[-1]

    monkeypatch.setattr(_dial, "_connect_one", cancelling)
    task = asyncio.ensure_future(connect_any([(V4, "first"), (V4, "last")]))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [sock.fileno() for sock in opened] == [-1]


async def test_cancelled_race_closes_every_socket(
    silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ResourceWarnings are errors: a socket left open fails this test."""
    silent = (V4, ("127.0.0.1", silent_port))
    task = asyncio.ensure_future(connect_any([silent] * 3, delay_s=0))
    for _ in range(20):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_families_take_turns() -> None:
    v6: list[Address] = [(V6, n) for n in range(3)]
    v4: list[Address] = [(V4, n) for n in range(2)]
    assert interleave([*v6, *v4]) == [v6[0], v4[0], v6[1], v4[1], v6[2]]
    assert interleave([*v4, *v6]) == [v4[0], v6[0], v4[1], v6[1], v6[2]]
    assert interleave([]) == []


# -- TLS ----------------------------------------------------------------------------------------


async def test_https_upstream(authority: Authority) -> None:
    transport = Transport(ssl_context=authority.client())
    async with ScriptedUpstream(respond(200, body=b"ok"), tls=authority.server()) as upstream:
        origin, _ = Origin.parse(upstream.base_url)
        for reused in (False, True):
            async with await transport.request(
                origin, b"POST", b"/", [], b"b" * 1_000_000
            ) as response:
                assert response.reused is reused
                assert await response.read_all(10) == b"ok"
        assert [len(request.body) for request in upstream.requests] == [1_000_000] * 2
        await transport.aclose()
        await upstream.all_gone()


@pytest.mark.parametrize("size", [10, 3_000_000])
async def test_tls_body_in_both_directions_under_back_pressure(
    authority: Authority, size: int
) -> None:
    transport = Transport(ssl_context=authority.client())
    body = b"r" * size
    async with ScriptedUpstream(respond(200, body=body), tls=authority.server()) as upstream:
        origin, _ = Origin.parse(upstream.base_url)
        async with await transport.request(origin, b"POST", b"/", [], body) as response:
            for _ in range(300):
                await asyncio.sleep(0)
            assert await response.read_all(size) == body
        assert upstream.requests[0].body == body
        assert transport.idle_connections == 1
        await transport.aclose()


@pytest.mark.parametrize(
    ("kind", "reason"), [("wrong-host", "is not valid for '127.0.0.1'"), ("expired", "has expired")]
)
async def test_bad_certificate(authority: Authority, kind: Any, reason: str) -> None:
    transport = Transport(ssl_context=authority.client())
    async with ScriptedUpstream(tls=authority.server(kind)) as upstream:
        error = await failure(transport, Origin("https", "127.0.0.1", upstream.port))
        assert type(error) is TlsFailed
        assert reason in str(error)
        assert upstream.requests == [], "the key was never sent"
        await transport.aclose()


async def test_certificate_of_an_unknown_authority(authority: Authority) -> None:
    transport = Transport(ssl_context=Authority().client())
    async with ScriptedUpstream(tls=authority.server()) as upstream:
        error = await failure(transport, Origin("https", "127.0.0.1", upstream.port))
        assert type(error) is TlsFailed
        assert "certificate was not accepted" in str(error)
        await transport.aclose()


async def test_tls_to_a_server_that_speaks_none(authority: Authority) -> None:
    transport = Transport(ssl_context=authority.client())
    reply = steps(respond(400))
    async with ScriptedUpstream(on_connect=reply) as upstream:
        error = await failure(transport, Origin("https", "127.0.0.1", upstream.port))
        assert type(error) is TlsFailed
        await transport.aclose()


async def test_alert_of_the_peer_is_a_tls_failure(authority: Authority) -> None:
    """A peer that only speaks an older version answers with the alert ``protocol_version``."""
    transport = Transport(ssl_context=authority.client())
    alert = send(b"\x15\x03\x03\x00\x02\x02\x46")
    async with ScriptedUpstream(on_connect=steps(alert, hang())) as upstream:
        error = await failure(transport, Origin("https", "127.0.0.1", upstream.port))
        assert type(error) is TlsFailed
        assert "protocol version" in str(error)
        await upstream.all_gone()
        await transport.aclose()


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_break_in_the_handshake_is_no_distrust(authority: Authority, end: str) -> None:
    endings: dict[str, Script] = {"close": close(), "reset": reset()}
    transport = Transport(ssl_context=authority.client())
    async with ScriptedUpstream(on_connect=endings[end]) as upstream:
        error = await failure(transport, Origin("https", "127.0.0.1", upstream.port))
        assert type(error) is ConnectFailed
        assert "TLS handshake" in str(error)
        await transport.aclose()


async def test_handshake_without_an_answer_times_out(authority: Authority) -> None:
    transport = Transport(ssl_context=authority.client(), connect_timeout_s=0.05)
    async with ScriptedUpstream(on_connect=hang()) as upstream:
        error = await failure(transport, Origin("https", "127.0.0.1", upstream.port))
        assert type(error) is ConnectTimeout
        assert "TLS handshake" in str(error)
        await upstream.all_gone()
        await transport.aclose()


async def test_tls_connection_dropped_in_mid_answer(authority: Authority) -> None:
    transport = Transport(ssl_context=authority.client())
    script = steps(send(head(200, [(b"Content-Length", b"9")]) + b"good"), reset())
    async with ScriptedUpstream(script, tls=authority.server()) as upstream:
        origin, _ = Origin.parse(upstream.base_url)
        async with await transport.request(origin, b"GET", b"/", []) as response:
            assert await response.read() == b"good"
            with pytest.raises(ConnectionDropped):
                await response.read()
        await transport.aclose()


# -- cancelling ---------------------------------------------------------------------------------


async def test_cancel_while_connecting(silent_port: int, transport: Transport) -> None:
    origin = Origin("http", "127.0.0.1", silent_port)
    task = asyncio.ensure_future(transport.request(origin, b"GET", b"/", []))
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert transport.open_connections == 0


async def test_cancel_at_every_turn_of_a_tls_exchange(authority: Authority) -> None:
    transport = Transport(ssl_context=authority.client())
    async with ScriptedUpstream(respond(200, body=b"ok"), tls=authority.server()) as upstream:
        origin = Origin("https", "127.0.0.1", upstream.port)
        count = 0
        while True:
            task = asyncio.ensure_future(exchange(transport, origin))
            for _ in range(count):
                await asyncio.sleep(0)
            if task.done():
                break
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert transport.open_connections == transport.idle_connections == 0
            await upstream.all_gone()
            count += 1
        assert await task == b"ok"
        assert count > 5
        await transport.aclose()
