"""An engine that does what a test says: implements server.engine.EngineClient in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from providers.types import Delivery, Payer, Protocol, Usage, UsageSource
from server import events
from server.clock import Clock
from server.engine import CommandResult, Snapshot
from server.events import Event
from server.record import Attempt, Phase, Proposal, Saving, Status, Turn


def saved(turns: int = 0, usd: float = 0.0, **fields: Any) -> dict[str, Any]:
    """A ``SAVED`` of server.engine; without ``fields`` a range of a tenth around ``usd``."""
    return {
        "turns": turns,
        "naive_usd": abs(usd) * 25,
        "usd": usd,
        "low_usd": usd - abs(usd) / 10,
        "high_usd": usd + abs(usd) / 10,
        "quota_usd": usd,
        "losses": 0,
        "losses_usd": 0.0,
        "open": 0,
        "unpriced": 0,
        "needs_key": 0,
        "needs_key_usd": 0.0,
        "observed_turns": turns,
        "cost_usd": 0.0,
        "moved_turns": 0,
        "moved_usd": 0.0,
        **fields,
    }


def routing() -> dict[str, Any]:
    """The default ``snapshot["routing"]``."""
    home = ["baseline"]
    return {
        "shadow": True,
        "cross_vendor_failover": False,
        "routes": {
            "tool_loop": home,
            "long_context": home,
            "planning": ["groq", "cerebras"],
            "code_draft": ["groq", "cerebras"],
            "summary": ["cerebras", "groq"],
            "fallback_safe": home,
        },
        "kinds": {},
        "modes": {"default": "live", "app": "observe"},
        "baseline": {
            "messages": ["anthropic"],
            "responses": ["openai", "anthropic"],
            "chat": ["openai", "anthropic"],
        },
        "sources": {},
        "unsaved": [],
        "hits": {},
        "kind_hits": {},
        "version": "r1",
    }


class FakeSubscription:
    """A bounded queue; overflowing it sets ``resync``, as a real bus would."""

    def __init__(self, limit: int) -> None:
        self._queue: list[Event] = []
        self._limit = limit
        self._arrived = asyncio.Event()
        self.dropped = 0
        self.resync = False
        self.is_closed = False

    def put(self, event: Event) -> None:
        if self.is_closed:
            return
        if len(self._queue) >= self._limit:
            self.dropped += 1
            self.resync = True
            return
        self._queue.append(event)
        self._arrived.set()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        return await self.get()

    async def get(self) -> Event:
        while not self._queue:
            if self.is_closed:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._queue.pop(0)

    def drain(self) -> list[Event]:
        queued, self._queue = self._queue, []
        return queued

    def close(self) -> None:
        self.is_closed = True
        self._arrived.set()


class FakeEngine:
    """Turns are real ``Turn`` objects; every change is announced as the engine would."""

    def __init__(self, clock: Clock, *, shadow: bool = True, queue_limit: int = 4096) -> None:
        self.clock = clock
        self.seq = 0
        self.turns: dict[str, Turn] = {}
        self.subscriptions: list[FakeSubscription] = []
        self.snapshots_read = 0
        self.turns_read: list[str] = []
        self.commands: list[tuple[str, dict[str, Any]]] = []
        self.fail_with: Exception | None = None
        self.queue_limit = queue_limit
        self.answers: dict[str, CommandResult | Callable[..., CommandResult]] = {}
        """What ``command`` answers by name: a result, or what makes one of the arguments."""
        self.providers: dict[str, dict[str, Any]] = {}
        self.savings: dict[str, Any] = {
            "today": saved(), "all": saved(), "by_route": {}, "by_kind": {}, "by_target": {},
        }  # fmt: skip
        self.routing = routing()
        self.log_records: list[dict[str, Any]] = []
        self.gateway: dict[str, Any] = {
            "version": "0.1.0",
            "instance": "inst-1",
            "pid": 4242,
            "url": "http://127.0.0.1:8787",
            "host": "127.0.0.1",
            "port": 8787,
            "started_at": clock.time() - 60,
            "uptime_s": 60.0,
            "state": "serving",
            "shadow": shadow,
            "demo": False,
            "home": "/home/user/.local/state/sbgw-tui",
            "key_hint": "local-dev-key",
        }
        self.money: dict[str, Any] = {
            "today_usd": 0.0,
            "today_list_usd": 0.0,
            "today_unpriced": 0,
            "today_estimated_usd": 0.0,
        }
        self.requests_per_min = 0.0
        self.loop_lag_ms = 0.4
        self.ledger: dict[str, Any] = {
            "status": "ok",
            "detail": None,
            "spilled": 0,
            "lost": 0,
            "recovered_interrupted": 0,
            "path": "/home/user/.local/state/sbgw-tui/ledger.sqlite",
        }

    # -- EngineClient ------------------------------------------------------------------------

    async def snapshot(self) -> Snapshot:
        self.snapshots_read += 1
        if self.fail_with is not None:
            raise self.fail_with
        newest = sorted(self.turns.values(), key=lambda turn: turn.at, reverse=True)
        by_status = [turn.status for turn in newest]
        return {
            "seq": self.seq,
            "at": self.clock.time(),
            "gateway": dict(self.gateway),
            "counters": {
                "requests": len(newest),
                "success": by_status.count(Status.COMPLETED),
                "errors": by_status.count(Status.ERROR) + by_status.count(Status.FAILED),
                "cancelled": by_status.count(Status.CANCELLED),
                "rejected": by_status.count(Status.REJECTED),
                "in_flight": by_status.count(Status.OPEN),
                "requests_per_min": self.requests_per_min,
            },
            "money": dict(self.money),
            "providers": [dict(provider) for provider in self.providers.values()],
            "ledger": dict(self.ledger),
            "savings": dict(self.savings),
            "routing": self.routing | {"shadow": self.gateway["shadow"]},
            "log": list(self.log_records),
            "loop_lag_ms": self.loop_lag_ms,
            "turns": [turn.summary() for turn in newest[:200]],
        }

    async def totals(self) -> Snapshot:
        return await self.snapshot() | {"turns": [], "log": []}

    def subscribe(self, after_seq: int | None = None) -> FakeSubscription:
        subscription = FakeSubscription(self.queue_limit)
        self.subscriptions.append(subscription)
        return subscription

    async def turn(self, turn_id: str) -> dict[str, Any] | None:
        self.turns_read.append(turn_id)
        if self.fail_with is not None:
            raise self.fail_with
        turn = self.turns.get(turn_id)
        return None if turn is None else turn.detail()

    async def command(self, name: str, /, **arguments: Any) -> CommandResult:
        self.commands.append((name, arguments))
        if self.fail_with is not None:
            raise self.fail_with
        answer = self.answers.get(name)
        if answer is not None:
            return answer if isinstance(answer, CommandResult) else answer(**arguments)
        return CommandResult(False, f"no command is named {name}")

    # -- what a test makes happen ------------------------------------------------------------

    def emit(self, kind: str, **fields: Any) -> Event:
        """Publish one event to every subscription."""
        self.seq += 1
        event = {"v": 1, "seq": self.seq, "at": self.clock.time(), "type": kind, **fields}
        for subscription in self.subscriptions:
            subscription.put(event)
        return event

    def open(self, **fields: Any) -> Turn:
        """Accept a turn of Claude Code; ``fields`` override any of its attributes."""
        number = len(self.turns) + 1
        turn = Turn(
            id=f"gw_{number:024x}",
            at=self.clock.time(),
            protocol=Protocol.MESSAGES,
            path="/v1/messages",
            session=f"5e55{number:04d}-0000-4000-8000-000000000000",
            project="/home/user/src/shop",
            branch="main",
            client="claude-code",
            client_version="2.1.330",
            payer=Payer.GATEWAY_KEY,
            model_asked="claude-opus-5-5",
            max_tokens=32_000,
            stream=True,
            body_bytes=81_234,
            estimates={"system": 4_100, "tools": 12_300, "history": 30_200, "turn": 412},
            kind="tool_step",
            route="tool_loop",
            confidence=0.97,
            confidence_level="high",
            reasons=["the last message holds a tool result"],
            classifier_version="c1",
            routing_version="r1",
            provider="anthropic",
            attempts=[Attempt(1, "anthropic", "claude-opus-5-5", 0.01)],
        )
        for name, value in fields.items():
            setattr(turn, name, value)
        self.turns[turn.id] = turn
        self.emit(events.TURN_OPENED, turn=turn.summary())
        return turn

    def update(self, turn: Turn, **fields: Any) -> None:
        """Change a turn that goes on."""
        for name, value in fields.items():
            setattr(turn, name, value)
        self.emit(events.TURN_UPDATED, turn=turn.summary())

    def stream(self, turn: Turn, output_estimate: int = 0) -> None:
        """First semantic byte."""
        ttft = self.clock.time() - turn.at
        turn.attempts[-1].ttft_s = ttft
        turn.attempts[-1].status = 200
        self.update(turn, phase=Phase.STREAMING, ttft_s=ttft, output_estimate=output_estimate)

    def progress(self, turn: Turn, output_estimate: int) -> None:
        """More of the answer arrived."""
        turn.output_estimate = output_estimate
        turn.bytes_down = output_estimate * 30
        self.emit(
            events.TURN_PROGRESS,
            turn_id=turn.id,
            bytes_down=turn.bytes_down,
            output_estimate=output_estimate,
        )

    def finish(self, turn: Turn, status: Status = Status.COMPLETED, **fields: Any) -> None:
        """Reach a terminal state; a completed turn is priced unless ``fields`` say otherwise."""
        duration = self.clock.time() - turn.at
        if turn.attempts:
            last = turn.attempts[-1]
            last.outcome = "success" if status is Status.COMPLETED else status.value
            last.duration_s = max(0.0, duration - last.started_s)
            last.bytes_up, last.bytes_down = turn.body_bytes, turn.bytes_down
            last.request_id = f"req_{turn.id[-6:]}"
        turn.status, turn.phase, turn.duration_s = status, Phase.DONE, duration
        if status is Status.COMPLETED:
            turn.http_status, turn.delivery = 200, Delivery.FULL
            turn.model_served = turn.model_served or turn.model_asked
            turn.usage = Usage(1_204, 640, 81_200, 2_048, 0)
            turn.usage_source = UsageSource.FINAL
            turn.stop_reason, turn.answer_kind = "tool_use", "mixed"
            turn.cost_parts = {
                "input": 0.00602,
                "output": 0.016,
                "cache_read": 0.0406,
                "cache_write_5m": 0.0128,
            }
            turn.cost_usd = sum(turn.cost_parts.values())
            turn.price_version = "genai-prices 0.2.3"
        for name, value in fields.items():
            setattr(turn, name, value)
        self.emit(events.TURN_FINISHED, turn=turn.summary())

    def propose(
        self, turn: Turn, provider: str, model: str | None = None, state: str = "would_move"
    ) -> None:
        """The turn would have gone elsewhere in live mode."""
        self.update(turn, proposal=Proposal(provider, model, state, "its class may leave"))

    def settle(self, turn: Turn, usd: float | None, state: str = "settled", **fields: Any) -> None:
        """What the proposal would have saved is known, or known better."""
        low, high = (None, None) if usd is None else (usd - 0.0003, usd + 0.0002)
        known = {"naive_usd": 0.02, "low_usd": low, "high_usd": high, **fields}
        turn.saving = Saving(state, usd=usd, **known)
        self.emit(events.SAVING_SETTLED, turn_id=turn.id, saving=turn.saving.as_json())

    def log(self, message: str, level: str = "info", logger: str = "sbgw.relay") -> None:
        """The engine logs a line."""
        record = {"level": level, "logger": logger, "message": message}
        self.log_records.append({"at": self.clock.time(), **record})
        self.emit(events.LOG, **record)

    def set_shadow(self, on: bool, source: str = "test") -> None:
        """The mode changes."""
        self.gateway["shadow"] = on
        self.emit(events.MODE_CHANGED, shadow=on, source=source, persisted=False)

    def provider(self, name: str, status: str, error: str | None = None, **fields: Any) -> None:
        """A provider changed its state."""
        self.providers[name] = {
            "name": name,
            "protocol": "anthropic-messages",
            "base_url": f"https://api.{name}.example",
            "configured": True,
            "credential": "gateway key",
            "status": status,
            "since": self.clock.time(),
            "last_error": error,
            "requests": 0,
            "errors": 0,
            "ttft_p50_s": None,
            "ttft_p95_s": None,
            "rate_limits": {},
            **fields,
        }
        self.emit(events.PROVIDER_CHANGED, provider=dict(self.providers[name]))
