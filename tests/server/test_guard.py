"""The framing guard: what has one reading passes unchanged, everything else is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.guard import (
    MAX_FIELDS,
    MAX_HEAD,
    MAX_TARGET,
    REFUSED_HEADER,
    FramingGuard,
    Refused,
    check_head,
    read_refusal,
)

NONCE = b"n0nce"
HOST = b"Host: 127.0.0.1:8787\r\n"


def refusal_of(data: bytes) -> Refused | None:
    guard = FramingGuard(NONCE)
    out = guard.feed(data)
    if not guard.refused:
        return None
    marker = REFUSED_HEADER + b": "
    value = out[out.rindex(marker) + len(marker) :].split(b"\r\n")[0]
    return read_refusal(NONCE, value)


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
def test_valid_requests_pass_unchanged_however_they_are_split(data: bytes) -> None:
    for cut in range(len(data) + 1):
        guard = FramingGuard(NONCE)
        assert guard.feed(data[:cut]) + guard.feed(data[cut:]) == data
        assert not guard.refused


@given(st.lists(st.sampled_from(GOOD), min_size=1, max_size=4), st.data())
def test_a_connection_of_many_requests_passes_unchanged(
    requests: list[bytes], data: st.DataObject
) -> None:
    wire = b"".join(requests)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    guard = FramingGuard(NONCE)
    out = b""
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        out += guard.feed(wire[start:end])
    assert out == wire


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
    [b"3\nabc\r\n0\r\n\r\n", b"3\r\nabcd\r\n0\r\n\r\n", b"-1\r\n", b"zz\r\n", b"1" * 9000, b"\r\n"],
)
def test_bad_chunks_are_refused(body: bytes) -> None:
    head = b"POST /v1/messages HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    refusal = refusal_of(head + body)
    assert refusal is not None
    assert refusal.status == 400


def test_a_smuggled_second_request_never_reaches_the_server() -> None:
    smuggled = (
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\n\r\nGET /snapshot HTTP/1.1\r\n" + HOST + b"\r\n"
    )
    guard = FramingGuard(NONCE)
    out = guard.feed(smuggled)
    assert b"/snapshot" not in out
    assert guard.feed(b"GET /snapshot HTTP/1.1\r\n" + HOST + b"\r\n") == b""


def test_a_refusal_after_a_good_request_keeps_the_good_one() -> None:
    good = GOOD[1]
    guard = FramingGuard(NONCE)
    out = guard.feed(good + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert out.startswith(good)
    assert out[len(good) :].startswith(b"GET / HTTP/1.1\r\n")


def test_a_forged_refusal_is_not_believed() -> None:
    assert read_refusal(NONCE, b"other 400 eA== Lw==") is None
    assert read_refusal(NONCE, b"garbage") is None


def test_the_refusal_names_the_path_that_was_asked_for() -> None:
    refusal = refusal_of(b"GET /v1/responses HTTP/1.1\r\n" + HOST + b"Upgrade: websocket\r\n\r\n")
    assert refusal is not None
    assert refusal.target == b"/v1/responses"


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_guard(data: bytes) -> None:
    guard = FramingGuard(NONCE)
    for offset in range(0, len(data), 7):
        guard.feed(data[offset : offset + 7])


def test_check_head_gives_the_body_length() -> None:
    assert check_head(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 12") == 12
    assert check_head(b"POST / HTTP/1.1\r\nHost: x") == 0
    assert check_head(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked") is None
