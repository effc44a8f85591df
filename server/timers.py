"""When an exchange has waited long enough; pure, asked by a ticker that passes the time in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

MAX_TOTAL_S = 600.0
MARGIN_S = 5.0


class Verdict(StrEnum):
    """What is due now."""

    KEEPALIVE = "keepalive"
    """Nothing was sent to the client for a while; the answer is still alive."""
    DEADLINE = "deadline"
    NO_ANSWER = "no_answer"
    """The first byte is late, and another candidate could still answer."""
    SILENT = "silent"
    """No upstream byte for too long."""
    NO_PROGRESS = "no_progress"
    """Upstream bytes, but nothing semantic among them for too long."""
    CLIENT_STALLED = "client_stalled"
    """The client does not take the bytes it was sent."""
    BODY_STALLED = "body_stalled"
    """The client stopped in the middle of its request body."""
    LINGERING = "lingering"
    """The answer is complete but the upstream does not close it."""


@dataclass(frozen=True, slots=True)
class TimerLimits:
    """The one table of timers, in seconds."""

    silent_s: float = 290.0
    """No upstream byte in a native stream."""
    no_progress_s: float = 300.0
    no_progress_thinking_s: float = 600.0
    keepalive_s: float = 15.0
    client_stall_s: float = 60.0
    body_stall_s: float = 60.0
    linger_s: float = 2.0


def total_deadline_s(client_hint_s: float | None) -> float:
    """Seconds all attempts together may take before the answer begins.

    ``client_hint_s`` is the client's own timeout (``x-stainless-timeout``); the answer must come
    a little earlier, or the client would have given up on it.
    """
    hint = client_hint_s if client_hint_s is not None and client_hint_s > 0 else MAX_TOTAL_S
    total = min(hint, MAX_TOTAL_S)
    return max(total - MARGIN_S, total / 2)


@dataclass(slots=True)
class Watch:
    """The instants one exchange is judged by; all on the same monotonic clock."""

    limits: TimerLimits
    deadline: float
    is_stream: bool = False
    receiving_since: float | None = None
    first_byte_at: float | None = None
    last_byte_at: float = 0.0
    last_progress_at: float = 0.0
    last_sent_at: float = 0.0
    committed: bool = False
    attempt_until: float | None = None
    """When the running attempt gives way to the next candidate; ``None``: there is none."""
    terminal_at: float | None = None
    is_thinking: bool = False
    writing_since: float | None = None

    def upstream_byte(self, now: float) -> None:
        """Any byte of the upstream's answer arrived."""
        if self.first_byte_at is None:
            self.first_byte_at = self.last_progress_at = now
        self.last_byte_at = now

    def verdict(self, now: float) -> Verdict | None:
        """What is due at ``now``, the gravest first."""
        limits = self.limits
        if self.writing_since is not None and now - self.writing_since >= limits.client_stall_s:
            return Verdict.CLIENT_STALLED
        if self.receiving_since is not None:
            stalled = now - self.receiving_since >= limits.body_stall_s
            return Verdict.BODY_STALLED if stalled else None
        if not self.committed and now >= self.deadline:
            return Verdict.DEADLINE
        if not self.committed and self.attempt_until is not None and now >= self.attempt_until:
            return Verdict.NO_ANSWER
        if not self.is_stream or self.first_byte_at is None:
            return None
        if self.writing_since is not None:
            return None
        if self.terminal_at is not None:
            return Verdict.LINGERING if now - self.terminal_at >= limits.linger_s else None
        return self._stream_verdict(now)

    def _stream_verdict(self, now: float) -> Verdict | None:
        limits = self.limits
        if now - self.last_byte_at >= limits.silent_s:
            return Verdict.SILENT
        patience = limits.no_progress_thinking_s if self.is_thinking else limits.no_progress_s
        if now - self.last_progress_at >= patience:
            return Verdict.NO_PROGRESS
        if self.committed and now - self.last_sent_at >= limits.keepalive_s:
            return Verdict.KEEPALIVE
        return None
