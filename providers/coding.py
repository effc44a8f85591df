"""Request and response bodies as they travel: undoing ``Content-Encoding`` within a limit."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable

import zstandard

_MAX_CODINGS = 4
_MAX_ZSTD_WINDOW = 1 << 27


class BadCoding(ValueError):
    """A body whose ``Content-Encoding`` cannot be undone; ``str()`` is a sentence for the user.

    ``code`` is Anthropic's ``details.error_code`` for it.
    """

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class TooLarge(BadCoding):
    """A body that is over the limit once decoded; ``limit`` is in bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"The body is larger than {limit} bytes once decompressed.",
            "request_body_too_large_after_decoding",
        )
        self.limit = limit


def decode_body(body: bytes, content_encoding: str | None, limit: int) -> bytes:
    """Undo ``Content-Encoding`` (RFC 9110 8.4); at most ``limit`` bytes are ever produced.

    Understands ``gzip``, ``deflate`` (zlib or raw), ``zstd`` and ``identity``, also stacked.
    Raises ``BadCoding`` for an unknown coding or corrupt data, its subclass ``TooLarge`` beyond
    ``limit``.
    """
    codings = [c for c in (content_encoding or "").lower().replace(" ", "").split(",") if c]
    codings = [c for c in codings if c != "identity"]
    if len(codings) > _MAX_CODINGS:
        raise _unsupported("stacked more than four times")
    for coding in reversed(codings):
        decoder = _DECODERS.get(coding)
        if decoder is None:
            raise _unsupported(repr(coding[:40]))
        try:
            body = decoder(body, limit)
        except (zlib.error, zstandard.ZstdError, EOFError) as error:
            raise BadCoding(
                f"The body is not valid {coding} data, although content-encoding says so.",
                "request_body_encoding_invalid",
            ) from error
    if len(body) > limit:
        raise TooLarge(limit)
    return body


def _unsupported(what: str) -> BadCoding:
    return BadCoding(
        f"The content-encoding {what} is not supported; send gzip, deflate, zstd or none.",
        "request_body_encoding_unsupported",
    )


def _gunzip(body: bytes, limit: int) -> bytes:
    return _inflate(body, limit, 16 + zlib.MAX_WBITS, members=True)


def _undeflate(body: bytes, limit: int) -> bytes:
    # Some clients send raw deflate data under this name; the zlib header tells the two apart.
    has_header = len(body) >= 2 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0
    return _inflate(body, limit, zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS, members=False)


def _inflate(body: bytes, limit: int, wbits: int, *, members: bool) -> bytes:
    """Decompress one stream, or (gzip) as many concatenated members as there are."""
    pieces: list[bytes] = []
    produced = 0
    while True:
        stream = zlib.decompressobj(wbits)
        piece = stream.decompress(body, limit - produced + 1)
        pieces.append(piece)
        produced += len(piece)
        if produced > limit:
            raise TooLarge(limit)
        if not stream.eof:
            raise EOFError("truncated")
        body = stream.unused_data
        if not body:
            return b"".join(pieces)
        if not members:
            raise zlib.error("data after the end of the stream")


def _unzstd(body: bytes, limit: int) -> bytes:
    declared = zstandard.frame_content_size(body)
    if declared > limit:
        raise TooLarge(limit)
    decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_ZSTD_WINDOW)
    with decompressor.stream_reader(io.BytesIO(body), read_across_frames=True) as reader:
        decoded = reader.read(limit + 1)
    if len(decoded) > limit:
        raise TooLarge(limit)
    # The reader ends quietly on a cut frame; only a declared size can show it.
    if declared > len(decoded):
        raise EOFError("truncated")
    return decoded


_DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _undeflate,
    "zstd": _unzstd,
}
