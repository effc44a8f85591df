"""Keyed digests of what a request repeats: one per prefix block, one of the whole body.

The ledger keeps these instead of text. Two requests of one installation that share a prefix share
the leading records; without the installation's key a digest tells nothing. A block is hashed in a
normal form, so that what a vendor's prompt cache treats alike is alike here: string content equals
a list of one text block, ``cache_control`` marks and the order of keys do not count, Claude Code's
accounting block and the item ids of the Responses API are left out.

Packed form, little endian: one version byte, then per block in cache order (tools, system,
messages) ::

    B   tag      ord of "t", "s" or "m"
    B   detail   message: role code (see ROLES), + FLAG_FILES; tool: flags (see FLAG_*); system: 0
    I   tokens   estimate, characters of text / 4
    8s  digest   of the whole block
    8s  name     tools only: digest of the name alone
    B,  label    tools with FLAG_MCP only: length and UTF-8 bytes of the MCP server's name, which is
                 configuration, not text; version 1 has none
    I   files    messages with FLAG_FILES only: the part of ``tokens`` that a tool read from files
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from hashlib import blake2b
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Raw

from providers.protocols import peek
from providers.protocols.anthropic.request import ATTRIBUTION, MessagesRequest, SystemBlock
from providers.protocols.anthropic.request import read_request as read_messages
from providers.protocols.openai_chat.request import read_request as read_chat
from providers.protocols.openai_responses.request import ResponsesRequest
from providers.protocols.openai_responses.request import read_request as read_responses
from providers.types import Protocol
from server.classify.entries import AnyRequest, Entry, conversation, entry_reader
from server.prefix_files import FileReads

VERSION = 2
_WITHOUT_LABELS = 1
"""The version before; its tools have no label and its messages no files."""
DIGEST_SIZE = 8
ROLES = ("other", "user", "assistant", "system", "developer", "tool")
_ROLE_CODES = {name: code for code, name in enumerate(ROLES)} | {"function": ROLES.index("tool")}

FLAG_MCP = 1
FLAG_DEFERRED = 2
FLAG_SERVER = 4
"""Runs at the vendor: a typed tool of Anthropic, a hosted one of OpenAI."""

FLAG_FILES = 0x80
"""Of messages."""

LABEL_BYTES = 40
"""Of an MCP server's name; the rest is cut off."""

IMAGE_TOKENS = 1_600
"""What a large image costs; its bytes say nothing about its tokens."""

MEMORY_BLOCKS: Final = 8192
"""Blocks a ``Digester`` remembers: some twenty long sessions, in about two megabytes."""

GROUP: Final = 16
"""Blocks that are recognised with one look."""

_CHARS_PER_TOKEN = 4
_BLOCK = struct.Struct("<BBI8s")
_TOOL, _SYSTEM, _MESSAGE = ord("t"), ord("s"), ord("m")
_NAME = struct.Struct("<8s")
_FILES = struct.Struct("<I")
_MAX_TOKENS = 0xFFFFFFFF
_PLAIN_TOOLS = frozenset({None, "function", "custom"})
_OUTSIDE_PREFIX = frozenset(
    # What a client changes when it sends the same request again: Claude Code's fall-back turns
    # streaming off with another max_tokens, and every Codex turn has its own metadata.
    {
        "stream",
        "stream_options",
        "max_tokens",
        "max_output_tokens",
        "max_completion_tokens",
        "metadata",
        "client_metadata",
    }
)


class PrefixBlock(msgspec.Struct, frozen=True, gc=False):
    """One unpacked record; tells what a block is and how big, not what it says.

    A report unpacks millions of them.
    """

    tag: str
    """``t`` tool, ``s`` system, ``m`` message or input item."""
    digest: bytes
    tokens: int
    role: str | None = None
    """Messages only; one of ``ROLES``."""
    name_digest: bytes | None = None
    """Tools only."""
    flags: int = 0
    """Tools only; ``FLAG_*``."""
    server: str | None = None
    """Tools only: the MCP server it belongs to; ``None`` for others, and where it is not known."""
    file_tokens: int = 0
    """Messages only: the part of ``tokens`` that a tool read from files."""

    @property
    def is_mcp(self) -> bool:
        """Whether the tool comes from an MCP server."""
        return bool(self.flags & FLAG_MCP)


