"""httpx on top of the transport."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator

import httpx
import pytest
from scripted_upstream import (
    Authority,
    Script,
    ScriptedUpstream,
    close,
    hang,
    head,
    respond,
    send,
    sse,
    steps,
)

from providers.proxy import ProxyMap
from providers.transport import HttpxTransport, Transport


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    transport = Transport()
    yield transport
    await transport.aclose()


@pytest.fixture
async def client(transport: Transport) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=HttpxTransport(transport)) as client:
        yield client


async def test_request_and_response_pass_through(client: httpx.AsyncClient) -> None:
    reply = respond(201, [(b"X-A", b"1"), (b"x-a", b"2")], b'{"ok":true}')
    async with ScriptedUpstream(reply) as upstream:
        response = await client.post(upstream.base_url + "/p?q=1", json={"a": 1})
        assert (response.status_code, response.json()) == (201, {"ok": True})
        assert response.headers.get_list("x-a") == ["1", "2"]
        request = upstream.requests[0]
        assert (request.method, request.target, request.body) == (b"POST", b"/p?q=1", b'{"a":1}')
        assert request.header(b"host") == b"127.0.0.1:%d" % upstream.port
        assert [n.lower() for n, _ in request.headers].count(b"content-length") == 1


async def test_streamed_request_body_is_sent_with_a_length(client: httpx.AsyncClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    async with ScriptedUpstream() as upstream:
        await client.post(upstream.base_url, content=pieces())
        assert upstream.requests[0].body == b"onetwo"
        assert upstream.requests[0].header(b"content-length") == b"6"


async def test_streamed_answer_and_reuse(client: httpx.AsyncClient, transport: Transport) -> None:
    async with ScriptedUpstream(sse([b"data: a\n\n", b"data: b\n\n"])) as upstream:
        for _ in range(2):
            async with client.stream("GET", upstream.base_url) as response:
                assert b"".join([part async for part in response.aiter_raw()]) == (
                    b"data: a\n\ndata: b\n\n"
                )
        assert len(upstream.peers) == 1
        assert transport.idle_connections == 1


async def test_closing_the_client_leaves_the_shared_transport_open(transport: Transport) -> None:
    async with ScriptedUpstream() as upstream:
        for _ in range(2):
            async with httpx.AsyncClient(transport=HttpxTransport(transport)) as client:
                assert (await client.get(upstream.base_url)).status_code == 200
        assert len(upstream.peers) == 1


FAILURES: dict[str, tuple[Script, type[httpx.TransportError]]] = {
    "dropped": (close(), httpx.ReadError),
    "garbage": (send(b"nonsense\r\n"), httpx.RemoteProtocolError),
    "dropped in mid-answer": (
        steps(send(head(200, [(b"Content-Length", b"9")]) + b"a"), close()), httpx.ReadError),
}  # fmt: skip


@pytest.mark.parametrize("case", FAILURES)
async def test_failures_become_httpx_errors(client: httpx.AsyncClient, case: str) -> None:
    script, expected = FAILURES[case]
    async with ScriptedUpstream(script) as upstream:
        with pytest.raises(expected) as caught:
            await client.get(upstream.base_url)
        assert caught.value.request.url == upstream.base_url


async def test_connect_failures_become_httpx_errors(client: httpx.AsyncClient) -> None:
    async with ScriptedUpstream() as upstream:
        url = upstream.base_url
    with pytest.raises(httpx.ConnectError, match="refused"):
        await client.get(url)


async def test_untrusted_certificate_becomes_a_connect_error() -> None:
    transport = Transport(ssl_context=Authority().client())
    async with (
        ScriptedUpstream(tls=Authority().server()) as upstream,
        httpx.AsyncClient(transport=HttpxTransport(transport)) as client,
    ):
        with pytest.raises(httpx.ConnectError, match="certificate"):
            await client.get(upstream.base_url)
    await transport.aclose()


async def test_unreachable_proxy_becomes_a_proxy_error() -> None:
    async with ScriptedUpstream() as upstream:
        proxies = ProxyMap.fixed(upstream.base_url)
    transport = Transport(proxies=proxies)
    async with httpx.AsyncClient(transport=HttpxTransport(transport)) as client:
        with pytest.raises(httpx.ProxyError):
            await client.get("http://upstream.example")
    await transport.aclose()


@pytest.mark.parametrize(
    "script", [hang(), steps(sse([b"a"], end=False), hang())], ids=["head", "body"]
)
async def test_read_timeout_is_honoured(transport: Transport, script: Script) -> None:
    timeout = httpx.Timeout(None, read=0.05)
    async with (
        ScriptedUpstream(script) as upstream,
        httpx.AsyncClient(transport=HttpxTransport(transport), timeout=timeout) as client,
    ):
        with pytest.raises(httpx.ReadTimeout):
            await client.get(upstream.base_url)
        await upstream.all_gone()
        assert transport.open_connections == 0


async def test_cancelled_request_closes_the_socket(
    client: httpx.AsyncClient, transport: Transport
) -> None:
    async with ScriptedUpstream(hang()) as upstream:
        task = asyncio.ensure_future(client.get(upstream.base_url))
        await upstream.wait_for(requests=1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await upstream.all_gone()
        assert transport.open_connections == 0


def test_the_transport_does_not_load_httpx() -> None:
    code = "import sys, providers.transport; assert 'httpx' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
