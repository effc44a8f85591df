"""What may be done about a failed attempt beside trying again, and when a client shall give up."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from providers.faults import Fault, FaultKind
from providers.protocols import peek
from providers.refusals import TEACHING
from server.health import Health
from server.holding import hold_s
from server.run import Failure, Run
from server.services import Services
from server.storms import bridged_s

MOST_LESSONS = 2
"""How often one request is sent again because something was learned from its refusal."""


class Remedies:
    """Shared by all turns."""

    def __init__(self, services: Services, health: Health, chance: Callable[[], float]) -> None:
        self._services = services
        self._health = health
        self._chance = chance

    def learned(self, run: Run, failure: Failure) -> tuple[str, ...] | None:
        """What a refusal taught, in words; ``None`` when sending it again is of no use.

        A request that is relayed byte for byte is the client's own, and so is its refusal.
        """
        leg, fault = failure.leg, failure.fault
        is_ours = leg.translation is not None or leg.is_adapted
        if fault is None or fault.status not in TEACHING or not is_ours:
            return None
        if leg.model is None or run.lessons >= MOST_LESSONS:
            return None
        fields = peek.read_fields(msgspec.Raw(leg.body))
        sent = {name: peek.int_of(value) for name, value in fields.items()}
        return self._services.learned.learn(leg.target.provider, leg.model, fault, sent)

    async def held(self, run: Run, failure: Failure) -> bool:
        """Wait until an overloaded vendor is to be asked again; whether it is."""
        wait, run.hold = run.hold, None
        if wait is None and failure.fault is not None:
            wait = self.hold(run, failure.fault)
        if wait is None:
            return False
        run.holds += 1
        if run.holds == 1:
            run.notes.append(f"held: {failure.leg.target.provider} was overloaded")
        await self._services.clock.sleep(wait)
        return True

    def hold(self, run: Run, fault: Fault) -> float | None:
        """Seconds until the vendor is asked again; ``None`` when its error is to be passed on."""
        patience = self._services.settings.routing.patience_s
        if not patience or not run.is_last or fault.kind is not FaultKind.OVERLOADED:
            return None
        now, watch = self._services.clock.monotonic(), run.exchange.watch
        left = min(run.accepted_at + patience, watch.deadline) - now
        return hold_s(run.holds + 1, fault.retry_after_s, left, self._chance)

    def stops(self, run: Run) -> bool:
        """Whether a client whose request failed is told not to try again.

        That is when it has done so in vain, or when no candidate is tried before its own retries
        are over: every breaker is open, and for longer than they last.
        """
        return run.storm.is_one() or self._is_hopeless(run)

    def _is_hopeless(self, run: Run) -> bool:
        turn = run.exchange.turn
        longest = bridged_s(turn.client)
        targets = {(target.provider, target.model) for target in run.plan.targets}
        targets |= {(c.provider, c.model) for c in turn.candidates if c.state == "unavailable"}
        opens = (self._health.opens_in(name, model or turn.model_asked) for name, model in targets)
        return all(left is not None and left > longest for left in opens)