def digest_body(
    body: bytes, key: bytes, protocol: Protocol = Protocol.MESSAGES
) -> tuple[bytes, str]:
    """Read a (decompressed) body and return ``(packed blocks, body digest)``.

    Meant for a worker thread, after the last byte. ``key`` is the installation's secret, at most
    64 bytes. Raises ``BadRequest`` for a body that cannot be read.
    """
    if protocol is Protocol.MESSAGES:
        return digest_request(read_messages(body), key)
    if protocol is Protocol.RESPONSES:
        return digest_request(read_responses(body), key)
    return digest_request(read_chat(body), key)


def digest_request(request: AnyRequest, key: bytes) -> tuple[bytes, str]:
    """The same for a request that has been read; the digest is hexadecimal, 16 digits."""
    return Digester(key).digest(request)


class Digester:
    """``digest_request`` for many requests of one installation; belongs to one thread.

    A conversation is sent anew with every turn, so most blocks have been digested before: they
    are recognised by their bytes as received and not read again. Digests are remembered, not text.
    """

    def __init__(self, key: bytes, memory: int = MEMORY_BLOCKS) -> None:
        """``key`` as for ``digest_body``; ``memory`` is the least number of blocks remembered."""
        self._key = key
        self._memory = memory
        self._reads = FileReads()
        self._recent: dict[bytes, _Record] = {}
        self._older: dict[bytes, _Record] = {}

    def digest(self, request: AnyRequest) -> tuple[bytes, str]:
        """Packed blocks and body digest; never raises."""
        packed = bytearray((VERSION,))
        whole = blake2b(key=self._key, digest_size=DIGEST_SIZE)
        for scope, same in groupby(_pieces(request, self._reads), key=itemgetter(0)):
            pieces = list(same)
            full = len(pieces) // GROUP * GROUP
            for start in range(0, full, GROUP):
                record, mark = self._group(scope, pieces[start : start + GROUP])
                packed += record
                whole.update(mark)
            for piece in pieces[full:]:
                record, mark = self._piece(piece)
                packed += record
                whole.update(mark)
        for name, raw in sorted(_settings(request)):
            whole.update(name.encode("utf-8", "replace"))
            whole.update(_digest(_canonical(raw), self._key))
        return bytes(packed), whole.hexdigest()

    def _group(self, scope: bytes, pieces: Sequence[_Piece]) -> _Record:
        """Of several pieces at once: of a long conversation most come back all together."""

        def make() -> _Record:
            made = [self._piece(piece) for piece in pieces]
            return b"".join([record for record, _ in made]), b"".join([mark for _, mark in made])

        # Nothing that separates pieces otherwise: JSON has no zero byte.
        whole = b"\0".join([raw for _, raw, _ in pieces])
        return self._known(scope + b"*", whole, make)

    def _piece(self, piece: _Piece) -> _Record:
        scope, raw, read = piece
        return self._known(scope, raw, lambda: self._pack(read()))

    def _known(self, scope: bytes, raw: _Bytes, make: Callable[[], _Record]) -> _Record:
        """What was made of ``raw`` before, or is made now."""
        seen = blake2b(raw, key=self._key, digest_size=16, person=scope).digest()
        known = self._recent.get(seen)
        if known is None:
            known = self._older.get(seen) or make()
            if len(self._recent) >= self._memory:
                self._older, self._recent = self._recent, {}
            self._recent[seen] = known
        return known

    def _pack(self, block: _Block | None) -> _Record:
        if block is None:
            return b"", b""
        digest = _digest(block.form, self._key)
        tokens = min(block.tokens, _MAX_TOKENS)
        record = _BLOCK.pack(ord(block.tag), block.detail, tokens, digest)
        if block.name is not None:
            record += _NAME.pack(_digest(block.name.encode("utf-8", "replace"), self._key))
        if block.server is not None:
            label = _label(block.server)
            record += bytes((len(label),)) + label
        if block.file_tokens:
            record += _FILES.pack(min(block.file_tokens, tokens))
        return record, block.tag.encode() + digest


def body_digest(request: AnyRequest, key: bytes) -> str:
    """The digest of everything but streaming, output limit and metadata."""
    return digest_request(request, key)[1]


