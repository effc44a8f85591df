"""What keeps a provider from being tried: breakers, cooldowns, a bad key, a pause.

A breaker stands for one model at one provider; the provider's own opens on connection failures,
or while three of its models' are open. Rate limits and used-up quotas are cooldowns, not failures.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from server.breaker import Breaker, Outcome, Permit, State
from server.clock import Clock

MODELS_OPEN = 3
"""This many open breakers of models are a failing provider."""
CONFIG_S = 60.0
"""How long a provider that refused our key is left alone."""
MISSING_MODEL_S = 300.0
QUOTA_S = 900.0
LONGEST_COOLDOWN_S = 3600.0
KEPT_MODELS = 64
"""Models remembered for each provider; their names may come from clients."""


class Cause(StrEnum):
    """Why a provider or model takes nothing for a while, other than its breaker."""

    RATE_LIMIT = "rate limit"
    QUOTA = "quota used up"
    CONFIG = "it refused our key"
    MODEL = "it does not serve the model"


@dataclass(frozen=True, slots=True)
class Cooldown:
    """Nothing is sent before ``until`` (monotonic seconds)."""

    cause: Cause
    until: float


@dataclass(eq=False, slots=True)
class Leave:
    """Leave to make one attempt at a provider; end it with ``Health.record``."""

    provider: str
    model: str | None
    permits: tuple[tuple[Breaker, Permit], ...]


@dataclass(slots=True)
class _Provider:
    breaker: Breaker
    models: dict[str, Breaker] = field(default_factory=dict)
    cooldowns: dict[str, Cooldown] = field(default_factory=dict)
    """By model; ``""`` is all of them."""
    is_paused: bool = False


class Health:
    """All providers' health; belongs to the loop's thread."""

    def __init__(
        self,
        clock: Clock,
        chance: Callable[[], float] = random.random,
        on_change: Callable[[str], None] = lambda provider: None,
    ) -> None:
        self._clock = clock
        self._chance = chance
        self._on_change = on_change
        self._providers: dict[str, _Provider] = {}

    def refuses(self, provider: str, model: str | None) -> str | None:
        """Why an attempt would not be made now, in words; ``None`` when it would."""
        found = self._providers.get(provider)
        if found is None:
            return None
        now = self._clock.monotonic()
        if found.is_paused:
            return "it is paused"
        cooldown = self._cooldown(found, model, now) if found.cooldowns else None
        if cooldown is not None:
            return f"{cooldown.cause.value}, for {cooldown.until - now:.0f} s more"
        if len(found.models) >= MODELS_OPEN:
            failing = [name for name, b in found.models.items() if b.state(now) is State.OPEN]
            if len(failing) >= MODELS_OPEN:
                return f"{len(failing)} of its models are failing"
        for breaker in self._breakers(found, model):
            if not breaker.can_try(now):
                left = breaker.retry_in(now)
                return (
                    f"its breaker is open for {left:.0f} s more" if left else "it is on probation"
                )
        return None

    def ask(self, provider: str, model: str | None) -> Leave | None:
        """Leave to make one attempt, ``None`` while ``refuses`` says why not."""
        if self.refuses(provider, model) is not None:
            return None
        now = self._clock.monotonic()
        found = self._provider(provider)
        breakers = self._breakers(found, model, make=True)
        permits = [(breaker, breaker.ask(now)) for breaker in breakers]
        return Leave(provider, model, tuple((b, p) for b, p in permits if p is not None))

    def force(self, provider: str, model: str | None) -> Leave:
        """Leave for the last candidate: with nobody to take over, even a bad provider is tried.

        Where it would have been refused, only a success counts: who answers is well again.
        """
        leave = self.ask(provider, model)
        if leave is not None:
            return leave
        breakers = self._breakers(self._provider(provider), model, make=True)
        return Leave(provider, model, tuple((b, Permit(is_forced=True)) for b in breakers))

    def record(
        self,
        leave: Leave,
        outcome: Outcome,
        *,
        is_connection: bool = False,
        error: str | None = None,
    ) -> None:
        """Count one attempt, once; ``is_connection`` says that not even a response came."""
        now = self._clock.monotonic()
        found = self._provider(leave.provider)
        has_changed = False
        for breaker, permit in leave.permits:
            told = outcome
            if breaker is found.breaker and outcome is Outcome.FAILURE and not is_connection:
                told = Outcome.NEUTRAL
            has_changed |= breaker.record(permit, told, now, error)
        if has_changed:
            self._on_change(leave.provider)

    def cool_down(
        self, provider: str, model: str | None, cause: Cause, seconds: float | None = None
    ) -> None:
        """Leave a model alone, or with ``model=None`` the whole provider."""
        default = {
            Cause.QUOTA: QUOTA_S,
            Cause.CONFIG: CONFIG_S,
            Cause.MODEL: MISSING_MODEL_S,
            Cause.RATE_LIMIT: 1.0,
        }[cause]
        length = min(default if seconds is None else seconds, LONGEST_COOLDOWN_S)
        if length <= 0:
            return
        found = self._provider(provider)
        key = model or ""
        if len(found.cooldowns) >= KEPT_MODELS and key not in found.cooldowns:
            found.cooldowns.pop(next(iter(found.cooldowns)))
        found.cooldowns[key] = Cooldown(cause, self._clock.monotonic() + length)
        self._on_change(provider)

    def reset(self, provider: str) -> None:
        """Close every breaker of a provider and forget its cooldowns."""
        found = self._provider(provider)
        found.breaker.reset()
        found.models.clear()
        found.cooldowns.clear()
        self._on_change(provider)

    def pause(self, provider: str, is_paused: bool) -> None:
        """Send nothing to a provider until it is resumed."""
        self._provider(provider).is_paused = is_paused
        self._on_change(provider)

    def is_paused(self, provider: str) -> bool:
        """Whether the user wants nothing sent there that somebody else could serve."""
        found = self._providers.get(provider)
        return found is not None and found.is_paused

    def opens_in(self, provider: str, model: str | None) -> float | None:
        """Seconds until a breaker in the way lets a probe through; ``None`` where none is open."""
        found = self._providers.get(provider)
        if found is None:
            return None
        now = self._clock.monotonic()
        waits = (breaker.retry_in(now) for breaker in self._breakers(found, model))
        return max((wait for wait in waits if wait is not None), default=None)

    def as_json(self, provider: str) -> dict[str, Any]:
        """``breaker paused failures retry_in_s breaker_error cooldown open_models``."""
        now = self._clock.monotonic()
        found = self._providers.get(provider) or _Provider(Breaker())
        worst = self._worst(found, now)
        cooldowns = [c for c in found.cooldowns.values() if c.until > now]
        longest = max(cooldowns, key=lambda c: c.until, default=None)
        return {
            "breaker": worst.state(now).value,
            "paused": found.is_paused,
            "failures": worst.failures_in_a_row,
            "retry_in_s": worst.retry_in(now),
            "breaker_error": worst.last_error,
            "cooldown": None
            if longest is None
            else {"cause": longest.cause.value, "left_s": longest.until - now},
            "open_models": [
                name for name, b in found.models.items() if b.state(now) is not State.CLOSED
            ],
        }

    # ------------------------------------------------------------------ inside

    def _provider(self, name: str) -> _Provider:
        if name not in self._providers:
            self._providers[name] = _Provider(Breaker(self._chance))
        return self._providers[name]

    def _breakers(
        self, found: _Provider, model: str | None, *, make: bool = False
    ) -> list[Breaker]:
        own = found.models.get(model or "")
        if own is None and make:
            if len(found.models) >= KEPT_MODELS:
                found.models.pop(next(iter(found.models)))
            own = found.models[model or ""] = Breaker(self._chance)
        return [found.breaker] if own is None else [found.breaker, own]

    def _cooldown(self, found: _Provider, model: str | None, now: float) -> Cooldown | None:
        for key in ("", model or ""):
            cooldown = found.cooldowns.get(key)
            if cooldown is None:
                continue
            if cooldown.until > now:
                return cooldown
            del found.cooldowns[key]
        return None

    def _worst(self, found: _Provider, now: float) -> Breaker:
        order = (State.OPEN, State.HALF_OPEN, State.CLOSED)
        return min(
            [found.breaker, *found.models.values()],
            key=lambda b: (order.index(b.state(now)), -b.failures_in_a_row),
        )
