"""The composition root: builds the engine's parts, starts and stops them, answers front ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import sqlite3
from collections.abc import Mapping
from typing import Any

from providers.pricing import Prices
from providers.registry import build_upstreams
from providers.tls import make_context
from providers.types import Headers, Protocol
from server import __version__, classify
from server.bus import Bus
from server.capture import Capture, Limits
from server.clock import Clock, SystemClock
from server.cold import Cold
from server.cold_desk import ColdDesk
from server.commands import Routing
from server.compaction import Compactions, Compactor
from server.credentials import Access, KeyRing
from server.dispatch import Dispatcher
from server.doctor.replay import Door, Replays
from server.engine import CommandResult, Snapshot, Subscription
from server.health import Health
from server.heartbeat import Heartbeat
from server.http.admin import create_app
from server.http.doctor import doctor_routes
from server.http.edge import Edge
from server.http.models import ModelsEndpoint
from server.instance import is_nonce, proof
from server.interrupt import Draining
from server.ledger import Ledger, LedgerError, LedgerReader, LedgerState
from server.ledger_retention import keep_small
from server.ledger_state import StartReport
from server.limits import plans
from server.listen import Listener
from server.log_ring import LogRing
from server.logs import ROOT, text_of
from server.planning import Planner, carries_any
from server.probe import Prober
from server.provider_commands import ProviderCommands
from server.providers_view import ProvidersView
from server.savings_assumptions import Assumptions, assumptions
from server.savings_book import SavingsBook
from server.savings_desk import SavingsDesk
from server.savings_learned import RedoRate
from server.savings_tracker import SavingsTracker
from server.services import Services
from server.settings_file import Loaded
from server.shadow_stats import shadow_stats
from server.stats import Stats, local_day
from server.tasks import spawn
from server.timers import TimerLimits
from server.turns_view import TurnsView
from server.verification.book import Ladder
from server.verification.commands import VerificationCommands
from server.verification.ladder import Key
from server.verification.verifier import Verifier
from server.views import Views
from server.windows import Windows

_log = logging.getLogger("sbgw.gateway")

SNAPSHOT_TURNS = 200


class Gateway:
    """One running engine; implements ``server.engine.EngineClient``.

    ``start`` takes a bound socket; ``drain`` lets running answers finish; ``stop`` ends the rest.
    """

    def __init__(
        self,
        loaded: Loaded,
        *,
        env: Mapping[str, str],
        secret: bytes,
        instance: str,
        clock: Clock | None = None,
        is_demo: bool = False,
    ) -> None:
        self.loaded = loaded
        self.clock: Clock = clock or SystemClock()
        self.instance = instance
        self._secret = secret
        self._is_demo = is_demo
        self._state = "serving"
        self._started_at = self.clock.time()
        self._started_mono = self.clock.monotonic()
        self._tasks: list[asyncio.Task[None]] = []
        self._listener: Listener | None = None
        self.host, self.port = loaded.settings.server.host, loaded.settings.server.port
        self.bus = Bus(self.clock)
        self.stats = Stats(self.clock)
        self.services = self._build_services(env)
        self.health_book = Health(self.clock, on_change=self._health_changed)
        self.ladder = Ladder(
            lambda: self.services.settings,
            self.clock,
            record=self.services.ledger.add,
            publish=self.bus.publish,
            saves=self._book.saves,
        )
        self._planner = Planner(
            lambda: self.services.settings,
            self.services.upstreams,
            refuses=self.health_book.refuses,
            carries=carries_any,
            ladder=self.ladder,
        )
        self.routing = Routing(
            loaded,
            self.services,
            self._planner,
            recent=self.stats.recent_turns,
            hits=self.stats.hits,
        )
        self._prober = Prober(self.services.upstreams, self.clock)
        self._providers = ProvidersView(self.services, self.health_book, self._prober)
        self._provider_commands = ProviderCommands(
            self.services, self.health_book, self._providers.entry, self._prober
        )
        self._turns = TurnsView(self.services, loaded.paths.ledger_file)
        self._heartbeat = Heartbeat(self.services, self.ladder)
        self._views = Views(
            loaded.paths.ledger_file,
            lambda: self.services.settings,
            self.services.prices,
            self.clock,
            self.services.capture,
            digest_key=secret,
            is_key_public=loaded.key_hint is not None,
            is_demo=is_demo,
        )
        self.verifier = Verifier(
            self.services, self._planner, self.ladder, self.health_book.refuses
        )
        self.services.learner = self.verifier
        self._evidence = VerificationCommands(
            loaded,
            self.services,
            self.routing,
            self.ladder,
            self.verifier,
            reader=lambda: self._turns.reader,
        )
        self._log_ring = LogRing(self._logged, text_of(loaded.secrets.values()))
        self._edge = self._build_edge()

    def _redone(self, kind: str, provider: str, model: str | None) -> RedoRate:
        standing = self.ladder.standing(Key(kind, provider, model or ""))
        return RedoRate(standing.samples, standing.samples - standing.passed)

    def _build_services(self, env: Mapping[str, str]) -> Services:
        settings, store = self.loaded.settings, self.loaded.secrets
        upstreams = build_upstreams(
            [settings.provider(name) for name in settings.providers],
            secret=store.reveal,
            env=env,
            ssl_context=make_context(settings.network.ca_bundle, env),
        )
        ledger = Ledger(
            self.loaded.paths.ledger_file,
            clock=self.clock,
            boot_id=self.instance,
            durability=settings.ledger.durability,
            # Who requires the record wants to hear of its trouble before the request goes on.
            has_journal=settings.ledger.durability == "normal" and not settings.ledger.required,
            on_change=self._ledger_changed,
        )
        prices = Prices(settings.price_overrides())
        self._book = SavingsBook(self.clock, assumptions())
        self._assumptions = Assumptions(redone=self._redone)
        return Services(
            assumptions=self._assumptions,
            clock=self.clock,
            settings=settings,
            upstreams=upstreams,
            ledger=ledger,
            bus=self.bus,
            stats=self.stats,
            savings=SavingsDesk(
                SavingsTracker(
                    prices,
                    self._assumptions,
                    self.clock,
                    limits=plans(settings.providers),
                    default_models={n: t.model for n, t in settings.providers.items()},
                ),
                self._book,
                self.clock,
                ledger=ledger,
                stats=self.stats,
                bus=self.bus,
            ),
            colds=ColdDesk(
                self.loaded.paths.ledger_file,
                prices,
                self._cold_found,
                started_at=self._started_at,
                demo=self._is_demo,
            ),
            capture=Capture(self.loaded.paths.state_dir, self._capture_limits, self.clock),
            windows=Windows(self.clock, plans(settings.providers)),
            prices=prices,
            keys=KeyRing(self.loaded.gateway_key.get_secret_value()),
            digest_key=self._secret,
            instance=self.instance,
            env_file=str(self.loaded.paths.env_file),
            timer_limits=TimerLimits(keepalive_s=settings.server.keepalive_s),
            is_draining=lambda: self._state == "draining",
            is_demo=self._is_demo,
        )

    def _capture_limits(self) -> Limits:
        wanted = self.loaded.settings.capture
        return Limits(wanted.enabled, wanted.keep_hours * 3_600.0, wanted.max_mb * 1024 * 1024)

    def _build_edge(self) -> Edge:
        limit = self.services.settings.server.max_body_mb * 1024 * 1024
        app = create_app(self, limit)
        door = Door(app.asgi_app)
        app.asgi_app = door  # type: ignore[method-assign]
        doctor_routes(app, Replays(self, self._secret, door, _stand_in))
        dispatcher = Dispatcher(self.services, self._planner, self.health_book)
        asking = Compactions(self.services, self._planner, self.health_book)
        self._compactor = Compactor(self.services, self._planner, asking)
        models = ModelsEndpoint(self.services, self._planner)
        return Edge(self.services, dispatcher, app, models)

    # ------------------------------------------------------------------ life

    @property
    def url(self) -> str:
        """The address clients use."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def reader(self) -> LedgerReader:
        """Reads the ledger beside its writer; there once the gateway was started."""
        if self._turns.reader is None:
            raise RuntimeError("the gateway was not started")
        return self._turns.reader

    @property
    def edge(self) -> Edge:
        """The application that the listener serves."""
        return self._edge

    async def start(self, sock: socket.socket) -> StartReport:
        """Open the ledger and serve on ``sock``; how the ledger was found."""
        ledger = self.services.ledger
        self._loop = asyncio.get_running_loop()
        logging.getLogger(ROOT).addHandler(self._log_ring)
        report = await asyncio.to_thread(ledger.start)
        if report.interrupted:
            _log.warning(
                "%d turns of a gateway that died are marked interrupted", report.interrupted
            )
        self._turns.reader = reader = LedgerReader(self.loaded.paths.ledger_file)
        for seed in (self.stats.seed, self._book.seed, self._seed_evidence):
            await asyncio.to_thread(seed, reader)
        self._listener = Listener(self._edge, sock)
        self.port = self._listener.port
        self._edge.listen_at(self.host, self.port)
        await self._listener.start()
        self._tasks.append(spawn("heartbeat", self._heartbeat.run()))
        self._tasks.append(spawn("retention", self._keep_ledger_small()))
        self._tasks.append(spawn("captures", self.services.capture.keep_small()))
        self._tasks.append(spawn("warm", asyncio.to_thread(self._warm)))
        return report

    def _seed_evidence(self, reader: LedgerReader) -> None:
        midnight = local_day(self.clock.time())[0]
        try:
            self.ladder.seed(reader.scores(demo=self._is_demo), reader.ladder_moves())
            spent = reader.verification_nusd(midnight, demo=self._is_demo)
        except (sqlite3.Error, LedgerError) as error:
            _log.error("earlier comparisons are missing, the ledger cannot be read: %s", error)
            return
        self.verifier.budget.settle(0.0, spent / 1e9)

    @property
    def listener(self) -> Listener:
        """What accepts connections; there once the gateway was started."""
        if self._listener is None:
            raise RuntimeError("the gateway was not started")
        return self._listener

    async def leave(self, *, is_watched: bool) -> None:
        """Accept no more, another process does; returns when the last answer has ended.

        Headless (``is_watched`` false) idle connections are waited for as well, until their time
        is over: closing one might meet a request that is under way on it.
        """
        self.listener.leave()
        if not is_watched:
            self.bus.close()
            await self.listener.emptied()
        while self.services.active:
            waits = [spawn("leave", x.done.wait()) for x in self.services.active.values()]
            await asyncio.wait(waits)

    def _warm(self) -> None:
        """Read what the first request would wait for, while nobody waits."""
        classify.warm()
        self.services.prices.warm()

    def refuse_new(self) -> None:
        """From here on new requests get the native 503 and health says ``draining``."""
        self._state = "draining"

    async def drain(self, grace_s: float) -> int:
        """Refuse new requests and wait for those in flight; how many did not end in time."""
        self.refuse_new()
        self._announce_state()
        deadline = self.clock.monotonic() + grace_s
        while self.services.active and self.clock.monotonic() < deadline:
            waits = [spawn("drain", x.done.wait()) for x in self.services.active.values()]
            left = max(0.0, deadline - self.clock.monotonic())
            await asyncio.wait(waits, timeout=min(left, 0.5), return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            self._announce_state()
        return len(self.services.active)

    async def stop(self) -> None:
        """End what still runs with the protocol's own error, then close everything."""
        self.refuse_new()
        running = list(self.services.active.values())
        for exchange in running:
            exchange.interrupt.fire(Draining())
        if running:
            ends = [spawn("end", exchange.done.wait()) for exchange in running]
            await asyncio.wait(ends, timeout=1.5)
        self.bus.close()
        if self._listener is not None:
            await self._listener.close()
        for task in self._tasks:
            task.cancel()
        await self.verifier.aclose()
        await self._prober.aclose()
        await self.services.capture.drain()
        await self._close_transports()
        await asyncio.to_thread(self.services.ledger.close, 5.0)
        if self._turns.reader is not None:
            self._turns.reader.close()
        logging.getLogger(ROOT).removeHandler(self._log_ring)

    async def _close_transports(self) -> None:
        for transport in {upstream.transport for upstream in self.services.upstreams.values()}:
            await transport.aclose()

    async def _keep_ledger_small(self) -> None:
        def limits() -> tuple[float, float]:
            wanted = self.services.settings.ledger
            return wanted.keep_days, wanted.max_mb

        await keep_small(self.loaded.paths.ledger_file, limits, self.clock)

    def _announce_state(self) -> None:
        in_flight = len(self.services.active)
        self.bus.publish("gateway.changed", state=self._state, in_flight=in_flight)

    def _health_changed(self, name: str) -> None:
        if name in self.services.upstreams:
            self.bus.publish("provider.changed", provider=self._providers.entry(name))

    def _logged(self, line: dict[str, Any]) -> None:
        """Called on whatever thread logs."""
        self.bus.publish_threadsafe(self._loop, "log", **line)

    def _cold_found(self, turn_id: str, cold: Cold) -> None:
        """Called on the ledger's own thread."""

        self.bus.publish_threadsafe(self._loop, "cold.found", turn_id=turn_id, cold=cold.as_json())
        with contextlib.suppress(RuntimeError):  # The loop may have ended.
            self._loop.call_soon_threadsafe(self.stats.cold_found, turn_id, cold.as_json())

    def _ledger_changed(self, state: LedgerState) -> None:
        """Called on the ledger's own thread."""
        self.bus.publish_threadsafe(self._loop, "ledger.changed", ledger=state.as_json())

    # ------------------------------------------------------------------ EngineClient

    async def totals(self) -> Snapshot:
        """See ``server.engine``."""
        return await self.snapshot(0)

    async def snapshot(self, turns: int = SNAPSHOT_TURNS) -> Snapshot:
        """See ``server.engine``; with no ``turns`` as ``totals``."""
        now = self.clock.time()
        return {
            "seq": self.bus.seq,
            "at": now,
            "gateway": {
                "version": __version__,
                "instance": self.instance,
                "pid": os.getpid(),
                "url": self.url,
                "host": self.host,
                "port": self.port,
                "started_at": self._started_at,
                "uptime_s": self.clock.monotonic() - self._started_mono,
                "state": self._state,
                "shadow": self.routing.table.shadow,
                "demo": self._is_demo,
                "home": str(self.loaded.paths.settings_dir),
                "key_hint": self.loaded.key_hint,
                "capture": self.services.capture.as_json(),
                "protocols": [protocol.value for protocol in Protocol],
                "load": self.services.bulkhead.as_json(),
            },
            "counters": self.stats.counters(),
            "money": self.stats.money(),
            "providers": self._providers.entries(),
            "ledger": self.services.ledger.state.as_json(),
            "savings": self._book.snapshot(),
            "routing": self.routing.as_json(),
            "verification": self.ladder.as_json(),
            "verifier": self.verifier.as_json(),
            "log": self._log_ring.lines() if turns else [],
            "loop_lag_ms": round(self._heartbeat.lag_ms, 1),
            "turns": await self.recent(turns) if turns else [],
        }

    def subscribe(self, after_seq: int | None = None) -> Subscription:
        """See ``server.engine``."""
        return self.bus.subscribe(after_seq)

    async def turn(self, turn_id: str) -> dict[str, Any] | None:
        """See ``server.engine``."""
        return await self._turns.one(turn_id)

    async def command(self, name: str, /, **arguments: Any) -> CommandResult:
        """See ``server.engine``."""
        done = await self.routing.run(name, arguments)
        done = done or await self._provider_commands.run(name, arguments)
        done = done or await self._views.run(name, arguments)
        if done is not None and done.ok:
            self._evidence.noticed(name, arguments)
        done = done or await self._evidence.run(name, arguments)
        return done or CommandResult(False, f"there is no command {name!r}")

    # ------------------------------------------------------------------ views

    async def recent(self, limit: int) -> list[dict[str, Any]]:
        """Turn summaries, newest first; running ones as they are now."""
        return await self._turns.recent(limit)

    def health(self, *, live: bool, nonce: str | None) -> dict[str, Any]:
        """The body of ``GET /health``."""
        providers = self._providers.summed_up(live=live)
        ledger = self.services.ledger.state.status
        body: dict[str, Any] = {
            "ok": True,
            "status": "degraded" if providers["status"] == "degraded" or ledger != "ok" else "up",
            "service": "sbgw-tui",
            "version": __version__,
            "timestamp": self.clock.time(),
            "uptime_s": self.clock.monotonic() - self._started_mono,
            "shadowMode": self.routing.table.shadow,
            "state": self._state,
            "ledger": ledger,
            "providers": providers,
        }
        if nonce and is_nonce(nonce):
            body["proof"] = proof(self._secret, nonce, self.port)
            body["instance"] = self.instance
        return body

    def shadow_stats(self) -> dict[str, Any]:
        """The body of ``GET /shadow/stats``."""
        return shadow_stats(self._book, is_shadow=self.routing.table.shadow)

    async def probe_all(self) -> list[dict[str, Any]]:
        """Every provider's entry with ``live``, what a probe of it found just now."""
        return await self._provider_commands.probe_all()

    async def compact(self, data: bytes, access: Access, headers: Headers) -> dict[str, Any]:
        """See ``server.compaction``."""
        return await self._compactor.compact(data, access, headers)

    def decide(self, protocol: Protocol, route: str, kind: str, offload: bool) -> dict[str, Any]:
        """Where such a request goes now, and where live mode would send it."""
        return self._planner.decide(protocol, route, kind, offload)


def _stand_in(loaded: Loaded) -> Gateway:
    """One that shares nothing with the gateway that makes it; see ``server.doctor.replay``."""
    return Gateway(loaded, env={}, secret=secrets.token_bytes(32), instance=secrets.token_hex(8))
