"""The copy of an answer on its way to its client."""

from __future__ import annotations

from typing import Any

import pytest
from fake_clock import FakeClock

from server.exchange import Sink
from server.verification.job import MOST_COPIED, Copy


async def sent_through(*pieces: bytes) -> tuple[Copy, list[Any]]:
    """What a copy heard, and what the client got."""
    got: list[Any] = []

    async def send(message: Any) -> None:
        got.append(message)

    sink, copy = Sink(send, FakeClock()), Copy()
    sink.overhear(copy.hear)
    await sink.start(200, [(b"content-type", b"text/event-stream")])
    for piece in pieces:
        await sink.write(piece)
    await sink.finish()
    return copy, got


async def test_it_hears_what_the_client_gets_and_changes_nothing() -> None:
    copy, got = await sent_through(b"one", b"", b"two")
    assert (copy.status, copy.headers) == (200, [(b"content-type", b"text/event-stream")])
    assert bytes(copy.body) == b"onetwo" == b"".join(m.get("body", b"") for m in got)
    assert not copy.is_too_long


async def test_of_a_long_answer_nothing_is_kept() -> None:
    copy, got = await sent_through(b"x" * MOST_COPIED, b"y", b"z" * 10)
    assert copy.is_too_long
    assert bytes(copy.body) == b""
    assert sum(len(m.get("body", b"")) for m in got) == MOST_COPIED + 11


async def test_it_hears_of_a_piece_only_once_it_was_sent() -> None:
    copy = Copy()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            assert bytes(copy.body) == b""
            raise ConnectionResetError

    sink = Sink(send, FakeClock())
    sink.overhear(copy.hear)
    await sink.start(200, [])
    with pytest.raises(ConnectionResetError):
        await sink.write(b"lost")
    assert bytes(copy.body) == b""
