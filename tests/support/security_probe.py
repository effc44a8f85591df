"""What the tests of the security rules share: a listener nobody may reach, raw asking, searching."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from live_gateway import Answer, LiveGateway


class Canary:
    """A listener that counts who comes; whoever reaches it was led there by a request's content."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.hits = 0

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def canary() -> AsyncIterator[Canary]:
    """Listen for as long as the block lasts."""
    found = Canary(0)

    def visited(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.hits += 1
        writer.close()

    server = await asyncio.start_server(visited, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        await server.wait_closed()


async def ask_raw(
    gateway: LiveGateway, request_line: str, fields: Iterable[str], body: bytes = b""
) -> Answer:
    """Send exactly these lines on a connection of its own; the first answer to them.

    ``{host}`` in them is the gateway's address.
    """
    host = f"127.0.0.1:{gateway.origin.port}"
    lines = [line.replace("{host}", host) for line in (request_line, *fields)]
    head = "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")
    return parse(await gateway.raw(head + body))


def parse(answer: bytes) -> Answer:
    """One answer as it came over the wire, whose body has a length or ends with the connection."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    fields = [(n, v.strip()) for n, _, v in (line.partition(b":") for line in lines)]
    length = next((int(v) for n, v in fields if n.lower() == b"content-length"), None)
    return Answer(int(first.split(b" ")[1]), fields, body[:length])


async def status_of(
    gateway: LiveGateway,
    method: str,
    target: str,
    fields: list[tuple[bytes, bytes]],
    body: bytes = b"",
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, header fields and body of an answer; the body of a success is not waited for."""
    response = await gateway.transport.request(
        gateway.origin, method.encode(), target.encode(), fields, body
    )
    try:
        found = await response.read_all(2**20) if response.status >= 400 else b""
        return response.status, response.headers, found
    finally:
        await response.aclose()


def files_with(folder: Path, needles: Iterable[str]) -> list[str]:
    """``file: needle`` for every needle that stands in any file below ``folder``."""
    wanted = list(needles)
    found = []
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            data = path.read_bytes() if path.is_file() else b""
            found += [f"{path.name}: {needle}" for needle in wanted if needle.encode() in data]
    return found
