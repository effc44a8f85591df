"""Reading answers of every protocol, as their clients got them."""

from __future__ import annotations

import gzip

import pytest
from translating import request
from vendor_replies import Call, Reply, stream, whole

from providers.faults import Fault, FaultKind
from providers.neutral import Answer, Text, Tool
from providers.types import Headers, Protocol
from server.verification.ask import read_answer
from server.verification.checks import text_of

TOOLS = (Tool("Read"),)
REPLY = Reply("Reading it.", (Call("Read", {"file_path": "a.py"}),))
STREAMED: Headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
WHOLE: Headers = [(b"content-type", b"application/json")]


@pytest.mark.parametrize("protocol", Protocol)
@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("coded", [True, False])
def test_text_calls_and_usage_are_read(protocol: Protocol, streamed: bool, coded: bool) -> None:
    body = stream(protocol, REPLY) if streamed else whole(protocol, REPLY)
    headers = STREAMED if streamed else WHOLE
    if coded:
        headers, body = [*headers, (b"content-encoding", b"gzip")], gzip.compress(body)
    answer = read_answer(protocol, headers, body, request(tools=TOOLS))
    assert isinstance(answer, Answer)
    assert text_of(answer) == "Reading it."
    assert [(call.name, call.arguments) for call in answer.tool_calls] == [
        ("Read", answer.tool_calls[0].arguments)
    ]
    assert "a.py" in answer.tool_calls[0].arguments
    assert answer.usage.is_known


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (WHOLE, b"<html>"),
        (WHOLE, b""),
        ([*WHOLE, (b"content-encoding", b"gzip")], b"not gzip"),
        ([*WHOLE, (b"content-encoding", b"gzip")], gzip.compress(b"0" * 50_000_000)),
        (STREAMED, b"event: x\ndata: {\n\n"),
        (STREAMED, stream(Protocol.MESSAGES, Reply("cut off"))[:-40]),
    ],
    ids=["a page", "nothing", "no gzip", "a bomb", "junk", "cut off"],
)
def test_what_is_no_answer_is_a_fault(headers: Headers, body: bytes) -> None:
    found = read_answer(Protocol.MESSAGES, headers, body, request())
    assert isinstance(found, Fault)
    assert found.kind in (FaultKind.MALFORMED, FaultKind.TRUNCATED, FaultKind.EMPTY)


def test_pings_between_its_events_are_no_part_of_it() -> None:
    body = stream(Protocol.MESSAGES, Reply("Hello")).replace(
        b"event: content_block_stop",
        b'event: ping\ndata: {"type": "ping"}\n\nevent: content_block_stop',
    )
    answer = read_answer(Protocol.MESSAGES, STREAMED, body, request())
    assert isinstance(answer, Answer)
    assert answer.parts == (Text("Hello"),)
