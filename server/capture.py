"""Opt-in: keeps what clients sent, without credentials, for the inspector; off unless set.

Nothing of it happens while a request is served: the body that is in memory anyway is handed over
after the last byte, and a thread decodes, masks and writes it. Bodies that come faster than that
are counted and not kept.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import msgspec

from providers.coding import BadCoding, TooLarge, decode_body
from server import capture_files
from server.clock import Clock
from server.credentials import Access
from server.exchange import Exchange
from server.headers import first
from server.record import Status
from server.redact import Redactor
from server.tasks import spawn

_log = logging.getLogger("sbgw.capture")

MOST_WAITING: Final = 64 * 1024 * 1024
"""Bytes of bodies that may wait for the disk."""
SWEEP_S: Final = 300.0
PIECE: Final = 4 * 1024
"""Characters masked at once: a pattern that runs holds the interpreter."""
LONGEST: Final = 256 * 1024
"""Characters without a line end or a comma that are kept; more is data, such as an image."""
_LEFT_OUT: Final = "[data left out]"
_SHORT: Final = 256
_REMEMBERED: Final = 4096
_MIB: Final = 1024 * 1024
_MAX_DECODED: Final = 33 * _MIB
_UNREAD: Final = frozenset({Status.REJECTED})


@dataclass(frozen=True, slots=True)
class Limits:
    """What ``[capture]`` says; ``keep_s`` in seconds."""

    enabled: bool = False
    keep_s: float = 24 * 3_600.0
    most_bytes: int = 256 * _MIB


class Capture:
    """The kept bodies of one home; belongs to the loop's thread."""

    def __init__(self, state_dir: Path, limits: Callable[[], Limits], clock: Clock) -> None:
        self.folder = capture_files.folder_of(state_dir)
        self._limits = limits
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._mask = Mask()
        self._waiting = 0
        self._running: set[asyncio.Task[None]] = set()
        self._files = self._bytes = self._dropped = 0
        self._problem: str | None = None

    @property
    def is_on(self) -> bool:
        """Whether bodies are kept now."""
        return self._limits().enabled

    def as_json(self) -> dict[str, Any]:
        """``snapshot["capture"]``: ``enabled keep_s max_bytes files bytes dropped problem path``."""
        limits = self._limits()
        return {
            "enabled": limits.enabled,
            "keep_s": limits.keep_s,
            "max_bytes": limits.most_bytes,
            "files": self._files,
            "bytes": self._bytes,
            "dropped": self._dropped,
            "problem": self._problem,
            "path": str(self.folder),
        }

    def ended(self, exchange: Exchange) -> None:
        """Keep an ended exchange's request; returns at once."""
        turn = exchange.turn
        if not self.is_on or not exchange.body or turn.status in _UNREAD:
            return
        if turn.kind == "count_tokens":
            return  # the same conversation follows with the call itself
        if self._waiting + len(exchange.body) > MOST_WAITING:
            self._dropped += 1
            return
        self._waiting += len(exchange.body)
        task = spawn("capture", self._keep(exchange))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _keep(self, exchange: Exchange) -> None:
        turn, inbound = exchange.turn, exchange.inbound
        coding = first(inbound.headers, b"content-encoding")
        meta = {
            "v": 1,
            "turn": turn.id,
            "at": turn.at,
            "session": turn.session,
            "agent": turn.agent,
            "protocol": turn.protocol.value,
        }
        try:
            async with self._one_at_a_time:
                write = partial(self._write, meta, turn.project, exchange.body, coding)
                size = await asyncio.to_thread(write, inbound.access)
            self._files, self._bytes = self._files + 1, self._bytes + size
            self._problem = None
            if self._bytes > self._limits().most_bytes:
                await self.sweep()
        except (BadCoding, TooLarge, msgspec.DecodeError, RecursionError):
            self._dropped += 1
        except OSError as error:
            self._dropped += 1
            self._told(f"request bodies cannot be kept: {error.strerror or error}")
        finally:
            self._waiting -= len(exchange.body)

    def _write(
        self,
        meta: dict[str, Any],
        project: str | None,
        body: bytes,
        coding: str | None,
        access: Access,
    ) -> int:
        readable = decode_body(body, coding, max(_MAX_DECODED, len(body)))
        found = self._mask(msgspec.json.decode(readable), access.redact, access.client_secrets)
        content = meta | {"body": found}
        return capture_files.write(self.folder, meta["turn"], meta["session"], project, content)

    def _told(self, problem: str) -> None:
        if problem != self._problem:
            _log.warning("%s", problem)
        self._problem = problem

    # ------------------------------------------------------------------ keeping it small

    async def sweep(self) -> None:
        """Remove what is too old or too much, also when nothing is kept any more."""
        limits = self._limits()

        def small() -> tuple[int, int]:
            return capture_files.keep_small(
                self.folder,
                now=self._clock.time(),
                keep_s=limits.keep_s,
                most_bytes=limits.most_bytes,
            )

        try:
            self._files, self._bytes = await asyncio.to_thread(small)
        except OSError as error:
            self._told(f"kept request bodies cannot be removed: {error.strerror or error}")

    async def keep_small(self) -> None:
        """Sweep now and every few minutes; runs until cancelled."""
        if self.is_on:
            _log.warning("request bodies are kept in %s (capture.enabled)", self.folder)
        while True:
            await self.sweep()
            await self._clock.sleep(SWEEP_S)

    async def drain(self) -> None:
        """Wait for the bodies that are on their way to the disk."""
        if self._running:
            await asyncio.wait(self._running)

    def read(self, turn_id: str) -> dict[str, Any] | None:
        """What was kept of a turn: ``protocol`` and ``body`` among it; blocks on the disk."""
        return capture_files.read(self.folder, turn_id)


