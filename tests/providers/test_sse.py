from __future__ import annotations

import re

import pytest
from anthropic_streams import ANSWERS
from hypothesis import example, given
from hypothesis import strategies as st

from providers.errors import UpstreamError
from providers.sse import (
    EventSplitter,
    EventTooLargeError,
    ServerSentEvent,
    SseDecoder,
    encode,
    parse_event,
    pieces,
)

SOUP = st.lists(
    st.sampled_from(
        [b"\n", b"\r", b"\r\n", b"data: a", b"data:b", b"event: x", b": note", b"id: 1", b"\xff"]
    ),
    max_size=24,
).map(b"".join)
"""Streams that are mostly line ends, where splitting goes wrong first."""


def decode(chunks: list[bytes]) -> list[ServerSentEvent]:
    decoder = SseDecoder()
    return [event for chunk in chunks for event in decoder.feed(chunk)]


def reference(stream: bytes) -> list[tuple[bytes, bytes]]:
    """The standard's algorithm, line by line over the whole stream: ``(event, data)``."""
    events: list[tuple[bytes, bytes]] = []
    name, data = b"", b""
    lines = re.split(rb"\r\n|\r|\n", stream.removeprefix(b"\xef\xbb\xbf"))
    for line in lines[:-1]:
        if not line:
            if data:
                events.append((name, data[:-1]))
            name, data = b"", b""
            continue
        field, _, value = line.partition(b":")
        value = value[1:] if value.startswith(b" ") else value
        if field == b"data":
            data += value + b"\n"
        elif field == b"event":
            name = value
    return events


def cut(stream: bytes, size: int) -> list[bytes]:
    return [stream[i : i + size] for i in range(0, len(stream), size)]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: a\n\n", [(b"", b"a")]),
        (b"data:a\r\ndata: b\r\n\r\n", [(b"", b"a\nb")]),
        (b"data: a\r\rdata: b\r\r", [(b"", b"a"), (b"", b"b")]),
        (b"data: a\n\r\ndata: b\r\n\n", [(b"", b"a"), (b"", b"b")]),
        (b"\xef\xbb\xbfevent: x\ndata: a\n\n", [(b"x", b"a")]),
        (b"event: x\n\ndata: a\n\n", [(b"", b"a")]),
        (b"event: x\nevent: y\ndata:  a\n\n", [(b"y", b" a")]),
        (b": note\n\n:\ndata: a\n\n", [(b"", b"a")]),
        (b"data\n\n", [(b"", b"")]),
        (b"data\ndata\n\n", [(b"", b"\n")]),
        (b"datax: a\nfoo: b\ndata: c\n\n", [(b"", b"c")]),
        (b"\n\n\ndata: a\n\n\n\ndata: b\n\n", [(b"", b"a"), (b"", b"b")]),
        (b"data: \xef\xbb\xbfa\n\n\xef\xbb\xbfdata: b\n\n", [(b"", b"\xef\xbb\xbfa")]),
    ],
)
def test_decodes_as_the_standard_says(stream: bytes, expected: list[tuple[bytes, bytes]]) -> None:
    assert [(e.event, e.data) for e in decode([stream])] == expected
    assert reference(stream) == expected


def test_id_and_retry_are_kept_and_bad_ones_ignored() -> None:
    good, bad = decode([b"id: 7\nretry: 250\ndata: a\n\nid: \0\nretry: 1s\ndata: b\n\n"])
    assert (good.id, good.retry) == (b"7", 250)
    assert (bad.id, bad.retry) == (None, None)


@pytest.mark.parametrize(
    "separator", ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c", "\x1e"]
)
def test_only_cr_and_lf_end_a_line(separator: str) -> None:
    text = f'{{"text":"a{separator}b"}}'.encode()
    [event] = decode(cut(b"data: " + text + b"\n\n", 1))
    assert event.data == text


@given(SOUP, st.integers(1, 9))
@example(b"data: a\r\n\r\ndata: b\r\n\r\n", 1)
@example(b"data: a\r\r\n\ndata: b\n\r", 3)
def test_any_chunking_decodes_like_the_reference(stream: bytes, size: int) -> None:
    expected = reference(stream)
    assert [(e.event, e.data) for e in decode([stream])] == expected
    assert [(e.event, e.data) for e in decode(cut(stream, size))] == expected


