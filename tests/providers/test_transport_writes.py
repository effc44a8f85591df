"""How one connection hands a request to its socket, seen from the socket's side."""

from __future__ import annotations

import asyncio

from providers._h1 import WRITE_QUEUE, WRITE_SLICE, Connection
from providers._head import Head

HEAD = Head(b"POST / HTTP/1.1\r\n\r\n")


class RecordingSocket(asyncio.Transport):
    """An asyncio transport that takes everything and sends nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes | memoryview] = []
        self.high_water: int | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not isinstance(data, bytearray)
        self.written.append(data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high_water = high

    def abort(self) -> None:
        pass


def connected() -> tuple[Connection, RecordingSocket]:
    conn = Connection("h:1", memoryview(bytearray(1024)), lambda _: None, lambda _: None)
    sock = RecordingSocket()
    conn.connection_made(sock)
    return conn, sock


def receive(conn: Connection, data: bytes) -> None:
    conn.get_buffer(-1)[: len(data)] = data
    conn.buffer_updated(len(data))


async def test_small_request_is_one_write() -> None:
    conn, sock = connected()
    await conn.send(HEAD, b"b" * WRITE_SLICE, 1)
    assert sock.written == [HEAD.data + b"b" * WRITE_SLICE]


async def test_big_body_is_not_copied_and_leaves_turns_to_others() -> None:
    conn, sock = connected()
    body = b"b" * (3 * WRITE_SLICE + 1)
    task = asyncio.ensure_future(conn.send(HEAD, body, 1))
    for count in range(1, 5):
        await asyncio.sleep(0)
        assert len(sock.written) == 1 + count, "one slice a turn, after the head"
    await task
    assert b"".join(sock.written[1:]) == body
    for piece in sock.written[1:]:
        assert isinstance(piece, memoryview)
        assert piece.obj is body
    assert sock.high_water == WRITE_QUEUE


async def test_answer_while_the_last_bytes_are_queued_is_the_last_on_this_connection() -> None:
    conn, _ = connected()
    task = asyncio.ensure_future(conn.send(HEAD, b"b" * (WRITE_SLICE + 1), 30))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    conn.pause_writing()
    await asyncio.sleep(0)
    receive(conn, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    await task
    await conn.wait_head()
    assert await conn.read() == b""
    assert not conn.is_reusable
    conn.resume_writing()
    assert conn.is_reusable
