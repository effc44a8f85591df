"""The tests themselves run sheltered: nothing of the user's comes in, nothing goes out."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest


def test_the_users_credentials_are_not_visible() -> None:
    leaked = [n for n in os.environ if n.upper().endswith(("_API_KEY", "_BASE_URL", "_PROXY"))]
    assert leaked == []


def test_the_home_is_a_throw_away(sbgw_home: Path) -> None:
    assert os.environ["SBGW_HOME"] == str(sbgw_home)
    assert not sbgw_home.exists()


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "gateway.example"])
async def test_leaving_the_machine_is_refused(host: str, attempts_to_leave: list[str]) -> None:
    with pytest.raises(RuntimeError, match="tried to reach"):
        await asyncio.open_connection(host, 9)
    assert len(attempts_to_leave) == 1
    attempts_to_leave.clear()


async def test_a_reserved_name_does_not_resolve() -> None:
    with pytest.raises(socket.gaierror) as caught:
        await asyncio.open_connection("upstream.invalid", 9)
    assert caught.value.errno == socket.EAI_NONAME


async def test_the_loopback_is_open() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
