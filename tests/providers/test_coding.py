from __future__ import annotations

import gzip
import zlib

import pytest
import zstandard
from agent_bodies import steady
from hypothesis import given
from hypothesis import strategies as st

from providers.coding import BadCoding, TooLarge, decode_body

LIMIT = 1 << 20


def raw_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(data) + stream.flush()


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


def unsized_zstd(data: bytes) -> bytes:
    stream = zstandard.ZstdCompressor().compressobj()
    return stream.compress(data) + stream.flush()


ENCODERS = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("GZIP", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("zstd", zstd),
    ("zstd", unsized_zstd),
]


@pytest.mark.parametrize(("coding", "encode"), ENCODERS)
@steady
@given(data=st.binary(max_size=2000))
def test_every_coding_is_undone(coding: str, encode: object, data: bytes) -> None:
    assert callable(encode)
    assert decode_body(encode(data), coding, LIMIT) == data


@pytest.mark.parametrize("coding", [None, "", "identity", " Identity "])
def test_a_plain_body_is_the_same_object(coding: str | None) -> None:
    body = b'{"a": 1}'
    assert decode_body(body, coding, LIMIT) is body


def test_stacked_codings_are_undone_last_first() -> None:
    body = zstd(gzip.compress(b"hello"))
    assert decode_body(body, "gzip, zstd", LIMIT) == b"hello"
    with pytest.raises(BadCoding):
        decode_body(body, "zstd, gzip", LIMIT)
    with pytest.raises(BadCoding, match="stacked"):
        decode_body(body, ",".join(["gzip"] * 5), LIMIT)


def test_concatenated_members_are_one_body() -> None:
    assert decode_body(gzip.compress(b"a") + gzip.compress(b"b"), "gzip", LIMIT) == b"ab"
    assert decode_body(zstd(b"a") + zstd(b"b"), "zstd", LIMIT) == b"ab"


@pytest.mark.parametrize("coding", ["br", "compress", "nonsense", "gzip;q=1"])
def test_an_unknown_coding_says_so(coding: str) -> None:
    with pytest.raises(BadCoding) as caught:
        decode_body(b"x", coding, LIMIT)
    assert caught.value.code == "request_body_encoding_unsupported"
    assert coding in str(caught.value)


@pytest.mark.parametrize(("coding", "encode"), ENCODERS)
def test_damaged_data_says_so(coding: str, encode: object) -> None:
    assert callable(encode)
    good = encode(b"some text that is long enough" * 20)
    damaged = [b"\xff" * 20, b"{}"]
    # A zstd frame that does not declare its size can be cut without a trace; its JSON cannot.
    if encode is not unsized_zstd:
        damaged += [good[:-6], good[:4], b""]
    for body in damaged:
        with pytest.raises(BadCoding) as caught:
            decode_body(body, coding, LIMIT)
        assert caught.value.code == "request_body_encoding_invalid"


def test_data_after_a_deflate_stream_is_refused() -> None:
    with pytest.raises(BadCoding):
        decode_body(zlib.compress(b"a") + b"junk", "deflate", LIMIT)


@pytest.mark.parametrize(("coding", "encode"), ENCODERS)
def test_a_bomb_stops_at_the_limit(coding: str, encode: object) -> None:
    assert callable(encode)
    bomb = encode(bytes(8 * LIMIT))
    assert len(bomb) < LIMIT // 32
    with pytest.raises(TooLarge) as caught:
        decode_body(bomb, coding, LIMIT)
    assert caught.value.limit == LIMIT
    assert caught.value.code == "request_body_too_large_after_decoding"
    assert len(decode_body(encode(bytes(LIMIT)), coding, LIMIT)) == LIMIT


def test_a_plain_body_over_the_limit_is_too_large() -> None:
    with pytest.raises(TooLarge):
        decode_body(bytes(11), None, 10)
