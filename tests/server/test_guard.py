"""The framing guard: what has one reading passes unchanged, everything else is refused."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import h11
import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.guard import END, MAX_FIELDS, MAX_HEAD, MAX_TARGET, FramingGuard, Head, Refused

HOST = b"Host: 127.0.0.1:8787\r\n"


def events(guard: FramingGuard, data: bytes) -> list[Head | bytes]:
    """What ``data`` brings; pieces of one body joined, so that cuts make no difference."""
    guard.feed(data)
    return list(iter(guard.next, None))


def joined(found: list[Head | bytes]) -> list[Head | bytes]:
    out: list[Head | bytes] = []
    for event in found:
        if isinstance(event, bytes) and event and out and isinstance(out[-1], bytes) and out[-1]:
            out[-1] += event
        else:
            out.append(event)
    return out


def refusal_of(data: bytes) -> Refused | None:
    guard = FramingGuard()
    try:
        events(guard, data)
    except Refused as refusal:
        assert guard.refused
        return refusal
    assert not guard.refused
    return None


GOOD = [
    b"GET / HTTP/1.1\r\n" + HOST + b"\r\n",
    b"POST /v1/messages?beta=true HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + b"transfer-encoding: Chunked\r\n\r\n"
    b"a;ext=1\r\n0123456789\r\n0\r\nX-Trailer: 1\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"Empty:\r\nHigh: \xe9\xff\r\n\r\n",
]


@pytest.mark.parametrize("data", GOOD)
def test_a_request_is_read_the_same_however_it_is_split(data: bytes) -> None:
    whole = joined(events(FramingGuard(), data))
    assert isinstance(whole[0], Head)
    assert whole[-1] == END
    for cut in range(len(data) + 1):
        guard = FramingGuard()
        found = events(guard, data[:cut]) + events(guard, data[cut:])
        assert joined(found) == whole
        assert guard.is_between


def test_heads_are_told_as_they_were_written() -> None:
    simple, long, chunked, named, old, odd = (joined(events(FramingGuard(), d)) for d in GOOD)
    host = (b"Host", b"127.0.0.1:8787")
    assert simple == [Head("GET", b"/", "1.1", [host], 0, True, False), END]
    length = [host, (b"Content-Length", b"5")]
    head = Head("POST", b"/v1/messages?beta=true", "1.1", length, 5, True, False)
    assert long == [head, b"hello", END]
    assert chunked[1:] == [b"abc", END]
    assert named[1:] == [b"0123456789", END]
    assert old == [Head("GET", b"/", "1.0", [], 0, False, False), END]
    assert odd == [
        Head("GET", b"/", "1.1", [host, (b"Empty", b""), (b"High", b"\xe9\xff")], 0, True, False),
        END,
    ]


@pytest.mark.parametrize(
    ("field", "keeps_open", "awaits"),
    [
        (b"Connection: close", False, False),
        (b"connection: Keep-Alive, Close", False, False),
        (b"Connection: closed", True, False),
        (b"Connection: keep-alive", True, False),
        (b"Expect: 100-Continue", True, True),
        (b"Expect: else", True, False),
    ],
)
def test_what_the_client_wants_of_the_connection(
    field: bytes, keeps_open: bool, awaits: bool
) -> None:
    head = events(FramingGuard(), b"GET / HTTP/1.1\r\n" + HOST + field + b"\r\n\r\n")[0]
    assert isinstance(head, Head)
    assert (head.keeps_open, head.awaits_continue) == (keeps_open, awaits)


@given(st.lists(st.sampled_from(GOOD), min_size=1, max_size=4), st.data())
def test_a_connection_of_many_requests_is_read_the_same_however_it_is_split(
    requests: list[bytes], data: st.DataObject
) -> None:
    wire = b"".join(requests)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    guard = FramingGuard()
    found: list[Head | bytes] = []
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        found += events(guard, wire[start:end])
    assert joined(found) == [e for r in requests for e in joined(events(FramingGuard(), r))]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n", 505),
        (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
        (b"GET / HTTP/1.2\r\n" + HOST + b"\r\n", 505),
        (b"GET /\r\n" + HOST + b"\r\n", 400),
        (b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n", 426),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n", 400),
        (
            b"POST / HTTP/1.1\r\n"
            + HOST
            + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3, 3\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +3\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 0x3\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: x\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"A : b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\x00c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\rc\r\n\r\n", 400),
        (b"GET / HTTP/1.1\n" + HOST + b"\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\n\r\n\r\n", 400),
        (b"GET /" + b"a" * MAX_TARGET + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
        (b"GET /" + b"a" * (MAX_HEAD + 1), 414),
        (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n" * MAX_FIELDS + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"b" * MAX_HEAD, 431),
    ],
)
def test_ambiguous_or_foreign_framing_is_refused(data: bytes, status: int) -> None:
    refusal = refusal_of(data)
    assert refusal is not None
    assert refusal.status == status
    assert str(refusal).isprintable()


@pytest.mark.parametrize(
    "body",
    [
        b"3\nabc\r\n0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"-1\r\n",
        b"zz\r\n",
        b"1" * 9000,
        b"\r\n",
        b"0\r\nno field\r\n\r\n",
    ],
)
def test_bad_chunks_are_refused(body: bytes) -> None:
    head = b"POST /v1/messages HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    refusal = refusal_of(head + body)
    assert refusal is not None
    assert refusal.status == 400


def test_trailers_have_an_end() -> None:
    head = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"
    refusal = refusal_of(head + (b"A: " + b"b" * 1000 + b"\r\n") * 40)
    assert refusal is not None
    assert refusal.status == 431


def test_a_smuggled_second_request_is_never_read() -> None:
    smuggled = (
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\n\r\nGET /snapshot HTTP/1.1\r\n" + HOST + b"\r\n"
    )
    guard = FramingGuard()
    with pytest.raises(Refused):
        events(guard, smuggled)
    assert events(guard, b"GET /snapshot HTTP/1.1\r\n" + HOST + b"\r\n") == []


def test_a_good_request_before_a_refused_one_is_read() -> None:
    guard = FramingGuard()
    guard.feed(GOOD[1] + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert isinstance(guard.next(), Head)
    assert [guard.next(), guard.next()] == [b"hello", END]
    with pytest.raises(Refused):
        guard.next()


def test_the_refusal_names_the_path_that_was_asked_for() -> None:
    refusal = refusal_of(b"GET /v1/responses HTTP/1.1\r\n" + HOST + b"Upgrade: websocket\r\n\r\n")
    assert refusal is not None
    assert refusal.target == b"/v1/responses"


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_guard(data: bytes) -> None:
    guard = FramingGuard()
    with contextlib.suppress(Refused):
        for offset in range(0, len(data), 7):
            events(guard, data[offset : offset + 7])


def test_a_long_body_is_passed_on_without_a_copy() -> None:
    guard = FramingGuard()
    events(guard, b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 200000\r\n\r\n")
    part = b"x" * 100_000
    (found,) = events(guard, part)
    assert found is part


# ---------------------------------------------------------------------- other readers


def lowered(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """h11 writes some values in lower case."""
    return [(name, value.lower()) for name, value in headers]


def read_by_h11(data: bytes) -> list[Any]:
    """The first request as h11 reads it."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD * 2)
    connection.receive_data(data)
    request = connection.next_event()
    assert isinstance(request, h11.Request)
    body = b""
    while isinstance(event := connection.next_event(), h11.Data):
        body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    return [request.method, request.target, lowered(request.headers.raw_items()), body]


