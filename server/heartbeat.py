"""What happens several times a second while the gateway runs."""

from __future__ import annotations

from server.record import Turn
from server.services import Services
from server.verification.book import Ladder

TICK_S = 0.25
BEATS_PER_S = 4
CROWD = 12
"""Turns in flight from which on each one's progress is told every other tick, then every third."""


class Heartbeat:
    """Drives every exchange's timers and tells watchers how far the answers are."""

    def __init__(self, services: Services, ladder: Ladder) -> None:
        self._services = services
        self._ladder = ladder
        self._told: dict[str, int] = {}
        self.lag_ms = 0.0
        """How late the event loop was lately; the worst fades within seconds."""

    async def run(self) -> None:
        """Beat until cancelled."""
        clock = self._services.clock
        beat = 0
        while True:
            due = clock.monotonic() + TICK_S
            await clock.sleep(TICK_S)
            now = clock.monotonic()
            self.lag_ms = max((now - due) * 1000, self.lag_ms * 0.8)
            self._beat(beat, now)
            beat += 1

    def _beat(self, beat: int, now: float) -> None:
        active = self._services.active
        if beat % BEATS_PER_S == 0:
            self._services.savings.tick(x.turn for x in active.values())
            self._ladder.tick()
        # A crowd is told of in turns, so that no watcher has to take it all in at once.
        shares = 1 + min(3, len(active) // CROWD)
        for exchange in list(active.values()):
            exchange.tick(now)
            if hash(exchange.turn.id) % shares == beat % shares:
                self._tell_progress(exchange.turn)
        if len(self._told) > 2 * len(active) + 16:
            self._told = {k: v for k, v in self._told.items() if k in active}

    def _tell_progress(self, turn: Turn) -> None:
        if turn.bytes_down and self._told.get(turn.id) != turn.bytes_down:
            self._told[turn.id] = turn.bytes_down
            self._services.bus.publish(
                "turn.progress",
                turn_id=turn.id,
                bytes_down=turn.bytes_down,
                output_estimate=turn.output_estimate,
            )
