"""One turn that may teach something: what it was, and a copy of what its client got."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from providers.types import Headers
from server.exchange import Exchange
from server.policy import Target
from server.record import Turn

MOST_COPIED: Final = 256 * 1024
"""Bytes of an answer; longer ones are not compared."""


@dataclass(slots=True)
class Copy:
    """What a client was sent, overheard on its way."""

    status: int = 0
    headers: Headers = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    is_too_long: bool = False

    def hear(self, message: Any) -> None:
        """One ASGI message."""
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message["headers"])
        elif message["type"] == "http.response.body" and not self.is_too_long:
            self.body += message.get("body", b"")
            if len(self.body) > MOST_COPIED:
                self.is_too_long = True
                self.body.clear()


@dataclass(frozen=True, slots=True)
class Job:
    """A turn to be looked at once its answer is out."""

    exchange: Exchange
    readable: bytes
    """The request's body without its content coding."""
    candidate: Target
    """Whose answers are judged; its model is named."""
    asked: Target | None
    """Who is asked for the other answer; ``None``: the client's own is judged alone."""
    copy: Copy

    @property
    def turn(self) -> Turn:
        """Its record."""
        return self.exchange.turn

    @property
    def model(self) -> str:
        """The candidate's."""
        return self.candidate.model or ""

    @property
    def is_reverse(self) -> bool:
        """Whether the candidate gave the real answer."""
        return self.asked is not None and self.asked != self.candidate