class ReadByLlhttp:
    """The first request as llhttp reads it."""

    def __init__(self, data: bytes) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.method = self.target = self.body = b""
        self.is_whole = False
        self.knows = True
        self._parser = httptools.HttpRequestParser(self)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserInvalidMethodError, httptools.HttpParserInvalidURLError):
            # It knows only methods that have a name, and looks into the target.
            self.knows = self.is_whole
        except httptools.HttpParserError:
            # What follows the first request is another matter.
            assert self.is_whole

    def on_url(self, url: bytes) -> None:
        self.target += url if not self.is_whole else b""

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.is_whole and not self.body:
            self.headers.append((name, value.strip(b" \t")))

    def on_body(self, data: bytes) -> None:
        self.body += data if not self.is_whole else b""

    def on_message_complete(self) -> None:
        self.method = self.method or self._parser.get_method()
        self.is_whole = True


FRAGMENTS = [
    *GOOD,
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b"hello",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b":",
    b"\x00",
    b";",
]


@given(
    st.sampled_from(GOOD),
    st.lists(
        st.tuples(st.integers(0, 120), st.integers(0, 3), st.sampled_from(FRAGMENTS)), max_size=3
    ),
)
def test_what_is_taken_is_read_alike_by_everybody(
    request: bytes, changes: list[tuple[int, int, bytes]]
) -> None:
    for at, removed, added in changes:
        request = request[:at] + added + request[at + removed :]
    try:
        found = joined(events(FramingGuard(), request))
    except Refused:
        return
    if END not in found:
        return
    head, body = found[0], b"".join(e for e in found[1 : found.index(END)] if isinstance(e, bytes))
    assert isinstance(head, Head)
    whole = request.lstrip(b"\r\n")
    assert read_by_h11(whole) == [head.method.encode(), head.target, lowered(head.headers), body]
    other = ReadByLlhttp(whole)
    if not other.knows:
        return
    assert [other.method, other.target] == [head.method.encode(), head.target]
    assert other.headers[: len(head.headers)] == head.headers
    assert (other.is_whole, other.body) == (True, body)
