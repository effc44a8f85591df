"""Which proxy is chosen, and what happens on the way through one."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator

import pytest
from scripted_upstream import (
    Authority,
    Peer,
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
from providers.errors import ConnectTimeout, ProxyFailed, TlsFailed, UpstreamError
from providers.proxy import Proxy, ProxyMap
from providers.transport import Origin, Transport

HTTPS = Origin("https", "api.example.com", 443)
HTTP = Origin("http", "api.example.com", 80)


def chosen(env: dict[str, str], origin: Origin = HTTPS) -> str | None:
    proxy = ProxyMap.from_environment(env).proxy_for(origin)
    return proxy.label if proxy else None


# -- choosing -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "https", "http"),
    [
        ({}, None, None),
        ({"HTTPS_PROXY": "http://p:1"}, "p:1", None),
        ({"HTTP_PROXY": "http://p:1"}, None, "p:1"),
        ({"https_proxy": "http://low:1", "HTTPS_PROXY": "http://up:2"}, "low:1", None),
        ({"http_proxy": "low:1", "HTTP_PROXY": "up:2"}, None, "low:1"),
        ({"https_proxy": "", "HTTPS_PROXY": "http://up:2"}, None, None),
        ({"ALL_PROXY": "http://all:3"}, "all:3", "all:3"),
        ({"ALL_PROXY": "http://all:3", "HTTPS_PROXY": "http://p:1"}, "p:1", "all:3"),
        ({"all_proxy": "http://low:3", "ALL_PROXY": "http://up:4"}, "low:3", "low:3"),
        ({"HTTPS_PROXY": "  "}, None, None),
        ({"HTTPS_PROXY": "http://p"}, "p:80", None),
        ({"HTTPS_PROXY": "http://p:1/"}, "p:1", None),
        ({"HTTPS_PROXY": "http://[::2]:1"}, "[::2]:1", None),
    ],
)
def test_environment(env: dict[str, str], https: str | None, http: str | None) -> None:
    assert chosen(env, HTTPS) == https
    assert chosen(env, HTTP) == http


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "direct"),
    [
        ("*", "api.example.com", 443, True),
        ("example.com", "api.example.com", 443, True),
        ("example.com", "example.com", 443, True),
        (".example.com", "api.example.com", 443, True),
        ("*.example.com", "api.example.com", 443, True),
        ("EXAMPLE.com", "api.example.com", 443, True),
        ("example.com", "badexample.com", 443, False),
        ("ample.com", "example.com", 443, False),
        ("example.com:443", "api.example.com", 443, True),
        ("example.com:8443", "api.example.com", 443, False),
        ("a.b, api.example.com", "api.example.com", 443, True),
        ("a.b api.example.com", "api.example.com", 443, True),
        ("10.0.0.0/8", "10.1.2.3", 443, True),
        ("10.0.0.0/8", "11.1.2.3", 443, False),
        ("10.1.2.3", "10.1.2.3", 443, True),
        ("10.1.2.3:443", "10.1.2.3", 443, True),
        ("10.1.2.3:444", "10.1.2.3", 443, False),
        ("fd00::/8", "fd00::1", 443, True),
        ("[fd00::1]:443", "fd00::1", 443, True),
        ("[fd00::1]", "fd00::1", 443, True),
        ("10.0.0.0/8", "api.example.com", 443, False),
        ("", "api.example.com", 443, False),
        (".", "api.example.com", 443, False),
    ],
)
def test_no_proxy(no_proxy: str, host: str, port: int, direct: bool) -> None:
    env = {"HTTPS_PROXY": "http://p:1", "NO_PROXY": no_proxy}
    assert (chosen(env, Origin("https", host, port)) is None) is direct


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.1.1", "::1", "localhost", "x.localhost"])
def test_loopback_is_never_proxied(host: str) -> None:
    for scheme in ("http", "https"):
        origin = Origin(scheme, host, 8080)
        assert ProxyMap.fixed("http://p:1").proxy_for(origin) is None
        assert chosen({"ALL_PROXY": "http://p:1"}, origin) is None


def test_none_and_fixed() -> None:
    assert ProxyMap.none().proxy_for(HTTPS) is None
    assert ProxyMap.fixed("http://p:1").proxy_for(HTTPS) == Proxy("p", 1)
    assert ProxyMap.fixed("p:1").proxy_for(HTTP) == Proxy("p", 1)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("socks5://p:1", "SOCKS proxies are not supported"),
        ("socks5h://u:hunter2@p:1", "SOCKS proxies are not supported"),
        ("https://p:1", "use http://"),
        ("http://", "no host"),
        ("http://u:hunter2@", "no host"),
        ("http://p:99999", "port"),
        ("http://p:1/path", "path"),
        ("http://u:hunter2@p q", "not valid"),
    ],
)
def test_unusable_proxy_is_refused_in_words(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as fixed:
        ProxyMap.fixed(url)
    with pytest.raises(ValueError, match=f"HTTPS_PROXY: .*{words}") as named:
        ProxyMap.from_environment({"HTTPS_PROXY": url})
    assert "hunter2" not in str(fixed.value) + str(named.value)


def test_socks_that_is_not_used_does_no_harm() -> None:
    env = {"ALL_PROXY": "socks5://s:1", "HTTPS_PROXY": "http://p:1", "HTTP_PROXY": "http://q:2"}
    assert chosen(env) == "p:1"


def test_credentials_are_decoded_and_hidden() -> None:
    proxy = Proxy.parse("http://us%40er:p%3Ass%20w@p:1")
    assert proxy.authorization == b"Basic " + base64.b64encode(b"us@er:p:ss w")
    encoded = base64.b64encode(b"us@er:p:ss w").decode()
    assert encoded not in repr(proxy) + proxy.label + repr(ProxyMap(proxy))


# -- going through ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
async def upstream(authority: Authority) -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream(respond(200, body=b"ok"), tls=authority.server()) as upstream:
        yield upstream


def tunnel_to(port: int) -> Script:
    """Answer CONNECT and copy bytes both ways between the client and a local port."""

    async def script(peer: Peer) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await peer.send(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")

        async def upwards() -> None:
            try:
                while True:
                    writer.write(await peer.read_some())
            finally:
                writer.close()

        copying = asyncio.ensure_future(upwards())
        try:
            while data := await reader.read(65536):
                await peer.send(data)
        finally:
            copying.cancel()
            await asyncio.gather(copying, writer.wait_closed(), return_exceptions=True)
        peer.close()

    return script


def transport_via(
    proxy: ScriptedUpstream,
    authority: Authority | None = None,
    userinfo: str = "",
    connect_timeout_s: float = 5.0,
) -> Transport:
    return Transport(
        ssl_context=authority.client() if authority else None,
        proxies=ProxyMap.fixed(f"http://{userinfo}127.0.0.1:{proxy.port}"),
        connect_timeout_s=connect_timeout_s,
    )


@pytest.fixture
def localhost_is_remote(monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates are good for localhost only, and localhost is never proxied."""
    monkeypatch.setattr(Origin, "is_loopback", False)