def unpack(packed: bytes) -> list[PrefixBlock]:
    """The records of ``digest_request``; raises ``ValueError`` for anything else."""
    if not packed or packed[0] not in (VERSION, _WITHOUT_LABELS):
        raise ValueError("not a list of prefix blocks of a known version")
    blocks: list[PrefixBlock] = []
    add, read, size = blocks.append, _BLOCK.unpack_from, _BLOCK.size
    labels, files_flag = (FLAG_MCP, FLAG_FILES) if packed[0] == VERSION else (0, 0)
    position, end = 1, len(packed)
    try:
        while position < end:
            tag, detail, tokens, digest = read(packed, position)
            position += size
            if tag == _MESSAGE:
                files = 0
                if detail & files_flag:
                    (files,) = _FILES.unpack_from(packed, position)
                    position += _FILES.size
                role = ROLES[detail & ~FLAG_FILES]
                add(PrefixBlock("m", digest, tokens, role, None, 0, None, files))
            elif tag == _TOOL:
                (name,) = _NAME.unpack_from(packed, position)
                position += _NAME.size
                server = None
                if detail & labels:
                    server, position = _read_label(packed, position)
                add(PrefixBlock("t", digest, tokens, None, name, detail, server))
            elif tag == _SYSTEM:
                add(PrefixBlock("s", digest, tokens))
            else:
                raise ValueError(f"unknown tag {tag}")
    except (struct.error, IndexError) as error:
        raise ValueError("the list of prefix blocks is cut or damaged") from error
    return blocks


class Digests(NamedTuple):
    """The digests of ``unpack``, by what they are of and in order."""

    tools: list[bytes]
    system: list[bytes]
    messages: list[bytes]


def digests_in(packed: bytes) -> Digests:
    """What two calls are compared by, without the rest; raises ``ValueError`` like ``unpack``."""
    if not packed or packed[0] not in (VERSION, _WITHOUT_LABELS):
        raise ValueError("not a list of prefix blocks of a known version")
    found = Digests([], [], [])
    size, digest_at = _BLOCK.size, _BLOCK.size - DIGEST_SIZE
    labels, files_flag = (FLAG_MCP, FLAG_FILES) if packed[0] == VERSION else (0, 0)
    position, end = 1, len(packed)
    try:
        while position < end:
            tag, detail = packed[position], packed[position + 1]
            digest = packed[position + digest_at : position + size]
            position += size
            if tag == _MESSAGE:
                found.messages.append(digest)
                if detail & files_flag:
                    position += _FILES.size
            elif tag == _TOOL:
                found.tools.append(digest)
                position += _NAME.size
                if detail & labels:
                    position += 1 + packed[position]
            elif tag == _SYSTEM:
                found.system.append(digest)
            else:
                raise ValueError(f"unknown tag {tag}")
    except IndexError as error:
        raise ValueError("the list of prefix blocks is cut or damaged") from error
    if position > end:
        raise ValueError("the list of prefix blocks is cut or damaged")
    return found


def _read_label(packed: bytes, position: int) -> tuple[str, int]:
    end = position + 1 + packed[position]
    if end > len(packed):
        raise IndexError(end)
    return packed[position + 1 : end].decode("utf-8", "replace"), end


def _label(server: str) -> bytes:
    """The name as stored: whole characters, at most ``LABEL_BYTES``."""
    cut = server.encode("utf-8", "replace")[:LABEL_BYTES]
    return cut.decode("utf-8", "ignore").encode()


def _digest(data: bytes, key: bytes) -> bytes:
    return blake2b(data, key=key, digest_size=DIGEST_SIZE).digest()


class _Block(NamedTuple):
    """One block of the prefix, read."""

    tag: str
    detail: int
    tokens: int
    form: bytes
    """Its normal form."""
    name: str | None = None
    """Of a tool."""
    server: str | None = None
    file_tokens: int = 0


_Reader = Callable[[], _Block | None]
"""Reads a block; ``None`` for one that is no part of the prefix."""

_Record = tuple[bytes, bytes]
"""The packed record, and what the body's digest is made of."""

_Bytes = Raw | bytes

_Piece = tuple[bytes, _Bytes, _Reader]
"""What its bytes are read as, the bytes, and how."""


def _pieces(request: AnyRequest, reads: FileReads) -> Iterator[_Piece]:
    """Every block of the prefix in the order in which vendors cache it, unread.

    The first part says what the bytes are read as: the same bytes may mean something else there.
    """
    protocol = type(request).__name__[:8].encode()
    for tool in request.tools:
        seen = bytes(tool.raw) + tool.group.encode("utf-8", "replace") if tool.group else tool.raw
        yield b"tool" + protocol, seen, partial(_tool_block, tool)
    if isinstance(request, MessagesRequest):
        for block in request.system:
            yield b"system", block.raw, partial(_system_block, block)
    elif isinstance(request, ResponsesRequest) and request.instructions:
        text = request.instructions
        form = text.encode("utf-8", "replace")
        yield b"text", form, partial(_text_block, text, form)
    drop_id = isinstance(request, ResponsesRequest)
    read = entry_reader(request)
    for raw in conversation(request):
        yield b"turn" + protocol, raw, partial(_message_block, raw, read, reads, drop_id=drop_id)


