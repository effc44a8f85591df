"""The units of a script: one request with its answers, and what may happen at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from providers.types import Headers
from server.demo.answers import Answer

MESSAGES = "/v1/messages"
COUNT_TOKENS = "/v1/messages/count_tokens"

_AGENT_HEADERS: Headers = [
    (b"accept", b"application/json"),
    (b"user-agent", b"claude-cli/2.1.330 (external, cli)"),
    (b"x-app", b"cli"),
    (b"anthropic-version", b"2023-06-01"),
    (b"anthropic-beta", b"claude-code-20250219,interleaved-thinking-2025-05-14"),
    (b"x-stainless-lang", b"js"),
    (b"x-stainless-timeout", b"600"),
]
_PROGRAM_HEADERS: Headers = [
    (b"accept", b"*/*"),
    (b"user-agent", b"python-httpx/0.28.1"),
    (b"anthropic-version", b"2023-06-01"),
]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request, as far as its headers tell."""

    session: str | None = None
    project: str | None = None
    branch: str | None = None
    agent: str | None = None
    own_credential: tuple[bytes, bytes] | None = None
    """A credential of the client's own, sent beside the gateway key."""
    wrong_key: bool = False
    """It presents a gateway key that is none."""

    def headers(self, key: bytes) -> Headers:
        """Its request headers; ``key`` is the gateway's."""
        found = list(_AGENT_HEADERS if self.session else _PROGRAM_HEADERS)
        key = b"not-the-key" if self.wrong_key else key
        if self.own_credential is None:
            found.append((b"x-api-key", key))
        else:
            found += [self.own_credential, (b"x-sbgw-key", key)]
        labels = (
            (b"x-claude-code-session-id", self.session),
            (b"x-claude-code-agent-id", self.agent),
            (b"x-sbgw-project", self.project),
            (b"x-sbgw-branch", self.branch),
        )
        return found + [(name, value.encode()) for name, value in labels if value]


@dataclass(frozen=True, slots=True)
class Step:
    """One request, the pause before it, and what the vendor says to each try of it."""

    caller: Caller
    body: bytes
    answers: tuple[Answer, ...] = (Answer(),)
    """One a try; the last serves all further ones."""
    pause_s: float = 0.5
    path: str = MESSAGES
    leave_after_s: float | None = None
    """The client goes away this long after it asked."""
    may_retry: bool = True


@dataclass(frozen=True, slots=True)
class Together:
    """Branches that run side by side; the script goes on when all have ended."""

    branches: tuple[Iterator[Step], ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing happens for a while."""

    seconds: float


Script = Iterator[Step | Together | Pause]


def together(*branches: Step | Iterator[Step]) -> Together:
    """Steps, or sequences of steps, at the same time."""
    return Together(tuple(iter([b]) if isinstance(b, Step) else b for b in branches))