@given(SOUP, st.integers(1, 9))
def test_the_splitter_forwards_every_byte_and_only_whole_events(stream: bytes, size: int) -> None:
    splitter = EventSplitter()
    forwarded = b""
    for chunk in cut(stream, size):
        ready = splitter.feed(chunk)
        forwarded += ready
        if ready:
            assert reference(forwarded + b"\n") == reference(forwarded)
            assert re.search(rb"[\r\n][\r\n]\Z", forwarded)
    assert forwarded + splitter.end() == stream
    assert splitter.end() == b""


@given(st.sampled_from(sorted(ANSWERS)), st.integers(1, 500))
def test_answers_come_out_whole(name: str, size: int) -> None:
    stream = ANSWERS[name]
    expected = reference(stream)
    assert len(expected) > 1
    assert [(e.event, e.data) for e in decode(cut(stream, size))] == expected


def test_a_chunk_of_whole_events_is_passed_on_without_a_copy() -> None:
    splitter = EventSplitter()
    for chunk in (b"data: a\n\n", b"data: a\n\ndata: b\n\n", b"data: a\r\n\r\n"):
        assert splitter.feed(chunk) is chunk
    assert splitter.feed(b"data: a") == b""
    assert splitter.feed(b"\n\ndata: b") == b"data: a\n\n"
    assert splitter.feed(b"") == b""
    assert splitter.end() == b"data: b"


def test_an_event_may_be_as_large_as_the_limit() -> None:
    event = b"data: " + b"x" * 92 + b"\n\n"
    for size in (1, 7, 100, 1000):
        splitter = EventSplitter(limit=100)
        forwarded = b"".join(splitter.feed(chunk) for chunk in cut(event * 3, size))
        assert forwarded == event * 3


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
@pytest.mark.parametrize("whole", [True, False])
def test_a_larger_event_is_an_error_that_keeps_what_came_before(size: int, whole: bool) -> None:
    small = b"data: a\n\n"
    large = b"data: " + b"x" * 93 + (b"\n\n" if whole else b"")
    splitter = EventSplitter(limit=100)
    forwarded = bytearray()

    def relay() -> None:
        for chunk in cut(small * 2 + large + b"y" * 2 + small, size):
            forwarded.extend(splitter.feed(chunk))

    with pytest.raises(EventTooLargeError, match="more than 100 bytes") as caught:
        relay()
    assert forwarded + caught.value.ready == small * 2
    assert isinstance(caught.value, UpstreamError)


def test_end_gives_the_event_that_lacks_its_blank_line() -> None:
    decoder = SseDecoder()
    assert decoder.feed(b"event: x\ndata: a") == []
    assert decoder.end() == [ServerSentEvent(b"x", b"a")]
    assert decoder.end() == []


@given(
    st.text(alphabet="abc_:. ", max_size=8).map(str.encode),
    st.lists(st.binary(max_size=12).map(lambda b: re.sub(rb"[\r\n]", b".", b)), min_size=1),
)
def test_encode_is_the_inverse_of_decode(name: bytes, lines: list[bytes]) -> None:
    data = b"\n".join(lines)
    assert decode([encode(name, data)]) == [ServerSentEvent(name, data)]


def test_encode_writes_plain_events() -> None:
    assert encode(b"ping", b"{}") == b"event: ping\ndata: {}\n\n"
    assert encode(b"", b"a\r\nb\rc") == b"data: a\ndata: b\ndata: c\n\n"
    for name in (b"a\nb", b"a\rb"):
        with pytest.raises(ValueError, match="line end"):
            encode(name, b"")


def test_pieces_lose_nothing_and_comments_are_no_events() -> None:
    stream = b": a\n\ndata: b\n\n\n\ntail"
    assert b"".join(pieces(stream)) == stream
    assert [parse_event(piece) is not None for piece in pieces(stream)].count(True) == 1
