"""The client's side of an exchange: what goes out before, and what after, the turn is recorded."""

from __future__ import annotations

from typing import Any

import pytest
from fake_clock import FakeClock

from server.exchange import TAIL, Sink


class Wire:
    """Takes what is sent, and the moments between, in order."""

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.sink = Sink(self._send, FakeClock())
        self.sink.before_start = self._mark("opened")
        self.sink.before_end = self._mark("recorded")

    def _mark(self, name: str) -> Any:
        async def mark() -> None:
            self.log.append((name, self.sink.bytes_sent))

        return mark

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.log.append(("start", message["status"], dict(message["headers"])))
        else:
            self.log.append((message["body"], message["more_body"]))


async def test_a_stream_ends_when_its_turn_is_recorded() -> None:
    wire = Wire()
    await wire.sink.start(200, [])
    await wire.sink.write(b"ab")
    await wire.sink.write(b"c")
    await wire.sink.finish()
    assert wire.log == [
        ("opened", 0),
        ("start", 200, {}),
        (b"ab", True),
        (b"c", True),
        ("recorded", 3),
        (b"", False),
    ]


@pytest.mark.parametrize("body", [b"", b"small", b"x" * TAIL])
async def test_a_whole_answer_waits_for_its_turn_to_be_recorded(body: bytes) -> None:
    wire = Wire()
    await wire.sink.respond(200, [], body)
    length = {b"content-length": b"%d" % len(body)}
    assert wire.log == [
        ("opened", 0),
        ("recorded", len(body)),
        ("start", 200, length),
        (body, False),
    ]


async def test_only_the_end_of_a_large_answer_waits() -> None:
    body = bytes(range(256)) * (TAIL // 256) + b"the end"
    wire = Wire()
    await wire.sink.respond(200, [], body)
    assert wire.log == [
        ("opened", 0),
        ("start", 200, {b"content-length": b"%d" % len(body)}),
        (body[:-TAIL], True),
        ("recorded", len(body)),
        (body[-TAIL:], False),
    ]


async def test_an_answer_may_linger_when_all_its_bytes_are_out() -> None:
    wire = Wire()

    async def linger() -> None:
        wire.log.append("linger")

    wire.sink.linger = linger
    await wire.sink.respond(413, [], b"too large")
    assert wire.log == [
        ("opened", 0),
        ("recorded", 9),
        ("start", 413, {b"content-length": b"9"}),
        (b"too large", True),
        "linger",
        (b"", False),
    ]
    assert wire.sink.bytes_sent == 9


async def test_an_end_that_was_interrupted_can_still_be_handed_over() -> None:
    wire = Wire()

    async def interrupted() -> None:
        raise InterruptedError

    wire.sink.before_end = interrupted
    with pytest.raises(InterruptedError):
        await wire.sink.respond(200, [], b"whole")
    assert not wire.sink.finished
    await wire.sink.finish()
    assert wire.log == [
        ("opened", 0),
        ("start", 200, {b"content-length": b"5"}),
        (b"whole", False),
    ]