@pytest.mark.usefixtures("localhost_is_remote")
async def test_https_goes_through_a_tunnel(
    authority: Authority, upstream: ScriptedUpstream
) -> None:
    async with ScriptedUpstream(tunnel_to(upstream.port)) as proxy:
        transport = transport_via(proxy, authority, "user:pass@")
        origin = Origin("https", "localhost", upstream.port)
        for reused in (False, True):
            async with await transport.request(
                origin, b"POST", b"/x", [(b"x-api-key", b"k")], b"b" * 500_000
            ) as response:
                assert response.reused is reused
                assert await response.read_all(10) == b"ok"
        assert proxy.requests[0].head == (
            b"CONNECT localhost:%d HTTP/1.1\r\nHost: localhost:%d\r\n"
            b"Proxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n" % (upstream.port, upstream.port)
        )
        assert len(proxy.requests) == 1
        request = upstream.requests[1]
        assert request.target == b"/x"
        assert len(request.body) == 500_000
        assert request.header(b"proxy-authorization") is None
        assert b"x-api-key" not in bytes(proxy.peers[0].received)
        await transport.aclose()
        await upstream.all_gone()


async def test_http_goes_in_absolute_form(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ScriptedUpstream(respond(200, body=b"from the proxy")) as proxy:
        transport = transport_via(proxy, userinfo="user:pass@")
        origin = Origin("http", "upstream.example", 8080)
        for _ in range(2):
            async with await transport.request(
                origin, b"GET", b"/v1?x=1", [(b"a", b"1")]
            ) as response:
                assert await response.read_all(100) == b"from the proxy"
        assert proxy.requests[1].head == (
            b"GET http://upstream.example:8080/v1?x=1 HTTP/1.1\r\n"
            b"Host: upstream.example:8080\r\na: 1\r\n"
            b"Proxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n"
        )
        assert len(proxy.peers) == 1
        await transport.aclose()


REFUSALS: dict[str, tuple[Script, str]] = {
    "password wanted": (respond(407), "asks for a user name and password"),
    "forbidden": (respond(403), "refused with status 403"),
    "bad gateway": (respond(502, body=b"no"), "refused with status 502"),
    "redirect": (respond(302, [(b"Location", b"http://evil")]), "refused with status 302"),
    "not http": (send(b"SSH-2.0\r\n\r\n"), "not HTTP/1.1"),
    "closed": (close(), "closed the connection"),
    "reset": (reset(), "closed the connection"),
    "endless": (steps(send(b"HTTP/1.1 200 " + b"x" * 70_000), hang()), "endless"),
    "early data": (send(b"HTTP/1.1 200 OK\r\n\r\nhello"), "before the tunnel was used"),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_proxy_that_does_not_cooperate(authority: Authority, case: str) -> None:
    script, words = REFUSALS[case]
    async with ScriptedUpstream(script) as proxy:
        transport = transport_via(proxy, authority, "user:pass@")
        with pytest.raises(ProxyFailed, match=words) as caught:
            await transport.request(HTTPS, b"POST", b"/", [(b"x-api-key", b"SECRET")], b"b")
        text = str(caught.value)
        assert f"127.0.0.1:{proxy.port}" in text
        assert "api.example.com:443" in text
        assert "pass" not in text.replace("password", "")
        assert b"SECRET" not in bytes(proxy.peers[0].received)
        assert transport.open_connections == 0
        await proxy.all_gone()
        await transport.aclose()


async def test_proxy_that_never_answers(authority: Authority) -> None:
    async with ScriptedUpstream(hang()) as proxy:
        transport = transport_via(proxy, authority, connect_timeout_s=0.05)
        with pytest.raises(ProxyFailed, match=r"did not open a way to api\.example\.com:443"):
            await transport.request(HTTPS, b"GET", b"/", [])
        await proxy.all_gone()
        await transport.aclose()


async def test_proxy_that_is_not_there() -> None:
    async with ScriptedUpstream() as proxy:
        transport = transport_via(proxy)
    with pytest.raises(ProxyFailed, match="cannot be reached"):
        await transport.request(HTTP, b"GET", b"/", [])
    await transport.aclose()


async def test_proxy_whose_name_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(*_: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "not known")

    monkeypatch.setattr(_dial, "resolve", resolve)
    monkeypatch.setattr(_dial, "has_route", lambda: True)
    transport = Transport(proxies=ProxyMap.fixed("http://proxy.exmaple:3128"))
    with pytest.raises(ProxyFailed, match=r"proxy\.exmaple does not exist"):
        await transport.request(HTTPS, b"GET", b"/", [])
    await transport.aclose()


@pytest.mark.usefixtures("localhost_is_remote")
async def test_wrong_certificate_behind_a_proxy(upstream: ScriptedUpstream) -> None:
    async with ScriptedUpstream(tunnel_to(upstream.port)) as proxy:
        transport = transport_via(proxy, Authority())
        with pytest.raises(TlsFailed, match="certificate was not accepted"):
            await transport.request(
                Origin("https", "localhost", upstream.port), b"GET", b"/", [(b"k", b"SECRET")]
            )
        assert upstream.requests == []
        assert transport.open_connections == 0
        await proxy.all_gone()
        await transport.aclose()


async def test_silence_behind_a_proxy(authority: Authority) -> None:
    silent = steps(send(head(200)), hang())
    async with ScriptedUpstream(silent) as proxy:
        transport = transport_via(proxy, authority, connect_timeout_s=0.05)
        with pytest.raises(ConnectTimeout, match="TLS handshake"):
            await transport.request(HTTPS, b"GET", b"/", [])
        await proxy.all_gone()
        await transport.aclose()


@pytest.mark.usefixtures("localhost_is_remote")
async def test_cancel_at_every_turn_on_the_way_through(
    authority: Authority, upstream: ScriptedUpstream
) -> None:
    origin = Origin("https", "localhost", upstream.port)
    async with ScriptedUpstream(tunnel_to(upstream.port)) as proxy:
        transport = transport_via(proxy, authority)
        count = 0
        while True:
            task = asyncio.ensure_future(transport.request(origin, b"GET", b"/", []))
            for _ in range(count):
                await asyncio.sleep(0)
            if task.done():
                break
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert transport.open_connections == 0
            await proxy.all_gone()
            count += 1
        async with await task as response:
            assert await response.read_all(10) == b"ok"
        assert count > 10
        await transport.aclose()


async def test_dropped_tunnel_is_an_upstream_error(authority: Authority) -> None:
    async with ScriptedUpstream(steps(send(head(200)), close())) as proxy:
        transport = transport_via(proxy, authority)
        with pytest.raises(UpstreamError, match="TLS handshake"):
            await transport.request(HTTPS, b"GET", b"/", [])
        assert transport.open_connections == 0
        await transport.aclose()