class Mask:
    """Masks credentials in every text of a JSON value; texts seen clean before are not read again.

    A conversation is sent anew with every turn, so nearly all of it has been read already. What
    is remembered of a text is a digest.
    """

    def __init__(self) -> None:
        self._clean: OrderedDict[bytes, None] = OrderedDict()

    def __call__(self, value: Any, redact: Redactor, secrets: Sequence[str] = ()) -> Any:
        """``value`` with masked texts and keys; ``secrets`` are those that only ``redact`` knows."""
        whose = blake2b("\n".join(secrets).encode("utf-8", "replace"), digest_size=16).digest()
        return self._masked(value, redact, whose)

    def _masked(self, value: Any, redact: Redactor, whose: bytes) -> Any:
        if isinstance(value, str):
            return self._text(value, redact, whose)
        if isinstance(value, list):
            return [self._masked(item, redact, whose) for item in value]
        if isinstance(value, dict):
            return {redact(key): self._masked(item, redact, whose) for key, item in value.items()}
        return value

    def _text(self, text: str, redact: Redactor, whose: bytes) -> str:
        if len(text) < _SHORT:
            return redact(text)
        # Clean of one client's key is not clean of another's.
        digest = blake2b(text.encode("utf-8", "replace"), digest_size=16, person=whose).digest()
        if digest in self._clean:
            self._clean.move_to_end(digest)
            return text
        masked = "".join(_LEFT_OUT if len(p) > LONGEST else redact(p) for p in _pieces(text))
        if masked == text:
            self._clean[digest] = None
            if len(self._clean) > _REMEMBERED:
                self._clean.popitem(last=False)
        return masked


def _pieces(text: str) -> Iterator[str]:
    """``text`` in pieces of bounded length, cut where no credential is cut in two."""
    start = 0
    while len(text) - start > PIECE:
        end = max(text.rfind(mark, start, start + PIECE) for mark in "\n,") + 1
        if end <= start:
            after = [at for mark in "\n," if (at := text.find(mark, start + PIECE)) >= 0]
            end = min(after) + 1 if after else len(text)
        yield text[start:end]
        start = end
    yield text[start:]