def _tool_block(tool: peek.ToolRef) -> _Block:
    server = tool.mcp_server
    flags = FLAG_MCP * (server is not None) | FLAG_DEFERRED * tool.deferred
    hosted = tool.type not in _PLAIN_TOOLS
    form = _canonical(tool.raw)
    tokens = _tokens_of(len(form))
    return _Block("t", flags | FLAG_SERVER * hosted, tokens, form, tool.name, server)


def _system_block(block: SystemBlock) -> _Block | None:
    text = block.text
    if text.startswith(ATTRIBUTION):
        return None
    return _Block("s", 0, _tokens_of(len(text)), _canonical(block.raw, _as_text_block))


def _text_block(text: str, form: bytes) -> _Block:
    return _Block("s", 0, _tokens_of(len(text)), form)


def _message_block(
    raw: Raw, read: Callable[[Raw], Entry], reads: FileReads, *, drop_id: bool
) -> _Block:
    entry = read(raw)
    tokens = _tokens_of(entry.chars) + IMAGE_TOKENS * entry.images
    message = peek.value(raw)
    files = _tokens_of(reads.chars(message))
    role, form = _message(message, raw, drop_id=drop_id)
    flag = FLAG_FILES if files else 0
    return _Block("m", role | flag, tokens, form, file_tokens=files)


def _message(message: Any, raw: Raw, *, drop_id: bool) -> tuple[int, bytes]:
    """Role code and normal form of a message or input item; ``message`` is changed."""
    if not isinstance(message, dict):
        return 0, _canonical(raw)
    role = _role_code(message)
    if drop_id:
        message.pop("id", None)
    _lists_for_strings(message)
    try:
        return role, _encode(message)
    except RecursionError:
        return role, bytes(raw)


def _role_code(message: dict[str, Any]) -> int:
    """The role; Responses items without one have it from their type."""
    role, kind = message.get("role"), message.get("type")
    if role is None and isinstance(kind, str):
        if kind.endswith("_output"):
            role = "tool"
        elif kind.endswith("_call") or kind == "reasoning":
            role = "assistant"
    return _ROLE_CODES.get(role, 0) if isinstance(role, str) else 0


def _settings(request: AnyRequest) -> Iterator[tuple[str, Raw]]:
    """The top-level fields that change the answer and are no prefix blocks."""
    blocks = {"system", "tools", "messages", "input", "instructions"}
    for name, raw in request.fields.items():
        if name not in _OUTSIDE_PREFIX and name not in blocks:
            yield name, raw


def _tokens_of(chars: int) -> int:
    return chars // _CHARS_PER_TOKEN


def _canonical(raw: Raw, shape: Any = None) -> bytes:
    """The normal form of a value; the bytes as they are if it cannot be held."""
    value = peek.value(raw)
    if value is None:
        return bytes(raw)
    try:
        return _encode(shape(value) if shape else value)
    except RecursionError:
        return bytes(raw)


def _encode(value: Any) -> bytes:
    encoded = msgspec.json.encode(value, order="sorted")
    if b'"cache_control":' not in encoded:
        return encoded
    return msgspec.json.encode(_without_marks(value), order="sorted")


def _without_marks(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_marks(v) for k, v in value.items() if k != "cache_control"}
    if isinstance(value, list):
        return [_without_marks(item) for item in value]
    return value


def _as_text_block(value: Any) -> Any:
    return {"type": "text", "text": value} if isinstance(value, str) else value


def _lists_for_strings(message: dict[str, Any]) -> None:
    """Make string contents lists, in a decoded message and in the tool results it carries."""
    content = message.get("content")
    if isinstance(content, str):
        message["content"] = [_as_text_block(content)]
    elif isinstance(content, list):
        for block in content:
            if isinstance(block, dict) and block.get("type") == "tool_result":
                inner = block.get("content")
                if isinstance(inner, str):
                    block["content"] = [_as_text_block(inner)]
